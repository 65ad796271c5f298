//! Finds PostgreSQL's server programs (`postgres`, `initdb`), which most systems keep off the PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster_error::ClusterError;
use super::server_install::install_hint;

/// Names the directory that holds `postgres` and `initdb`; wins over every other place.
pub const BINDIR_VARIABLE: &str = "TENANTMIG_PG_BINDIR";

/// Folders with one subfolder a major version, and where in it the programs are:
/// Debian and Ubuntu, Red Hat's PGDG packages, Alpine, SUSE, Homebrew on ARM and on Intel, Postgres.app.
const VERSIONED: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/lib", "postgresql", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A directory of server programs and the version that they report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBinaries {
    bindir: PathBuf,
    version: String,
}

impl ServerBinaries {
    /// Looks in TENANTMIG_PG_BINDIR, `pg_config --bindir`, the packagers' folders (newest major first) and PATH.
    ///
    /// When the variable is set nothing else is looked at: a wrong value is an error, not a fallback.
    pub fn find() -> Result<Self, ClusterError> {
        if let Some(dir) = std::env::var_os(BINDIR_VARIABLE).filter(|v| !v.is_empty()) {
            return Self::at(Path::new(&dir));
        }
        candidates().iter().find_map(|dir| Self::at(dir).ok()).ok_or_else(|| ClusterError::NoBinaries {
            searched: format!("{BINDIR_VARIABLE}, pg_config --bindir, /usr/lib/postgresql/*/bin, Homebrew, PATH"),
            hint: install_hint(),
        })
    }

    /// Takes the programs in `dir`, if `postgres` runs there and `initdb` is beside it.
    pub fn at(dir: &Path) -> Result<Self, ClusterError> {
        let missing = || ClusterError::NoBinaries { searched: format!("{}", dir.display()), hint: install_hint() };
        let dir = dir.canonicalize().map_err(|_| missing())?;
        if !dir.join("initdb").is_file() {
            return Err(missing());
        }
        let out = Command::new(dir.join("postgres")).arg("--version").output().map_err(|_| missing())?;
        let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if !out.status.success() || major(&version).is_none() {
            return Err(missing());
        }
        Ok(Self { bindir: dir, version })
    }

    /// The directory, absolute.
    pub fn bindir(&self) -> &Path {
        &self.bindir
    }

    /// What `postgres --version` prints, for example `postgres (PostgreSQL) 15.8`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, for example 15.
    pub fn major(&self) -> u32 {
        // `at` admits nothing without one.
        major(&self.version).unwrap_or_default()
    }

    /// The path of a program: beside the server if it is there, else by its name on the PATH
    /// (some packagers keep `psql` and `pg_dump` apart from the server).
    pub fn program(&self, name: &str) -> PathBuf {
        let beside = self.bindir.join(name);
        if beside.is_file() { beside } else { PathBuf::from(name) }
    }
}

/// Every directory worth a look, in order of preference.
fn candidates() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Ok(out) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
    }
    for (parent, prefix, tail) in VERSIONED {
        dirs.extend(newest_first(Path::new(parent), prefix).into_iter().map(|d| d.join(tail)));
    }
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path));
    }
    dirs.retain(|dir| dir.is_absolute());
    dirs
}

/// The subfolders of `parent` that are named `prefix` and a version number, highest number first.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|e| {
            let name = e.file_name().into_string().ok()?;
            let number = name.strip_prefix(prefix)?.split('.').next()?.parse().ok()?;
            Some((number, e.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The major version in `postgres (PostgreSQL) 15.8 (Debian …)` or `postgres (PostgreSQL) 18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_the_major_version_as_postgres_prints_it() {
        let check = |text, expect| assert_eq!(major(text), expect, "{text}");
        check("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", Some(15));
        check("postgres (PostgreSQL) 18beta1", Some(18));
        check("postgres (PostgreSQL) 9.6.24", Some(9));
        check("postgres (EnterpriseDB) 15.1", None);
        check("", None);
    }

    #[test]
    fn prefers_the_highest_number_not_the_last_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pgsql-9", "pgsql-15", "pgsql-17", "pgsql-x", "other-18"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names: Vec<_> = newest_first(dir.path(), "pgsql-")
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["pgsql-17", "pgsql-15", "pgsql-9"]);
    }

    #[test]
    fn an_empty_directory_is_refused_with_what_to_install() {
        let dir = tempfile::tempdir().unwrap();
        let error = ServerBinaries::at(dir.path()).unwrap_err().to_string();
        assert!(error.contains("install"), "{error}");
    }
}

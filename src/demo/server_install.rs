//! What to install where PostgreSQL's server is missing, and on Debian the installation itself.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cluster_error::ClusterError;
use super::server_binaries::{BINDIR_VARIABLE, ServerBinaries};

/// A mirror may be slow, but an installation of some 60 MB that takes longer than this hangs.
const APT_SECONDS_MAX: u64 = 15 * 60;
/// How long apt may wait for another package manager's lock.
const APT_LOCK_SECONDS_MAX: u64 = 120;
/// How often a running apt is looked at.
const APT_POLL_MS: u64 = 200;
/// As much of apt's output as an error shows, in bytes, from its end.
const OUTPUT_BYTES_MAX: usize = 2_000;

/// Debian's wrapper reads this before it creates the default cluster `main` after an installation.
const CREATECLUSTER_CONF: &str = "/etc/postgresql-common/createcluster.conf";

/// What to type on this system to get a PostgreSQL server, as a clause for an error message.
pub fn install_hint() -> String {
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    format!(
        "install the server ({}), or set TENANTMIG_PG_BINDIR to the directory that holds `postgres` and `initdb`",
        command_for(&os_release, cfg!(target_os = "macos"))
    )
}

/// True where `install_with_apt` can work: root on a system that has apt-get.
pub fn can_install_with_apt() -> bool {
    rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists()
}

/// The programs that are there, or else those that `install_with_apt` brings, where it can work. Of several threads that ask
/// at once one installs. A directory that TENANTMIG_PG_BINDIR names is taken or refused, and nothing is installed beside it.
pub fn find_or_install() -> Result<ServerBinaries, ClusterError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A thread that panicked inside left nothing that the next one could trip over.
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let chosen = std::env::var_os(BINDIR_VARIABLE).is_some_and(|value| !value.is_empty());
    match ServerBinaries::find() {
        Ok(binaries) => Ok(binaries),
        Err(_) if !chosen && can_install_with_apt() => install_with_apt(),
        Err(error) => Err(error),
    }
}

/// Installs Debian's package `postgresql` without asking anything, and returns the programs it brought.
///
/// No default cluster is created or started on the way, unless the machine's own createcluster.conf wants it.
pub fn install_with_apt() -> Result<ServerBinaries, ClusterError> {
    if !can_install_with_apt() {
        return Err(ClusterError::CannotInstall {
            why: "that needs root and apt-get".to_owned(),
            hint: install_hint(),
        });
    }
    forbid_default_cluster()?;
    apt(&["update"])?;
    apt(&["install", "--yes", "--no-install-recommends", "postgresql"])?;
    ServerBinaries::find()
}

/// Writes createcluster.conf if the machine has none; the package keeps a file that is there already.
fn forbid_default_cluster() -> Result<(), ClusterError> {
    let path = Path::new(CREATECLUSTER_CONF);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(ClusterError::io("create", parent))?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file
            .write_all(b"# Written by tenantmig before it installed PostgreSQL: only its programs were wanted.\ncreate_main_cluster = false\n")
            .map_err(ClusterError::io("write", path)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(ClusterError::io("create", path)(e)),
    }
}

/// Runs apt-get to its end, bounded. Its output goes to an unnamed file, which cannot fill up as a pipe does.
fn apt(arguments: &[&str]) -> Result<(), ClusterError> {
    let temp = std::env::temp_dir();
    let mut output = tempfile::tempfile().map_err(ClusterError::io("create a file in", &temp))?;
    let dup = || output.try_clone().map(Stdio::from).map_err(ClusterError::io("use a file in", &temp));
    let program = Path::new("apt-get");
    let mut child = Command::new(program)
        .args(["-q", "-o", &format!("DPkg::Lock::Timeout={APT_LOCK_SECONDS_MAX}")])
        .args(["-o", "Dpkg::Options::=--force-confold"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("UCF_FORCE_CONFFOLD", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(dup()?)
        .stderr(dup()?)
        .spawn()
        .map_err(ClusterError::io("run", program))?;
    let deadline = Instant::now() + Duration::from_secs(APT_SECONDS_MAX);
    let status = loop {
        match child.try_wait().map_err(ClusterError::io("wait for", program))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => break status.to_string(),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(APT_POLL_MS)),
            None => {
                child.kill().map_err(ClusterError::io("kill", program))?;
                child.wait().map_err(ClusterError::io("wait for", program))?;
                break format!("no end after {APT_SECONDS_MAX} s");
            }
        }
    };
    let mut text = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut text)).map_err(ClusterError::io("read", &temp))?;
    let tail = &text[text.len().saturating_sub(OUTPUT_BYTES_MAX)..];
    Err(ClusterError::Program {
        program: format!("apt-get {}", arguments.join(" ")),
        status,
        output: String::from_utf8_lossy(tail).trim().to_owned(),
    })
}

/// The package manager's command for the system that /etc/os-release describes.
fn command_for(os_release: &str, macos: bool) -> &'static str {
    if macos {
        return "`brew install postgresql@17`";
    }
    let ids: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split(' '))
        .collect();
    let is = |id: &str| ids.contains(&id);
    if is("debian") && os_release.contains("VERSION_ID=\"12\"") {
        "`apt-get install postgresql-15`"
    } else if is("debian") || is("ubuntu") {
        "`apt-get install postgresql`"
    } else if is("fedora") || is("rhel") {
        "`dnf install postgresql-server`"
    } else if is("alpine") {
        "`apk add postgresql`"
    } else if is("arch") {
        "`pacman -S postgresql`"
    } else if is("suse") || is("opensuse") {
        "`zypper install postgresql-server`"
    } else {
        "Debian: `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install postgresql@17`"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_apt_says_is_in_the_error() {
        if !Path::new("/usr/bin/apt-get").exists() {
            return;
        }
        let error = apt(&["no-such-operation"]).unwrap_err().to_string();
        assert!(error.contains("apt-get no-such-operation failed") && error.contains("E: "), "{error}");
    }

    #[test]
    fn the_hint_fits_the_system() {
        let check = |os: &str, expect: &str| {
            let command = command_for(os, false);
            assert!(command.contains(expect), "{os}: {command}");
        };
        check("ID=debian\nVERSION_ID=\"12\"\n", "apt-get install postgresql-15");
        check("ID=debian\nVERSION_ID=\"13\"\n", "apt-get install postgresql`");
        check("ID=pop\nID_LIKE=\"ubuntu debian\"\n", "apt-get install postgresql`");
        check("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install");
        check("ID=alpine\n", "apk add");
        check("", "brew install");
        assert!(command_for("", true).starts_with("`brew"));
    }
}

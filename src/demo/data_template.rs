//! Makes data directories. initdb takes seconds and a copy a fraction of one, so the first data directory
//! of a server version is kept as a template beside the clusters, in the folder that only we can write to.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::cluster_error::ClusterError;
use super::cluster_home::ClusterHome;
use super::server_binaries::ServerBinaries;
use super::server_user::ServerUser;

/// C sorts by bytes and is the one locale that every system has.
const INITDB: &[&str] = &["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"];

/// What `ClusterOptions::data_checksums` adds to them.
const INITDB_CHECKSUMS: &str = "--data-checksums";

/// As much of a failed program's output as an error shows, in bytes, from its end.
const OUTPUT_BYTES_MAX: usize = 2_000;

/// A fresh data directory in `home`, copied from the template, which is made first if need be.
pub(super) fn data_directory(
    home: &ClusterHome,
    binaries: &ServerBinaries,
    user: ServerUser,
    checksums: bool,
) -> Result<PathBuf, ClusterError> {
    let mut initdb = INITDB.to_vec();
    initdb.extend(checksums.then_some(INITDB_CHECKSUMS));
    let template = template_path(home, binaries, user, &initdb);
    if !is_usable(&template, user) {
        make_template(&template, home, binaries, user, &initdb)?;
    }
    let data = home.path("data");
    run(user.command(Path::new("cp")).arg("-Rp").arg(&template).arg(&data), "cp")?;
    Ok(data)
}

/// Keyed by everything that shapes the files: the account, the exact server build and initdb's options.
fn template_path(home: &ClusterHome, binaries: &ServerBinaries, user: ServerUser, initdb: &[&str]) -> PathBuf {
    let key = format!("{}\0{}\0{initdb:?}\0{}", binaries.bindir().display(), binaries.version(), user.uid());
    let digest = Sha256::digest(key.as_bytes());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    home.base().join(format!("template-{}-{short}", binaries.major()))
}

/// A template is there as a whole or not at all, since it is renamed into place; the owner is checked
/// because the folder may be older than a change of the server's account.
fn is_usable(template: &Path, user: ServerUser) -> bool {
    std::fs::symlink_metadata(template).is_ok_and(|m| m.is_dir() && m.uid() == user.uid() && m.mode() & 0o077 == 0)
        && template.join("global/pg_control").is_file()
}

/// Runs initdb in the cluster's own folder (which is swept if we die half-way), then renames the result.
fn make_template(
    template: &Path,
    home: &ClusterHome,
    binaries: &ServerBinaries,
    user: ServerUser,
    options: &[&str],
) -> Result<(), ClusterError> {
    let draft = home.path("template");
    let initdb = binaries.program("initdb");
    run(user.command(&initdb).args(options).arg("-D").arg(&draft), "initdb")?;
    if std::fs::rename(&draft, template).is_ok() || is_usable(template, user) {
        // When another process was first, its template is as good, and ours goes with the folder.
        return Ok(());
    }
    // In the way is something that is not usable: our own folder holds it, so it is ours to remove.
    std::fs::remove_dir_all(template).map_err(ClusterError::io("remove", template))?;
    match std::fs::rename(&draft, template) {
        Err(e) if !is_usable(template, user) => Err(ClusterError::io("create", template)(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn run(command: &mut Command, program: &str) -> Result<(), ClusterError> {
    let out = command.output().map_err(ClusterError::io("run", Path::new(program)))?;
    if out.status.success() {
        return Ok(());
    }
    let text = [out.stdout, out.stderr].concat();
    let tail = &text[text.len().saturating_sub(OUTPUT_BYTES_MAX)..];
    Err(ClusterError::Program {
        program: program.to_owned(),
        status: out.status.to_string(),
        output: String::from_utf8_lossy(tail).trim().to_owned(),
    })
}

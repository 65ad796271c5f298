//! Where throwaway clusters live: one private folder for all of a user's clusters, one subfolder a cluster.
//!
//! A cluster's folder is owned through a lock on the file beside it. The kernel drops the lock when the
//! owner ends, however it ends, so whoever starts next can tell what was left behind and remove it
//! (process ids would lie across reboots and containers).

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::cluster_error::ClusterError;
use super::process_table;
use super::server_user::ServerUser;

/// How long a server that was left behind may take to die of SIGKILL before its folder goes.
const KILL_WAIT_MS_MAX: u64 = 5_000;
/// How often it is looked at meanwhile.
const KILL_POLL_MS: u64 = 10;

/// One cluster's folder; dropping it removes the folder, so the server must be stopped before.
#[derive(Debug)]
pub(super) struct ClusterHome {
    base: PathBuf,
    dir: PathBuf,
    lock_path: PathBuf,
    /// Held open for its lock.
    _lock: File,
}

impl ClusterHome {
    /// Makes a new folder that belongs to `user`, after removing the ones whose owners are gone.
    pub(super) fn create(user: ServerUser) -> Result<Self, ClusterError> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let base = shared_base(user)?;
        sweep(&base)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        // Random too: containers that share a temporary directory repeat each other's process ids.
        let name = format!("cluster-{}-{serial}-{:08x}", std::process::id(), rand::random::<u32>());
        let (dir, lock_path) = (base.join(&name), base.join(format!("{name}.lock")));
        // Lock first, folder second: the sweep looks at folders, so it never meets one whose owner has no lock yet.
        let lock = File::create_new(&lock_path).map_err(ClusterError::io("create", &lock_path))?;
        lock.lock().map_err(ClusterError::io("lock", &lock_path))?;
        let home = Self { base, dir, lock_path, _lock: lock };
        DirBuilder::new().mode(0o700).create(&home.dir).map_err(ClusterError::io("create", &home.dir))?;
        user.own(&home.dir)?;
        Ok(home)
    }

    /// The folder that all of this user's clusters share; nobody else can write to it.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// A path in this cluster's own folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for ClusterHome {
    fn drop(&mut self) {
        // Nobody can be told here; what cannot be removed now is swept by the next start.
        if remove(&self.dir).is_ok() {
            let _swept_later = std::fs::remove_file(&self.lock_path);
        }
    }
}

/// `tenantmig-UID` in the temporary directory, private to this user. Root lets others pass through (not
/// look in), because the server runs as another account.
fn shared_base(user: ServerUser) -> Result<PathBuf, ClusterError> {
    let (mode, parent) = match user {
        ServerUser::Same { .. } => (0o700, std::env::temp_dir()),
        ServerUser::Other { .. } => (0o711, passable_temp_dir()),
    };
    let uid = rustix::process::geteuid().as_raw();
    let base = parent.join(format!("tenantmig-{uid}"));
    match DirBuilder::new().mode(mode).create(&base) {
        // The umask may have taken the x bit that the server's account needs.
        Ok(()) => std::fs::set_permissions(&base, std::fs::Permissions::from_mode(mode))
            .map_err(ClusterError::io("set permissions of", &base))?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(ClusterError::io("create", &base)(e)),
    }
    let meta = std::fs::symlink_metadata(&base).map_err(ClusterError::io("look at", &base))?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o022 != 0 {
        return Err(ClusterError::Untrusted { path: base });
    }
    Ok(base)
}

/// The temporary directory if every account may pass through to it, else /tmp.
fn passable_temp_dir() -> PathBuf {
    let temp = std::env::temp_dir();
    let open = |dir: &Path| std::fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0);
    if temp.is_absolute() && temp.ancestors().all(open) { temp } else { PathBuf::from("/tmp") }
}

/// Removes the clusters whose owners have ended, and ends the servers that outlived them.
fn sweep(base: &Path) -> Result<(), ClusterError> {
    let entries = std::fs::read_dir(base).map_err(ClusterError::io("list", base))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        if !is_dir || !name.starts_with("cluster-") {
            continue;
        }
        let lock_path = base.join(format!("{name}.lock"));
        // Kept in a variable: the lock is ours until the folder is gone, which keeps other sweeps out.
        let lock = match File::options().create(true).append(true).open(&lock_path) {
            Ok(lock) => lock,
            Err(e) => return Err(ClusterError::io("open", &lock_path)(e)),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(e)) => return Err(ClusterError::io("lock", &lock_path)(e)),
        }
        end_server_of(&entry.path().join("data"))?;
        // Two sweeps may follow each other on one folder: what is gone already is fine.
        remove(&entry.path()).map_err(ClusterError::io("remove", &entry.path()))?;
        let _gone_already = std::fs::remove_file(&lock_path);
    }
    Ok(())
}

/// Kills the postmaster that still runs on `data`, if its process id was not given to something else since.
fn end_server_of(data: &Path) -> Result<(), ClusterError> {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return Ok(());
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) };
    if !process_table::command_line(pid).contains(&data.display().to_string()) {
        return Ok(());
    }
    process_table::send(pid, Signal::QUIT).map_err(ClusterError::io("end the server on", data))?;
    if !wait_gone(pid) {
        process_table::send(pid, Signal::KILL).map_err(ClusterError::io("kill the server on", data))?;
        wait_gone(pid);
    }
    Ok(())
}

/// True once `pid` has gone; false if it is still there after the bound.
fn wait_gone(pid: Pid) -> bool {
    let deadline = Instant::now() + Duration::from_millis(KILL_WAIT_MS_MAX);
    while !process_table::is_gone(pid) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(KILL_POLL_MS));
    }
    true
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

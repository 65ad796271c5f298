//! A server of its own with a small disk: a tmpfs that is mounted for its account, and a tablespace `small` on it.
//!
//! Mounting needs root. Where it is not permitted the test fails and says so: a full disk cannot be shown without one.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tenantmig::demo::cluster::{Cluster, ClusterOptions, Mode};
use tokio_postgres::{Client, NoTls, types::FromSql};

use super::server::block_on;

/// What the folders' names begin with; the process id follows, by which a leftover is recognised.
const PREFIX: &str = "tenantmig-small-disk-";

/// The server and its mount, which a drop takes away, also after a panic.
#[derive(Debug)]
pub struct SmallDisk {
    cluster: Cluster,
    mount: PathBuf,
    pub database: String,
}

impl SmallDisk {
    /// A database `name` on a server whose tablespace `small` has so many megabytes.
    #[track_caller]
    pub fn new(name: &str, megabytes: u32) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        // Tablespaces are named in a cluster-wide catalogue, so the tests' shared server is not used.
        let cluster = Cluster::start(ClusterOptions::default()).unwrap();
        let temp = std::env::temp_dir();
        unmount_leftovers(&temp);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mount = temp.join(format!("{PREFIX}{}-{serial}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&mount).unwrap();
        let owner = std::fs::metadata(cluster.data_dir()).unwrap();
        let options = format!("size={megabytes}m,mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        let this = Self { cluster, mount, database: name.to_owned() };
        this.mount(&options);
        this.execute("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", this.mount.display()));
        this.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        this
    }

    /// Another database whose every table, the ledger's too, lies on the small disk.
    #[track_caller]
    pub fn wholly_on_it(name: &str, megabytes: u32) -> Self {
        let this = Self::new(name, megabytes);
        this.execute("postgres", &format!("ALTER DATABASE {name} SET TABLESPACE small"));
        this
    }

    /// Changes the disk's size while the server uses it.
    #[track_caller]
    pub fn resize(&self, megabytes: u32) {
        self.mount(&format!("remount,size={megabytes}m"));
    }

    #[track_caller]
    fn mount(&self, options: &str) {
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.mount).output();
        let out = out.unwrap_or_else(|error| panic!("no program mount: {error}"));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success(),
            "this test needs a disk that can be full, so it mounts a tmpfs, which needs root (CAP_SYS_ADMIN): {said}"
        );
    }

    /// Bytes that are free on the small disk.
    #[track_caller]
    pub fn free(&self) -> u64 {
        let out = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.mount).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().last().unwrap().trim().parse().unwrap()
    }

    /// Where the small disk is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// URL of the database as the superuser.
    pub fn url(&self) -> String {
        self.cluster.url(&self.database)
    }

    /// Runs statements as the superuser.
    #[track_caller]
    pub fn sql(&self, statements: &str) {
        self.execute(&self.database, statements);
    }

    /// Runs statements; the server's code if it refused.
    #[track_caller]
    pub fn try_sql(&self, statements: &str) -> Result<(), String> {
        let (url, statements) = (self.url(), statements.to_owned());
        block_on(async move {
            let client = connect(&url).await;
            client.batch_execute(&statements).await.map_err(|error| match error.as_db_error() {
                Some(db) => db.code().code().to_owned(),
                None => error.to_string(),
            })
        })
    }

    #[track_caller]
    fn execute(&self, database: &str, statements: &str) {
        let (url, statements) = (self.cluster.url(database), statements.to_owned());
        // One by one where the server wants it so: CREATE TABLESPACE and CREATE DATABASE run in no transaction.
        block_on(async move { connect(&url).await.batch_execute(&statements).await.unwrap() });
    }

    /// The first column of the one row of `query`.
    #[track_caller]
    pub fn one<T>(&self, query: &str) -> T
    where
        T: for<'a> FromSql<'a> + Send + 'static,
    {
        let (url, query) = (self.url(), query.to_owned());
        block_on(async move { connect(&url).await.query_one(&query, &[]).await.unwrap().get(0) })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server keeps files open on the mount. A drop cannot report; what stays is unmounted by the next test.
        let _stopped_by_its_own_drop = self.cluster.stop(Mode::Immediate);
        unmount(&self.mount);
    }
}

/// A session on the server.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn unmount(folder: &Path) {
    // Lazily: a backend that is still ending must not keep it.
    let _not_mounted = Command::new("umount").arg("-l").arg(folder).output();
    let _gone_already = std::fs::remove_dir(folder);
}

/// Mounts of test processes that were killed and so dropped nothing.
fn unmount_leftovers(temp: &Path) {
    for entry in std::fs::read_dir(temp).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            unmount(&entry.path());
        }
    }
}

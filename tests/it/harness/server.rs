//! The run's one cluster and the runtime that drives the harness's own connections.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{LazyLock, mpsc};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tokio::runtime::{Builder, Runtime};

/// Selects another major version's server programs for the run.
const BINDIR_VARIABLE: &str = "TENANTMIG_TEST_PG_BINDIR";

/// The cluster that all tests share, started by the first that asks.
///
/// Statics are never dropped: the kernel ends the server with this process, and the next start of a cluster
/// removes the folder.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
        let bindir = std::env::var_os(BINDIR_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        Cluster::start(ClusterOptions { bindir, ..ClusterOptions::default() })
            .unwrap_or_else(|error| panic!("no cluster for the tests: {error}"))
    });
    &CLUSTER
}

/// Drives the harness's connections beside whatever runtime a test has, so that they go on while a test
/// blocks on a child process.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    &RUNTIME
}

/// Waits for a future from sync code and, unlike tokio's, from inside another runtime too.
pub fn block_on<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let (sender, receiver) = mpsc::channel();
    runtime().spawn(async move { sender.send(future.await) });
    receiver.recv().expect("a task of the harness panicked; see above")
}

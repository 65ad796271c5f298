//! Where cells take place: a server with two template databases, the stage before the plan and after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::{Client, NoTls, types::FromSql};

use crate::harness::{Proxy, Replica, Tool, block_on, cluster};

use super::Way;

pub const PLAN: &str = include_str!("plan.toml");
const STAGE: &str = include_str!("stage.sql");
const BEFORE: &str = "chaos_start";
const AFTER: &str = "chaos_up";
const STANDBY: &str = "chaos";

/// A server, or a server with its replica.
pub struct Ground {
    own: Option<Cluster>,
    replica: Option<Replica>,
    /// Where the primary listens, for whoever connects by himself.
    pub port: Arc<AtomicU16>,
}

impl Ground {
    /// The cluster that all tests share. Only one of these may exist.
    pub fn shared() -> Self {
        Self::shared_again().staged()
    }

    /// The same, for one more worker.
    pub fn shared_again() -> Self {
        Self { own: None, replica: None, port: Arc::new(AtomicU16::new(cluster().port())) }
    }

    /// A cluster of its own, which may be killed.
    pub fn own() -> Self {
        let cluster = Cluster::start(ClusterOptions::default()).unwrap();
        let port = Arc::new(AtomicU16::new(cluster.port()));
        Self { own: Some(cluster), replica: None, port }.staged()
    }

    /// A cluster of its own with a replica, which may take its place. What is acknowledged is replicated.
    pub fn pair(way: Way) -> Self {
        let mut ground = Self::own();
        ground.template(way);
        let cluster = ground.own.as_ref().unwrap();
        ground.replica = Some(Replica::of(cluster, STANDBY));
        // Only now: the copy has the settings of its original, and would wait for a replica that it does not have.
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'");
        ground.sql("postgres", &set);
        ground.sql("postgres", "SELECT pg_reload_conf()");
        ground
    }

    fn staged(self) -> Self {
        self.sql("postgres", "CREATE ROLE chaos_app LOGIN");
        self.sql("postgres", &format!("CREATE DATABASE {BEFORE} TEMPLATE template0"));
        self.sql(BEFORE, STAGE);
        self
    }

    /// The name of the template from which this way begins; made where it is not there yet.
    pub fn template(&self, way: Way) -> &'static str {
        let there = format!("SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{AFTER}')");
        if way == Way::Down && !self.one::<bool>("postgres", &there) {
            self.sql("postgres", &format!("CREATE DATABASE {AFTER} TEMPLATE {BEFORE}"));
            let tool = Tool::without_database().url(&self.url(AFTER));
            tool.file("plan.toml", PLAN);
            let _ = tool.args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
        }
        if way == Way::Down { AFTER } else { BEFORE }
    }

    /// A database for one cell.
    pub fn database(&self, way: Way) -> String {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("chaos_cell_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {}", self.template(way)));
        name
    }

    /// The database goes with the cell.
    pub fn drop_database(&self, name: &str) {
        self.sql("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }

    /// The superuser's way to the primary, past every proxy.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port.load(Ordering::SeqCst))
    }

    /// SIGKILL for every process of the server; a moment later it starts again on the same port.
    pub fn kill_and_restart(&mut self, down: std::time::Duration) {
        let cluster = self.own.as_mut().expect("a server of its own");
        cluster.kill_9().unwrap();
        std::thread::sleep(down);
        cluster.restart().unwrap();
    }

    /// The primary dies and the replica takes its place; the way leads there from now on.
    pub fn fail_over(&mut self, proxy: &Proxy) {
        let replica = self.replica.as_ref().expect("a replica");
        self.own.as_mut().expect("a server of its own").kill_9().unwrap();
        replica.promote();
        proxy.lead_to(replica.port());
        self.port.store(replica.port(), Ordering::SeqCst);
    }

    /// Statements as the superuser.
    #[track_caller]
    pub fn sql(&self, database: &str, statements: &str) {
        run(&self.url(database), statements).unwrap_or_else(|error| panic!("{statements}\n{error}"));
    }

    /// A session with an open transaction in which this was run, or tried; it ends when it is dropped.
    pub fn holding(&self, database: &str, statement: &str) -> Option<Client> {
        let url = format!("{}?application_name=chaos-lock", self.url(database));
        let text = format!("BEGIN; SET LOCAL lock_timeout = '2s'; {statement}");
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
            tokio::spawn(connection);
            // Who is in its way is in the way of the run as well.
            let _tried = client.batch_execute(&text).await;
            Some(client)
        })
    }

    /// The first column of the one row.
    #[track_caller]
    pub fn one<T>(&self, database: &str, query: &str) -> T
    where
        T: for<'a> FromSql<'a> + Send + 'static,
    {
        self.try_one(database, query).unwrap_or_else(|error| panic!("{query}\n{error}"))
    }

    /// The same where there may be no row, or no server.
    pub fn try_one<T>(&self, database: &str, query: &str) -> Result<T, String>
    where
        T: for<'a> FromSql<'a> + Send + 'static,
    {
        let (url, text) = (self.url(database), query.to_owned());
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(|e| format!("{e:?}"))?;
            tokio::spawn(connection);
            let row = client.query_one(&text, &[]).await.map_err(|e| format!("{e:?}"))?;
            row.try_get(0).map_err(|e| e.to_string())
        })
    }
}

/// Runs statements on a connection of their own; the server's words if it refused.
pub fn run(url: &str, statements: &str) -> Result<(), String> {
    let (url, text) = (url.to_owned(), statements.to_owned());
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(|e| format!("{e:?}"))?;
        tokio::spawn(connection);
        client.batch_execute(&text).await.map_err(|e| format!("{e:?}"))
    })
}

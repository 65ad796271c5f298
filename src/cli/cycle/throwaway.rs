//! A database that nobody keeps: a cluster of its own, loaded from a file of SQL by a plain owner.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    cli::{args::Connection, failure::CliError, session::Context},
    demo::cluster::{Cluster, ClusterOptions},
    exit::Exit,
};

const DATABASE: &str = "cycle";
/// Owns the database and all that the file makes. CREATEROLE, because such files make the application's roles.
const OWNER: &str = "cycle_owner";
const MAKE: &str = "CREATE ROLE cycle_owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS;
CREATE DATABASE cycle OWNER cycle_owner;
";

/// A running cluster with the loaded database.
#[derive(Debug)]
pub struct Throwaway {
    cluster: Cluster,
}

impl Throwaway {
    /// Starts a cluster and loads the file by psql, so that whatever pg_dump or a person writes can be read.
    pub async fn start(sql: &Path) -> Result<Self, CliError> {
        let path = sql.display().to_string();
        let text = std::fs::read_to_string(sql).map_err(|error| {
            CliError::new(Exit::Usage, format!("cannot read {path}: {error}"), "--on-demo takes a file of SQL")
        })?;
        let started = tokio::task::spawn_blocking(move || {
            let cluster = Cluster::start(ClusterOptions::default()).map_err(|error| {
                CliError::new(Exit::Failed, error.to_string(), "tenantmig doctor, or give a database with -d")
            })?;
            psql(&cluster, &cluster.url("postgres"), MAKE)
                .map_err(|why| failed("the throwaway database cannot be made", &why))?;
            psql(&cluster, &cluster.url_as(OWNER, DATABASE), &text)
                .map_err(|why| failed(&format!("{path} cannot be loaded as a plain owner"), &why))?;
            Ok(Self { cluster })
        });
        started.await.map_err(|error| failed("the throwaway cluster cannot be started", &error.to_string()))?
    }

    /// The same command, on this database.
    pub fn context(&self, of: &Context) -> Context {
        let url = format!("{}?sslmode=disable", self.cluster.url(DATABASE));
        let Connection { role, ledger_schema, .. } = &of.connection;
        let connection = Connection {
            dbname: Some(url),
            host: None,
            port: None,
            username: None,
            direct_url: None,
            app_url: None,
            pooler_url: None,
            role: role.clone(),
            ledger_schema: ledger_schema.clone(),
            help: None,
        };
        Context { connection, console: of.console.clone(), stop: of.stop.clone(), holder: of.holder }
    }

    /// Stops the server; its data go with it.
    pub async fn end(self) {
        if let Err(error) = tokio::task::spawn_blocking(move || drop(self)).await {
            tracing::warn!("the throwaway cluster ended badly: {error}");
        }
    }
}

fn failed(what: &str, why: &str) -> CliError {
    CliError::new(
        Exit::Failed,
        format!("{what}: {}", why.trim()),
        "try the file by hand with psql, as a role that is no superuser",
    )
}

/// Runs a script; the error is what psql said.
fn psql(cluster: &Cluster, url: &str, script: &str) -> Result<(), String> {
    let mut command = Command::new(cluster.binaries().program("psql"));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(variable);
    }
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| format!("psql cannot be run: {error}"))?;
    let stdin = child.stdin.take();
    let script = script.to_owned();
    // A thread of its own: psql may write its errors before it has read everything.
    let writer = std::thread::spawn(move || stdin.map_or(Ok(()), |mut pipe| pipe.write_all(script.as_bytes())));
    let out = child.wait_with_output().map_err(|error| error.to_string())?;
    let written = writer.join();
    match (out.status.success(), written) {
        (true, Ok(Ok(()))) => Ok(()),
        (true, Ok(Err(error))) => Err(format!("psql did not read the whole file: {error}")),
        (true, Err(_)) => Err("the file could not be handed to psql".to_owned()),
        (false, _) => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

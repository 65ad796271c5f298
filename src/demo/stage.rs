//! What the acts of the demo share: the server, the application's database, the program, and the state before all of it.

use std::{io::Write, path::Path};

use anyhow::Context;
use tokio_postgres::Client;

use super::{
    alphapulse::{APP, OWNER, PLAN, TABLES},
    cluster::{Cluster, ClusterOptions},
    program::Program,
    screen::Screen,
    seed::{self, Scale},
    server_binaries::ServerBinaries,
    server_install::{can_install_with_apt, find_or_install},
    traffic::connect,
};
use crate::{
    pg::fingerprint::{CatalogPrint, catalog},
    sql::Ident,
};

/// The application's database.
pub const DATABASE: &str = "alphapulse";
/// Where the plan lies in the folder that the commands run in.
pub const PLAN_PATH: &str = "plans/alphapulse.toml";

/// The state of the database that a rollback to the start has to bring back.
#[derive(Debug)]
pub struct Before {
    pub catalog: CatalogPrint,
    /// `pg_dump --schema-only`, where pg_dump is installed.
    pub dump: Option<String>,
    /// Of each table's seeded rows.
    pub rows: Vec<(i64, String)>,
}

/// Everything the acts need.
#[derive(Debug)]
pub struct Stage {
    pub screen: Screen,
    pub scale: Scale,
    /// A superuser's session on the application's database: sees all rows, and is used for looking only.
    pub eye: Client,
    pub program: Program,
    pub cluster: Cluster,
    pub folder: tempfile::TempDir,
}

impl Stage {
    /// Starts a server, installing it first where it is missing, and makes the application's database.
    pub async fn set(screen: Screen, scale: Scale) -> anyhow::Result<Self> {
        let cluster = server(&screen).await?;
        let postgres = connect(&cluster.url("postgres")).await?;
        postgres.batch_execute("CREATE DATABASE alphapulse").await?;
        let eye = connect(&cluster.url(DATABASE)).await?;
        seed::seed(&eye, scale).await.context("making the application's rows")?;
        let folder = tempfile::tempdir()?;
        write(folder.path(), PLAN_PATH, PLAN)?;
        let program = Program::new(folder.path(), cluster.url_as(OWNER, DATABASE))?;
        Ok(Self { screen, scale, eye, program, cluster, folder })
    }

    /// URL for the application's role.
    pub fn app_url(&self) -> String {
        self.cluster.url_as(APP, DATABASE)
    }

    /// Looks at the database as it is now.
    pub async fn look(&self) -> anyhow::Result<Before> {
        let catalog = catalog(&self.eye, &["tenantmig".to_owned()]).await?;
        let mut rows = Vec::new();
        for table in TABLES {
            let name = Ident::new(table)?;
            rows.push(seed::checksum(&self.eye, &name, self.scale.rows(table)).await?);
        }
        Ok(Before { catalog, dump: dump(&self.cluster, DATABASE).await?, rows })
    }

    /// Writes a further plan into the folder that the commands run in.
    pub fn add_plan(&self, path: &str, text: &str) -> anyhow::Result<()> {
        write(self.folder.path(), path, text)
    }

    /// The first column of the one row of `query`.
    pub async fn one<T>(&self, query: &str) -> anyhow::Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.eye.query_typed_one(query, &[]).await.with_context(|| query.to_owned())?;
        Ok(row.try_get(0)?)
    }
}

/// Starts a server, installing it first where it is missing.
pub(super) async fn server(screen: &Screen) -> anyhow::Result<Cluster> {
    if ServerBinaries::find().is_err() && can_install_with_apt() {
        screen.say(
            "PostgreSQL's server is missing here: installing Debian's package `postgresql`, which takes a minute …",
        )?;
    }
    let binaries = tokio::task::spawn_blocking(find_or_install).await??;
    let options = ClusterOptions { bindir: Some(binaries.bindir().to_owned()), ..ClusterOptions::default() };
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(options)).await??;
    screen.say(&format!(
        "A throwaway server ({}) on port {}; it goes with this demo.",
        binaries.version(),
        cluster.port()
    ))?;
    Ok(cluster)
}

/// `pg_dump --schema-only`, where pg_dump is installed.
pub(super) async fn dump(cluster: &Cluster, database: &str) -> anyhow::Result<Option<String>> {
    let mut command = tokio::process::Command::new(cluster.binaries().program("pg_dump"));
    command.args([
        "--schema-only",
        "--exclude-schema=tenantmig",
        "--exclude-schema=tenantmig_aside_*",
        "-d",
        &cluster.url(database),
    ]);
    let Ok(out) = command.env("LC_ALL", "C").output().await else { return Ok(None) };
    if !out.status.success() {
        anyhow::bail!("pg_dump: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    // Since 2025 a dump is wrapped in \restrict with a random key.
    let text = String::from_utf8_lossy(&out.stdout);
    let lines = text.lines().filter(|l| !l.starts_with("\\restrict ") && !l.starts_with("\\unrestrict "));
    Ok(Some(lines.map(|line| format!("{line}\n")).collect()))
}

pub(super) fn write(folder: &Path, path: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
    Ok(std::fs::File::create(path)?.write_all(text.as_bytes())?)
}

//! The story of a system, told briefly: seeded, migrated while its application writes, isolated, and back.

use std::{path::Path, time::Duration};

use tokio_postgres::{Client, error::SqlState};

use super::{Report, System, Traffic, VECTOR, traffic::context};
use crate::{
    demo::{
        cluster::Cluster,
        program::Program,
        sabotage::Sabotage,
        screen::Screen,
        stage::{dump, server, write},
        traffic::connect,
    },
    exit::Exit,
    pg::fingerprint::{catalog, diff},
    sql,
    sql::{Literal, Stmt},
};

const DATABASE: &str = "demo";
/// Rows of the first table.
const SCALE: u32 = 3_000;
/// Of a result that lists a hundred units.
const LINES: usize = 4;
/// How long the new release writes before the way back.
const WRITES: Duration = Duration::from_secs(1);

/// Everything the story needs; the server ends with it.
#[derive(Debug)]
pub struct Scene {
    pub screen: Screen,
    pub cluster: Cluster,
    system: &'static System,
    eye: Client,
    program: Program,
    folder: tempfile::TempDir,
}

impl Scene {
    /// Starts a server and makes the system's database.
    pub async fn set(system: &'static System) -> anyhow::Result<Self> {
        let screen = Screen::new();
        screen.act(system.title)?;
        let cluster = server(&screen).await?;
        connect(&cluster.url("postgres")).await?.batch_execute("CREATE DATABASE demo").await?;
        let eye = connect(&cluster.url(DATABASE)).await?;
        system.seed(&eye, SCALE).await?;
        let folder = tempfile::tempdir()?;
        let program = Program::new(folder.path(), cluster.url_as(system.owner, DATABASE))?;
        Ok(Self { screen, cluster, system, eye, program, folder })
    }

    /// The URLs for a look, and where the plan lies.
    pub fn told(&self) -> String {
        format!(
            "{}\n  {}\n  {}\nThe plan: {}",
            self.cluster.url_as(self.system.owner, DATABASE),
            self.cluster.url_as(self.system.app, DATABASE),
            self.cluster.url(DATABASE),
            self.folder.path().join(self.path()).display()
        )
    }

    fn path(&self) -> String {
        format!("plans/{}.toml", self.system.name)
    }

    /// With pgvector, where this server has it, the plan is the one that uses it.
    async fn plan(&self) -> anyhow::Result<&'static str> {
        let query = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')";
        let there: bool = self.eye.query_typed_one(query, &[]).await?.try_get(0)?;
        if self.system.name != "memory_chunks" || !there {
            return Ok(self.system.plan);
        }
        self.eye.batch_execute("CREATE EXTENSION vector").await?;
        Ok(VECTOR)
    }

    /// From the seed to the verdict.
    pub async fn play(&mut self, fail_at: Option<&Sabotage>) -> anyhow::Result<()> {
        let (system, path) = (self.system, self.path());
        let folder: &Path = self.folder.path();
        write(folder, &path, self.plan().await?)?;
        let before = (catalog(&self.eye, &["tenantmig".to_owned()]).await?, dump(&self.cluster, DATABASE).await?);
        self.screen.say(&format!("The release of before writes as `{}`, and names no tenant.", system.app))?;
        let url = self.cluster.url_as(system.app, DATABASE);
        let old = Traffic::old(system, &url);
        if let Some(sabotage) = fail_at {
            self.fail(sabotage).await?;
        }
        let code = self.program.run_brief(&self.screen, &["apply", &path, "--yes", "-q"], LINES).await?;
        let mut report = old.stop().await;
        self.screen.proof(code == 0, &format!("the plan is applied: exit code {code}"))?;
        self.wrote("before", &report)?;
        let new = Traffic::new(system, &url);
        tokio::time::sleep(WRITES).await;
        self.isolation(&url).await?;
        let back = self.back().await;
        let after = new.stop().await;
        back?;
        self.wrote("after", &after)?;
        report.merge(after);
        self.screen.act("As if nothing had happened")?;
        let lost = report.lost(&self.eye, system.kept).await?;
        self.screen.proof(lost == 0, &format!("acknowledged writes that are gone: {lost}"))?;
        let now = (catalog(&self.eye, &["tenantmig".to_owned()]).await?, dump(&self.cluster, DATABASE).await?);
        let differs = diff(&before.0.lines, &now.0.lines);
        let facts = before.0.lines.len();
        self.screen.proof(differs.is_none(), &format!("the catalogue is as before: {facts} facts"))?;
        self.screen.say(&differs.unwrap_or_default())?;
        if before.1.is_some() {
            self.screen.proof(before.1 == now.1, "pg_dump --schema-only prints the same")?;
        }
        Ok(())
    }

    async fn fail(&mut self, sabotage: &Sabotage) -> anyhow::Result<()> {
        self.screen.act(&format!("A step fails: an error in front of `{}`", sabotage.step))?;
        write(self.folder.path(), "plans/fails.toml", &sabotage.plan)?;
        let code = self.program.run(&self.screen, &["apply", "plans/fails.toml", "--yes"]).await?;
        let expected = Exit::RolledBack as i32;
        self.screen.proof(code == expected, &format!("failed, and its phase is rolled back: exit code {code}"))?;
        let code = self.program.run_brief(&self.screen, &["rollback", "--to", "start", "--yes", "-q"], LINES).await?;
        self.screen.proof(code == 0, &format!("what was left is undone too: exit code {code}"))?;
        Ok(())
    }

    fn wrote(&mut self, release: &str, report: &Report) -> anyhow::Result<()> {
        let none = "none".to_owned();
        let error = report.first_error.as_ref().unwrap_or(&none);
        let claim = format!(
            "the release of {release}: {} writes, {} refused as they must be, unexpected errors: {error}",
            report.writes(),
            report.refused
        );
        self.screen.proof(report.first_error.is_none() && report.writes() > 0, &claim)?;
        Ok(())
    }

    /// As the application's role: without a tenant nothing, of each tenant its own, and no way into another's.
    async fn isolation(&mut self, url: &str) -> anyhow::Result<()> {
        let system = self.system;
        self.screen.act(&format!("Isolation: {}", system.meaning))?;
        let app = connect(url).await?;
        for table in system.isolated {
            let mut seen = Vec::new();
            let (none, _) = self.seen(&app, table, None).await?;
            let mut foreign = 0;
            for tenant in system.tenants {
                let (mine, others) = self.seen(&app, table, Some(tenant)).await?;
                seen.push(mine.to_string());
                foreign += others;
            }
            let said = format!(
                "{table}: without a tenant {none}, as each of three {}, of another's {foreign}",
                seen.join(", ")
            );
            self.screen.proof(none == 0 && foreign == 0 && seen.iter().any(|rows| rows != "0"), &said)?;
        }
        let [mine, other, _] = system.tenants;
        // Names of ours.
        let (table, column) =
            (Stmt::raw(system.isolated.first().copied().unwrap_or_default()), Stmt::raw(system.column));
        app.batch_execute("BEGIN").await?;
        context(&app, system, mine).await?;
        let moved = sql!("UPDATE {} SET {} = {}", table, column, Literal::new(other));
        let moved = app.batch_execute(moved.as_str()).await;
        app.batch_execute("ROLLBACK").await?;
        let refused = moved.err().and_then(|error| error.code().cloned()) == Some(SqlState::INSUFFICIENT_PRIVILEGE);
        self.screen.proof(refused, "to move rows to another tenant is refused")?;
        Ok(())
    }

    async fn seen(&self, app: &Client, table: &str, tenant: Option<&str>) -> anyhow::Result<(i64, i64)> {
        app.batch_execute("BEGIN").await?;
        if let Some(tenant) = tenant {
            context(app, self.system, tenant).await?;
        }
        let query = sql!(
            "SELECT count(*), count(*) FILTER (WHERE {}::text <> {}) FROM {}",
            Stmt::raw(self.system.column),
            Literal::new(tenant.unwrap_or_default()),
            Stmt::raw(table)
        );
        let row = app.query_typed_one(query.as_str(), &[]).await?;
        app.batch_execute("COMMIT").await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// All the way, while the new release writes. What that would lose is told first, and agreed to.
    async fn back(&mut self) -> anyhow::Result<()> {
        self.screen.act("Back to the start")?;
        let asked = ["rollback", "--to", "start", "--confirm", DATABASE, "-q"];
        let mut code = self.program.run_brief(&self.screen, &asked, LINES).await?;
        if code == Exit::Refused as i32 {
            self.screen
                .proof(true, "it is refused while somebody has to agree: the tenants would see each other's rows")?;
            let agreed = [&asked[..], &["--allow-data-loss", "--accept-exposure"]].concat();
            code = self.program.run_brief(&self.screen, &agreed, LINES).await?;
        }
        self.screen.proof(code == 0, &format!("exit code {code}"))?;
        Ok(())
    }
}

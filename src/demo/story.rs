//! The acts: the plan forward with a kill -9 and a failure on the way, and back again; after each, what it proves.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::{
    isolation,
    program::wait,
    sabotage::Sabotage,
    seed::{RESOLVE_DUPLICATES, add_duplicates},
    stage::{Before, DATABASE, PLAN_PATH, Stage},
};
use crate::exit::Exit;

/// The backfill that is killed must have begun within this; it follows after some seconds.
const KILL_WAIT: Duration = Duration::from_secs(60);
/// How often its progress is looked at.
const KILL_POLL: Duration = Duration::from_millis(20);
/// The plan with a step that fails.
const SABOTAGED_PATH: &str = "plans/alphapulse-fails.toml";

/// How much of a status, and of a result that lists a hundred units, is shown.
const STATUS_LINES: usize = 6;
const RESULT_LINES: usize = 4;

/// Two tenants have rows when row-level security is taken back.
const ACCEPT: &str = "--accept-exposure";

/// The unit that is killed at its work.
const KILLED: &str = "schema/trades-tenant_id-backfill/backfill";
/// Of its rows, how many have their tenant when the kill comes: one in this many.
const KILLED_AT_ONE_IN: i64 = 3;

/// The plan of `--fail-at`: it fails, and its phase is taken back by itself.
pub async fn fail_at(stage: &mut Stage, sabotage: &Sabotage) -> anyhow::Result<()> {
    stage.screen.act(&format!("A step fails: an error in front of `{}`", sabotage.step))?;
    stage.add_plan(SABOTAGED_PATH, &sabotage.plan)?;
    let code = stage.program.run(&stage.screen, &["apply", SABOTAGED_PATH, "--yes"]).await?;
    rolled_back(stage, code, &sabotage.phase).await?;
    let code =
        stage.program.run_brief(&stage.screen, &["rollback", "--to", "start", "--yes", "-q"], RESULT_LINES).await?;
    stage.screen.proof(code == 0, &format!("what was left is undone too: exit code {code}"))?;
    Ok(())
}

/// Whether the failed phase is undone and the earlier ones are not.
async fn rolled_back(stage: &mut Stage, code: i32, phase: &str) -> anyhow::Result<()> {
    let expected = Exit::RolledBack as i32;
    stage.screen.proof(code == expected, &format!("exit code {code}: failed, and rolled back cleanly"))?;
    let left: i64 = stage.one(&units(phase, "status <> 'pending'")).await?;
    stage.screen.proof(left == 0, &format!("phase `{phase}` is undone: {left} of its units are left"))?;
    let wrecks: i64 = stage.one("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await?;
    stage.screen.proof(wrecks == 0, &format!("no wreck of an index is left: {wrecks} are invalid"))?;
    Ok(())
}

/// The query that counts units of a phase of the newest run.
fn units(phase: &str, condition: &'static str) -> String {
    let phase = crate::sql::Literal::new(phase);
    let query = crate::sql!(
        "SELECT count(*) FROM tenantmig.migration_progress
          WHERE run_id = (SELECT run_id FROM tenantmig.runs ORDER BY created_at DESC LIMIT 1) AND phase = {} AND {}",
        phase,
        crate::sql::Stmt::raw(condition)
    );
    query.as_str().to_owned()
}

/// Phase 1 begins, and its process is killed in the middle of a backfill.
pub async fn kill(stage: &mut Stage) -> anyhow::Result<Killed> {
    stage.screen.act("Phase 1, killed in the middle of a backfill")?;
    let mut child = stage.program.start(&stage.screen, &["apply", PLAN_PATH, "--yes"])?;
    let begun = Instant::now();
    let enough = stage.scale.rows("trades") / KILLED_AT_ONE_IN;
    while rows_done(stage).await? < enough {
        if child.try_wait()?.is_some() {
            bail!("the command ended before its backfill of trades was under way");
        }
        if begun.elapsed() > KILL_WAIT {
            bail!("the backfill of trades had not begun after {} s", KILL_WAIT.as_secs());
        }
        tokio::time::sleep(KILL_POLL).await;
    }
    child.start_kill()?;
    let status = wait(child).await?;
    let rows = rows_done(stage).await?;
    let done: i64 = stage.one("SELECT count(tenant_id) FROM trades").await?;
    stage.screen.say("")?;
    stage.screen.proof(status.code().is_none(), &format!("kill -9: {status}"))?;
    stage.screen.proof(
        rows < stage.scale.rows("trades") && done >= rows,
        &format!(
            "{rows} rows of trades are on record as filled, {done} have a tenant (new ones get theirs from a trigger)"
        ),
    )?;
    let code = stage.program.run_brief(&stage.screen, &["status"], STATUS_LINES).await?;
    stage.screen.proof(code == 0, &format!("what is left is known to the database: exit code {code}"))?;
    let versions = versions(stage, rows).await?;
    Ok(Killed { rows, versions })
}

/// What was done when the kill came.
#[derive(Debug)]
pub struct Killed {
    /// Rows of trades that have their tenant, by the ledger.
    rows: i64,
    /// Where these rows' versions lie; an update of a row makes a new version somewhere else.
    versions: String,
}

/// The backfill walks along the primary key, nobody else updates trades, and the first rows are numbered without a gap.
async fn versions(stage: &Stage, rows: i64) -> anyhow::Result<String> {
    let query = crate::sql!("SELECT md5(string_agg(ctid::text, ',' ORDER BY id)) FROM trades WHERE id <= {}", rows);
    stage.one(query.as_str()).await
}

async fn rows_done(stage: &Stage) -> anyhow::Result<i64> {
    if !stage.one::<bool>("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL").await? {
        return Ok(0);
    }
    let unit = crate::sql::Literal::new(KILLED);
    let query =
        crate::sql!("SELECT coalesce(max(rows_done), 0) FROM tenantmig.migration_progress WHERE unit = {}", unit);
    stage.one(query.as_str()).await
}

/// The killed run goes on. `duplicates`: phase 2 will meet rows that its unique index cannot take.
pub async fn resume(stage: &mut Stage, killed: &Killed, duplicates: bool) -> anyhow::Result<()> {
    stage.screen.act("Resume: it goes on where it was")?;
    let code = stage.program.run(&stage.screen, &["resume"]).await?;
    let rows = rows_done(stage).await?;
    let nulls: i64 = stage.one("SELECT count(*) FROM trades WHERE tenant_id IS NULL").await?;
    stage.screen.say("")?;
    stage.screen.proof(
        nulls == 0 && rows >= killed.rows,
        &format!(
            "{} rows were filled before the kill and {} after it; {nulls} are without a tenant",
            killed.rows,
            rows - killed.rows
        ),
    )?;
    let untouched = versions(stage, killed.rows).await? == killed.versions;
    stage.screen.proof(untouched, &format!("none of the {} was written a second time", killed.rows))?;
    if !duplicates {
        stage.screen.proof(code == 0, &format!("exit code {code}: done"))?;
        return Ok(());
    }
    stage.screen.say("\nPhase 2 met accounts whose e-mail addresses differ in case only, and undid itself:")?;
    rolled_back(stage, code, "constraints").await?;
    let kept: i64 = stage.one(&units("schema", "status = 'done'")).await?;
    stage.screen.proof(kept > 0, &format!("phase `schema` stays: {kept} units, tenant_id filled in every table"))?;
    Ok(())
}

/// Accounts that the plan's unique index will not take.
pub async fn plant_duplicates(stage: &Stage) -> anyhow::Result<u64> {
    Ok(add_duplicates(&stage.eye).await?)
}

/// The operator mends the data and applies the same plan.
pub async fn mend(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.act("The cause is mended, and the same plan goes on")?;
    stage.screen.command(&format!("psql -c \"{RESOLVE_DUPLICATES}\""))?;
    let rows = stage.eye.execute(RESOLVE_DUPLICATES, &[]).await?;
    stage.screen.say(&format!("UPDATE {rows}"))?;
    let code = stage.program.run(&stage.screen, &["apply", PLAN_PATH, "--yes"]).await?;
    stage.screen.say("")?;
    stage.screen.proof(code == 0, &format!("all three phases are applied: exit code {code}"))?;
    Ok(())
}

/// The same plan once more changes nothing.
pub async fn again(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.act("The same plan again")?;
    let events = "SELECT count(*) FROM tenantmig.events WHERE kind IN ('started', 'succeeded')";
    let before: i64 = stage.one(events).await?;
    let code = stage.program.run_brief(&stage.screen, &["apply", PLAN_PATH, "--yes", "-q"], RESULT_LINES).await?;
    let after: i64 = stage.one(events).await?;
    stage.screen.proof(
        code == 0 && before == after,
        &format!("nothing was done twice: {} new steps, exit code {code}", after - before),
    )?;
    Ok(())
}

/// Tenant isolation, as the application's role.
pub async fn isolation(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.act("Tenant isolation, as the application's role")?;
    isolation::prove(stage).await
}

/// Back to the end of phase 1, and forward again.
pub async fn to_phase(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.act("Back to the end of phase 1, and forward again")?;
    let code = stage
        .program
        .run_brief(&stage.screen, &["rollback", "--to", "schema", "--confirm", DATABASE, ACCEPT, "-q"], RESULT_LINES)
        .await?;
    let columns: i64 = stage
        .one(
            "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'tenant_id'
                 AND NOT a.attisdropped AND NOT a.attnotnull AND NOT c.relrowsecurity AND NOT c.relforcerowsecurity",
        )
        .await?;
    let rest: i64 = stage
        .one("SELECT (SELECT count(*) FROM pg_policies) + (SELECT count(*) FROM pg_constraint WHERE confrelid = 'tenants'::regclass)")
        .await?;
    stage.screen.proof(
        code == 0 && columns == 7 && rest == 0,
        &format!("tenant_id stays in {columns} tables, nullable and without row-level security; {rest} policies and keys are left"),
    )?;
    let code = stage.program.run_brief(&stage.screen, &["apply", PLAN_PATH, "--yes", "-q"], RESULT_LINES).await?;
    let forced: i64 = stage.one("SELECT count(*) FROM pg_class WHERE relrowsecurity AND relforcerowsecurity").await?;
    stage.screen.proof(
        code == 0 && forced == 7,
        &format!("and forward: {forced} tables under row-level security, exit code {code}"),
    )?;
    Ok(())
}

/// All the way back.
pub async fn to_start(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.act("Back to the start")?;
    let code = stage
        .program
        .run_brief(&stage.screen, &["rollback", "--to", "start", "--confirm", DATABASE, ACCEPT, "-q"], RESULT_LINES)
        .await?;
    stage.screen.proof(code == 0, &format!("exit code {code}"))?;
    Ok(())
}

/// The catalogue and the rows are as before.
pub async fn as_before(stage: &mut Stage, before: &Before) -> anyhow::Result<()> {
    let after = stage.look().await?;
    let facts = before.catalog.lines.len();
    match crate::pg::fingerprint::diff(&before.catalog.lines, &after.catalog.lines) {
        None => stage.screen.proof(true, &format!("the catalogue is as before: {facts} facts, no difference"))?,
        Some(diff) => {
            stage.screen.proof(false, "the catalogue is as before")?;
            stage.screen.say(&diff)?;
        }
    }
    match (&before.dump, &after.dump) {
        (Some(old), Some(new)) => {
            let lines = new.lines().count();
            stage.screen.proof(old == new, &format!("pg_dump --schema-only prints the same: {lines} lines"))?;
        }
        (None, _) | (_, None) => stage.screen.say("  (pg_dump is not installed here, so it was not compared)")?,
    }
    let kept = |table: &&str| *table != "positions";
    let pairs = crate::demo::alphapulse::TABLES.iter().zip(before.rows.iter().zip(&after.rows));
    let same = pairs.clone().filter(|(table, (old, new))| !kept(table) || old == new).count();
    let rows: i64 = pairs.filter(|(table, _)| kept(table)).map(|(_, (old, _))| old.0).sum();
    stage.screen.proof(
        same == before.rows.len(),
        &format!("the {rows} rows that nobody wrote to meanwhile have the checksums that they had"),
    )?;
    Ok(())
}

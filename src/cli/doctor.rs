//! `doctor`: every setting with its origin, then the connection, the versions and the privileges.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::Client;

use super::{args::Format, failure::CliError, session::Context};
use crate::{
    driver::{DriveError, outside},
    exit::Exit,
    ledger,
    pg::{
        connect::{Connection, SessionSpec, connect},
        settings::Settings,
        signals,
    },
    report::Mark,
    sql::Ident,
};

/// The second session asks for nothing that could be locked.
const OTHER_LOCK_WAIT: Duration = Duration::from_secs(5);

/// What doctor looked at, and how it stands.
struct Finding {
    mark: Mark,
    what: String,
}

/// Prints what it found; 77 when a privilege is missing that apply needs, 3 when the direct URL leads nowhere or elsewhere.
pub async fn run(context: &Context) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let rows = settings.rows();
    if context.console.format == Format::Text {
        let mut text = format!("settings for {}\n", settings.display_target());
        for row in &rows {
            text.push_str(&format!("  {:<22} {:<34} {}\n", row.key, row.value, row.origin));
        }
        context.console.show(&text)?;
    }
    let session = context.look().await?;
    let mut findings = examine(&session, &context.schema()?).await?;
    let beyond = pooler(&settings, &session).await?;
    let bad = |findings: &[Finding]| findings.iter().any(|f| f.mark == Mark::Failed);
    let exit = match (bad(&findings), bad(&beyond)) {
        (true, _) => Exit::Privilege,
        (false, true) => Exit::Findings,
        (false, false) => Exit::Done,
    };
    findings.extend(beyond);
    match context.console.format {
        Format::Text => {
            let lines: Vec<String> =
                findings.iter().map(|f| format!("{} {}", context.console.out.mark(f.mark), f.what)).collect();
            context.console.show(&lines.join("\n"))?;
        }
        Format::Json | Format::Ndjson => {
            let settings: Vec<_> = rows
                .iter()
                .map(|r| json!({ "key": r.key, "value": r.value, "origin": r.origin.to_string() }))
                .collect();
            let findings: Vec<_> =
                findings.iter().map(|f| json!({ "ok": f.mark != Mark::Failed, "what": f.what })).collect();
            context.console.print(&json!({ "v": 1, "settings": settings, "findings": findings }).to_string())?;
        }
    }
    Ok(exit)
}

async fn examine(session: &Connection, schema: &Ident) -> Result<Vec<Finding>, CliError> {
    let query = "SELECT current_user::text, session_user::text, r.rolsuper, r.rolbypassrls, version(),
            has_database_privilege(current_database(), 'CREATE'), pg_has_role('pg_monitor', 'USAGE'),
            current_setting('client_connection_check_interval', true), current_database()::text,
            current_setting('deadlock_timeout'), has_database_privilege(current_database(), 'TEMP')
       FROM pg_roles r WHERE r.rolname = current_user";
    let (row, installed) = session
        .with(async |client: &Client| {
            let row = client.query_typed_one(query, &[]).await?;
            Ok::<_, CliError>((row, ledger::version(client, schema).await?))
        })
        .await?;
    let (user, login): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let (superuser, bypass): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
    let (create, monitor, temp): (bool, bool, bool) = (row.try_get(5)?, row.try_get(6)?, row.try_get(10)?);
    let version: String = row.try_get(4)?;
    let check: Option<String> = row.try_get(7)?;
    let database: String = row.try_get(8)?;
    let good = |what: String| Finding { mark: Mark::Done, what };
    let note = |what: String| Finding { mark: Mark::Wait, what };
    let bad = |what: String| Finding { mark: Mark::Failed, what };
    let version = version.split(" on ").next().unwrap_or_default().to_owned();
    let role = if user == login { user.clone() } else { format!("{user} (logged in as {login})") };
    let mut out = vec![
        good(format!("connected to {database} at {}: {version}", session.at)),
        good(format!("TLS: {}", session.tls)),
        good(format!("role {role}: {}", attributes(superuser, bypass))),
    ];
    if session.in_recovery {
        out.push(bad("the server is a standby: connect to the primary".to_owned()));
    }
    match installed {
        Some(version) => out.push(good(format!("ledger in schema {schema}, version {version}"))),
        None if create => out.push(good(format!("no ledger yet; {user} may create the schema {schema}"))),
        None => out.push(bad(format!(
            "no ledger yet, and {user} may not create it: GRANT CREATE ON DATABASE {database} TO {user}"
        ))),
    }
    if !temp {
        out.push(bad(format!("probes compare with temporary tables: GRANT TEMP ON DATABASE {database} TO {user}")));
    }
    if superuser {
        out.push(note("a superuser sees every row whatever the policies say: rehearse with tenantmig cycle, which takes a plain role".to_owned()));
    }
    if !monitor && !superuser {
        let signals: Vec<String> = signals::hidden_without_pg_monitor().map(|signal| signal.to_string()).collect();
        out.push(note(format!(
            "without pg_monitor the statements of other roles' sessions stay hidden, and backfills cannot wait for {}: \
             GRANT pg_monitor TO {user}",
            signals.join(", ")
        )));
    }
    match check {
        Some(interval) => out.push(good(format!(
            "the server notices a killed client within {interval} (client_connection_check_interval)"
        ))),
        None => out.push(note("before PostgreSQL 14 the statement of a killed client runs on to its end".to_owned())),
    }
    Ok(out)
}

/// What stands between, and whether statements that no transaction may hold find a way past it.
async fn pooler(settings: &Settings, session: &Connection) -> Result<Vec<Finding>, CliError> {
    let (good, bad) =
        (|what: String| Finding { mark: Mark::Done, what }, |what: String| Finding { mark: Mark::Failed, what });
    let mut out = Vec::new();
    if session.pooled {
        let other = connect(settings, &SessionSpec::new("tenantmig look", OTHER_LOCK_WAIT)).await?;
        // One server process that works for two sessions, neither of which is over, is lent by the transaction.
        let shared = session.with(process).await? == other.with(process).await?;
        let mode = if shared { "in transaction mode" } else { "in session or transaction mode, which cannot be told" };
        out.push(good(format!(
            "a connection pooler stands between, {mode}: every statement gets a transaction that sets its own settings"
        )));
    }
    if session.direct.is_none() && !session.pooled {
        return Ok(out);
    }
    let apart = ["an index build".to_owned()];
    out.push(match outside::way(session, &apart).await {
        Ok(way) => match way.note() {
            Some(note) => good(note),
            // Not needed, and better wrong now than when a pooler stands between.
            None => match outside::direct(session).await {
                Ok(direct) => good(format!("the direct URL leads to the same database, at {}", direct.at)),
                Err(error) => bad(astray(error)),
            },
        },
        Err(DriveError::Refused { advice, .. }) if session.direct.is_none() => Finding {
            mark: Mark::Wait,
            what: format!(
                "no way past the pooler for CREATE INDEX CONCURRENTLY and VACUUM, which are refused; {advice}"
            ),
        },
        Err(error) => bad(astray(error)),
    });
    Ok(out)
}

/// Why the direct URL is of no use, and what mends it.
fn astray(error: DriveError) -> String {
    let CliError { message, advice, .. } = CliError::from(error);
    let message = message.replace("; nothing was touched", "");
    let message =
        if message.contains("direct URL") { message } else { format!("the direct URL cannot be used: {message}") };
    advice.map_or(message.clone(), |advice| format!("{message}; {advice}"))
}

async fn process(client: &Client) -> Result<i32, CliError> {
    Ok(client.query_typed_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?)
}

fn attributes(superuser: bool, bypass: bool) -> &'static str {
    match (superuser, bypass) {
        (true, _) => "superuser",
        (false, true) => "BYPASSRLS: policies do not apply to it",
        (false, false) => "subject to row-level security under FORCE",
    }
}

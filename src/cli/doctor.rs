//! `doctor`: every setting with its origin, then the connection, the versions and the privileges.

use serde_json::json;
use tokio_postgres::Client;

use super::{args::Format, failure::CliError, session::Context};
use crate::{
    exit::Exit,
    ledger,
    pg::{connect::Connection, signals},
    report::Mark,
    sql::Ident,
};

/// What doctor looked at, and how it stands.
struct Finding {
    mark: Mark,
    what: String,
}

/// Prints what it found; 77 when a privilege is missing that apply needs.
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
    let findings = examine(&session, &context.schema()?).await?;
    let bad = findings.iter().any(|f| f.mark == Mark::Failed);
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
    Ok(if bad { Exit::Privilege } else { Exit::Done })
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
    if session.pooled {
        out.push(bad("a connection pooler stands between: apply and rollback need the server's own port".to_owned()));
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

fn attributes(superuser: bool, bypass: bool) -> &'static str {
    match (superuser, bypass) {
        (true, _) => "superuser",
        (false, true) => "BYPASSRLS: policies do not apply to it",
        (false, false) => "subject to row-level security under FORCE",
    }
}

//! Statements that no transaction may hold (CONCURRENTLY, VACUUM), where a pooler stands between: they need a session whose lock
//! timeout is set, and a pooler lends no session to set it on.

use std::time::Duration;

use tokio_postgres::Client;

use super::{error::DriveError, shell::cancellable, stop::Stop};
use crate::{
    engine::{Preview, Program},
    pg::{
        Bounds, Fault,
        connect::{Connection, SessionSpec, connect},
    },
    unit::{Down, Op, Unit},
};

/// Longer than any of them waits: until the statement itself is bounded, on a session that is about to be.
const OPENING_LOCK_WAIT: Duration = Duration::from_secs(5);

/// What stands in the way of statements outside a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Nothing: the session is our own.
    Own,
    /// They run on a session past the pooler.
    Direct { at: String },
    /// They run through the pooler, since the server bounds each wait of this role by itself.
    RoleBound { lock_timeout_ms: u64, statement_timeout_ms: u64 },
}

impl Way {
    /// What is worth a word before the start.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::Direct { at } => {
                Some(format!("behind a pooler: statements outside a transaction run directly at {at}"))
            }
            Self::RoleBound { lock_timeout_ms, statement_timeout_ms } => {
                let cut = match statement_timeout_ms {
                    0 => String::new(),
                    ms => format!("; its statement_timeout of {ms} ms ends an index build that takes longer"),
                };
                Some(format!(
                    "behind a pooler: statements outside a transaction run through it, each wait bounded by the role's own \
                     lock_timeout of {lock_timeout_ms} ms{cut}"
                ))
            }
        }
    }
}

/// The titles of what runs outside a transaction when the program is applied, or taken back after a failure.
pub fn forward(program: &Program) -> Vec<String> {
    let apart = |unit: &Unit| matches!(unit.up, Op::Autocommit { .. }) || is_apart(&unit.down);
    let mut steps: Vec<String> =
        program.units().filter(|(_, unit)| apart(unit)).map(|(_, unit)| unit.title.clone()).collect();
    if program.pacing.vacuum_percent.is_some() && program.units().any(|(_, u)| matches!(u.up, Op::Backfill(_))) {
        steps.push("VACUUM beside the backfills".to_owned());
    }
    steps
}

/// The titles of what a rollback runs outside a transaction.
pub fn backward(program: &Program, plan: &Preview) -> Vec<String> {
    let undone = plan.undos.iter().filter(|undo| undo.nothing.is_none());
    let units = undone.filter_map(|undo| program.find(&undo.unit));
    units.filter(|(_, _, unit)| is_apart(&unit.down)).map(|(_, _, unit)| unit.title.clone()).collect()
}

fn is_apart(down: &Down) -> bool {
    matches!(down, Down::Op(Op::Autocommit { .. }))
}

/// How `steps` can run, seen from this session; refused where nothing would bound their waits. Touches nothing.
pub async fn way(work: &Connection, steps: &[String]) -> Result<Way, DriveError> {
    if !work.pooled || steps.is_empty() {
        return Ok(Way::Own);
    }
    if work.direct.is_some() {
        return Ok(Way::Direct { at: direct(work).await?.at });
    }
    let (lock_timeout_ms, statement_timeout_ms) = work.with(defaults).await?;
    if lock_timeout_ms > 0 && work.role().is_none() {
        return Ok(Way::RoleBound { lock_timeout_ms, statement_timeout_ms });
    }
    let (role, database) = work.with(names).await?;
    let why = match work.role() {
        Some(_) => "through it they would run as the login and not as the role of --role",
        None => "through it nothing would bound their waits for locks",
    };
    let other = match work.role() {
        Some(_) => "or log in as that role".to_owned(),
        None => format!(
            "or let the server bound the waits: ALTER ROLE {role} IN DATABASE {database} SET lock_timeout = '5s' (new server connections have it)"
        ),
    };
    Err(DriveError::Refused {
        what: format!(
            "a connection pooler stands between, and {} outside a transaction: {}; {why}; nothing was touched",
            if steps.len() == 1 { "1 step runs".to_owned() } else { format!("{} steps run", steps.len()) },
            steps.join(", ")
        ),
        advice: format!("name the server itself: --direct-url postgresql://…, or TENANTMIG_DIRECT_URL; {other}"),
        exit: 4,
    })
}

/// A session past the pooler, on the same database of the same server.
pub async fn direct(work: &Connection) -> Result<Connection, DriveError> {
    let refused = |what: String| {
        let advice =
            "name the host and port of the server behind the pooler, and the same database, in --direct-url".to_owned();
        DriveError::Refused { what: format!("{what}; nothing was touched"), advice, exit: 4 }
    };
    let Some(settings) = &work.direct else {
        return Err(refused("no direct URL is given".to_owned()));
    };
    let session = connect(settings, &SessionSpec::new("tenantmig direct", OPENING_LOCK_WAIT)).await?;
    if session.pooled {
        return Err(refused(format!("the direct URL leads to a pooler as well ({})", session.at)));
    }
    let (here, there) = (work.with(identity).await?, session.with(identity).await?);
    if here != there {
        return Err(refused(format!(
            "the direct URL leads to another database: {} has {there}, behind the pooler is {here}",
            session.at
        )));
    }
    Ok(session)
}

/// Runs a statement outside a transaction within `bounds`. Through a pooler only its own role's settings bound a wait, and the
/// whole of it is bounded from here.
pub async fn run(work: &Connection, stop: &Stop, bounds: Bounds, statement: &str) -> Result<(), DriveError> {
    match (work.pooled, &work.direct) {
        (false, _) => {
            let _answer = work.bound_for_now(bounds.statement);
            work.set_bounds(bounds).await?;
            cancellable(work, stop, bare(work, statement)).await
        }
        (true, Some(_)) => {
            let session = direct(work).await?;
            session.set_bounds(bounds).await?;
            // Whoever looks who is in the way of this session finds the process that works for it.
            work.lend(session.backend_pid);
            let done = cancellable(&session, stop, bare(&session, statement)).await;
            work.lend(0);
            done
        }
        (true, None) => {
            let _answer = work.bound_for_now(bounds.statement);
            let limited = async {
                let run = bare(work, statement);
                tokio::pin!(run);
                tokio::select! {
                    done = &mut run => return done,
                    () = tokio::time::sleep(bounds.statement) => {}
                }
                if let Err(error) = work.cancel().await {
                    tracing::warn!("the statement could not be cancelled: {error}");
                }
                run.await
            };
            cancellable(work, stop, limited).await
        }
    }
}

async fn bare(session: &Connection, statement: &str) -> Result<(), DriveError> {
    Ok(session.client.batch_execute(statement).await?)
}

/// What role and database give a session, in milliseconds, whatever an application left behind in it.
async fn defaults(client: &Client) -> Result<(u64, u64), Fault> {
    let query = "SELECT max(reset_val) FILTER (WHERE name = 'lock_timeout'), max(reset_val) FILTER (WHERE name = 'statement_timeout')
       FROM pg_settings";
    let row = client.query_typed_one(query, &[]).await?;
    let value =
        |at: usize| Ok::<_, Fault>(row.try_get::<_, Option<String>>(at)?.and_then(|v| v.parse().ok()).unwrap_or(0));
    Ok((value(0)?, value(1)?))
}

async fn names(client: &Client) -> Result<(String, String), Fault> {
    let query = "SELECT quote_ident(session_user), quote_ident(current_database())";
    let row = client.query_typed_one(query, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// A database of a server: a copy elsewhere, or another one here, differs.
async fn identity(client: &Client) -> Result<String, Fault> {
    let query = "SELECT format('database %s of system %s', (SELECT oid FROM pg_database WHERE datname = current_database()), system_identifier)
       FROM pg_control_system()";
    Ok(client.query_typed_one(query, &[]).await?.try_get(0)?)
}

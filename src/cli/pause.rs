//! `pause`: asks whoever works on the run to stand still, from any host; where nobody does, records it.

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    args,
    asked::{ANSWER_MAX, Fate, grants, wait, who},
    failure::CliError,
    session::{Context, host},
};
use crate::{
    driver::{self, DriveError, reopen},
    engine::{Effect, Outcome, operators_pause},
    exit::Exit,
    ledger::{self, Answer, Kept, LedgerError, Pause, Purpose, Wish},
    pg::connect::Connection,
    sql::Ident,
};

/// Pauses the newest run, or the one named.
pub async fn run(context: &Context, args: &args::Pause) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    match act(context, args, &session, &schema).await {
        Err(error) if error.exit == Exit::Privilege => {
            Err(CliError { advice: Some(grants(&session, &schema).await?), ..error })
        }
        done => done,
    }
}

async fn act(context: &Context, args: &args::Pause, session: &Connection, schema: &Ident) -> Result<Exit, CliError> {
    let look = async |client: &Client| {
        ledger::require(client, schema).await?;
        driver::current(client, schema, args.run).await
    };
    let kept = session.with(look).await?;
    if let Some(exit) = at_rest(context, &kept)? {
        return Ok(exit);
    }
    let wish = Wish::Pause(Pause { why: args.reason.clone() });
    let ask = async |client: &Client| ledger::ask(client, schema, kept.record.id, &host(), &wish).await;
    let asked = Asked { id: session.with(ask).await?, run: kept.record.id };
    match wait(session, schema, asked.id).await? {
        Fate::Unheld => match asked.record(context, session, schema).await? {
            // Somebody was quicker with the lease, and will answer.
            None => asked.tell(context, wait(session, schema, asked.id).await?),
            Some(fate) => asked.tell(context, fate),
        },
        fate @ (Fate::Taken { .. } | Fate::Refused { .. } | Fate::Late { .. }) => asked.tell(context, fate),
    }
}

/// A run on which nothing is under way is not paused: there is nothing to stop, and `resume` would have two meanings.
fn at_rest(context: &Context, kept: &Kept) -> Result<Option<Exit>, CliError> {
    let refused = |what: &str, next: &str| {
        Err(CliError::new(
            Exit::Refused,
            format!("the run of `{}` {what}; nothing was changed", kept.record.plan),
            next,
        ))
    };
    match kept.run.next(&kept.record.program) {
        Effect::Do(_) | Effect::Undo(_) | Effect::Gate(..) | Effect::Check(..) | Effect::Ask(..) => Ok(None),
        Effect::Halt(Outcome::Completed) => refused("is applied: nothing is under way", "tenantmig status"),
        Effect::Halt(Outcome::RolledBack { .. }) => refused("is rolled back: nothing is under way", "tenantmig status"),
        Effect::Halt(Outcome::Stuck { .. }) => refused("is stuck and stands still already", "tenantmig status"),
        Effect::Halt(Outcome::Paused) => {
            let by = operators_pause(kept.events.iter().map(|recorded| &recorded.event))
                .map_or(String::new(), |(why, asked)| format!(" by {} on {}: {why}", asked.by, asked.host));
            let text = format!("paused already{by}; nothing was changed");
            context.console.result(&text, json!({ "outcome": "unchanged", "exit": 0, "message": text }))?;
            Ok(Some(Exit::Done))
        }
    }
}

/// A request that is written.
struct Asked {
    id: i64,
    run: Uuid,
}

impl Asked {
    /// Nobody holds the lease: takes it for a moment and makes the event, as a holder would. `None` where another was quicker.
    async fn record(&self, context: &Context, session: &Connection, schema: &Ident) -> Result<Option<Fate>, CliError> {
        let access = context.access_quietly()?;
        let (mut shell, lease) = match reopen(&access, Some(self.run), Purpose::Pause).await {
            Ok(open) => open,
            Err(DriveError::Ledger(LedgerError::Held(_))) => return Ok(None),
            Err(error) => {
                let error = CliError::from(error);
                // Who may ask and no more has asked.
                return if error.exit == Exit::Privilege { Ok(Some(Fate::Unheld)) } else { Err(error) };
            }
        };
        let taken = shell.take_requests().await;
        lease.give_back().await;
        taken?;
        Ok(Some(match session.with(async |client: &Client| ledger::answer(client, schema, self.id).await).await? {
            Some(Answer::Event(event)) => Fate::Taken { event, holder: None },
            Some(Answer::Refused(why)) => Fate::Refused { why },
            None => Fate::Unheld,
        }))
    }

    fn tell(&self, context: &Context, fate: Fate) -> Result<Exit, CliError> {
        let Self { id, run } = self;
        let (outcome, message, event, holder) = match fate {
            Fate::Taken { event, holder: Some(holder) } => {
                let by = who(&holder);
                let message =
                    format!("paused: taken by {by}, as event {event}; it ends what it is at and leaves the lease");
                ("paused", message, Some(event), Some(holder))
            }
            Fate::Taken { event, holder: None } => {
                ("paused", format!("paused, as event {event}: nobody works on the run now"), Some(event), None)
            }
            Fate::Unheld => {
                let message = "nobody works on the run now, and this role may not record the pause: the next apply takes it first and stops there; resume and rollback pass it over";
                ("kept", message.to_owned(), None, None)
            }
            Fate::Refused { why } => {
                let message = format!("request {id}: refused: {why}");
                return Err(CliError::new(Exit::Refused, message, "tenantmig status"));
            }
            Fate::Late { holder } => {
                let (by, seconds) = (who(&holder), ANSWER_MAX.as_secs());
                let message = format!(
                    "request {id}: {by} is in the middle of one statement and has not taken it within {seconds} s; it stays asked, and the run pauses when that statement is done (an index build may take long)"
                );
                return Err(CliError::new(
                    Exit::Temporary,
                    message,
                    "tenantmig status shows what it works on; SIGTERM to its process cancels the statement",
                ));
            }
        };
        let holder = holder.map(|h| json!({ "purpose": h.purpose, "host": h.host, "pid": h.pid, "role": h.role }));
        context.console.result(
            &message,
            json!({ "outcome": outcome, "exit": 0, "message": message, "run": run, "request": id, "event": event, "holder": holder }),
        )?;
        context.console.note(" next: tenantmig resume; or undo: tenantmig rollback --to PHASE");
        Ok(Exit::Done)
    }
}

//! Writes the request and waits a moment for its answer. Nothing of the run is changed here: the holder of the lease does that.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::{Client, types::Type};
use uuid::Uuid;

use super::settings;
use crate::{
    cli::{
        args,
        args::Format,
        failure::CliError,
        pace,
        session::{Context, host},
    },
    driver,
    engine::{Effect, Outcome, in_force},
    exit::Exit,
    ledger::{self, Answer, Holder, Kept, Recorded, RunRecord, Wish},
    pg::connect::Connection,
    plan::Tuning,
    sql::Ident,
};

/// How long an answer is waited for. A backfill looks for requests twice a second and between two batches; a statement that
/// runs longer than this may run for hours.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often it is looked for an answer.
const ANSWER_EVERY: Duration = Duration::from_millis(200);

/// Asks for another pace; without a wish, shows the one in force.
pub async fn run(context: &Context, args: &args::Throttle) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    match act(context, args, &session, &schema).await {
        Err(error) if error.exit == Exit::Privilege => {
            let grants = session.with(async |client: &Client| grants(client, &schema).await).await?;
            Err(CliError { advice: Some(grants), ..error })
        }
        done => done,
    }
}

/// What lets a role look at the ledger and ask, and no more: who asks, and when, stays the server's word.
async fn grants(client: &Client, schema: &Ident) -> Result<String, CliError> {
    let query =
        "SELECT format('GRANT USAGE ON SCHEMA %1$I TO %2$I; GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO %2$I; '
        'GRANT INSERT (run_id, host, kind, body) ON %1$I.requests TO %2$I', $1, current_user)";
    Ok(client.query_typed_one(query, &[(&schema.as_str(), Type::TEXT)]).await?.try_get(0)?)
}

async fn act(context: &Context, args: &args::Throttle, session: &Connection, schema: &Ident) -> Result<Exit, CliError> {
    let (kept, open) = session
        .with(async |client: &Client| {
            ledger::require(client, schema).await?;
            let kept = driver::current(client, schema, args.run).await?;
            let open = ledger::open_requests(client, schema, kept.record.id).await?;
            Ok::<_, CliError>((kept, open))
        })
        .await?;
    let Kept { record, events, run } = kept;
    let tuning = args.tuning();
    if tuning.is_empty() {
        return show(context, &record, &events, &open);
    }
    if run.next(&record.program) == Effect::Halt(Outcome::Completed) {
        let message = format!("the plan `{}` is applied: no backfill is left whose pace could change", record.plan);
        return Err(CliError::new(Exit::Refused, message, "tenantmig status"));
    }
    let wish = Wish::Retune(tuning.clone());
    let ask = async |client: &Client| ledger::ask(client, schema, record.id, &host(), &wish).await;
    let asked = Asked { id: session.with(ask).await?, run: record.id, tuning };
    let fate = asked.wait(session, schema).await?;
    asked.tell(context, fate)
}

/// A request that is written.
struct Asked {
    id: i64,
    run: Uuid,
    tuning: Tuning,
}

/// What became of it while it was waited for.
enum Fate {
    /// The event of this number, by whoever held the lease then.
    Taken {
        event: i64,
        holder: Option<Holder>,
    },
    Refused {
        why: String,
    },
    /// Nobody works on the run.
    Unheld,
    /// Somebody does, and has not answered.
    Late {
        holder: Holder,
    },
}

impl Asked {
    async fn wait(&self, session: &Connection, schema: &Ident) -> Result<Fate, CliError> {
        let end = Instant::now() + ANSWER_MAX;
        let mut last = None;
        loop {
            // The holder first: one that answers and leaves between the two questions has answered.
            let (holder, answer) = session
                .with(async |client: &Client| {
                    let holder = ledger::holder(client, schema).await?.filter(|holder| holder.alive);
                    Ok::<_, CliError>((holder, ledger::answer(client, schema, self.id).await?))
                })
                .await?;
            match (answer, holder) {
                (Some(Answer::Event(event)), holder) => return Ok(Fate::Taken { event, holder: holder.or(last) }),
                (Some(Answer::Refused(why)), _) => return Ok(Fate::Refused { why }),
                (None, None) => return Ok(Fate::Unheld),
                (None, Some(holder)) if Instant::now() >= end => return Ok(Fate::Late { holder }),
                (None, holder) => last = holder,
            }
            tokio::time::sleep(ANSWER_EVERY).await;
        }
    }

    fn tell(&self, context: &Context, fate: Fate) -> Result<Exit, CliError> {
        let Self { id, run, tuning } = self;
        let asked = format!("request {id}: {tuning}");
        let value = json!({ "exit": 0, "run": run, "request": id, "tuning": tuning });
        let (outcome, message, more) = match fate {
            Fate::Taken { event, holder } => {
                let by = holder.as_ref().map_or("its holder".to_owned(), who);
                let holder =
                    holder.map(|h| json!({ "purpose": h.purpose, "host": h.host, "pid": h.pid, "role": h.role }));
                let message = format!("taken by {by}, as event {event}; takes effect with the next batch");
                ("taken", message, json!({ "event": event, "holder": holder }))
            }
            Fate::Unheld => {
                let message = "nobody works on the run now; it counts from the next apply or resume".to_owned();
                ("kept", message, json!({ "event": null, "holder": null }))
            }
            Fate::Refused { why } => {
                return Err(CliError::new(
                    Exit::Refused,
                    format!("{asked}: refused: {why}"),
                    "tenantmig throttle --help",
                ));
            }
            Fate::Late { holder } => {
                let (by, seconds) = (who(&holder), ANSWER_MAX.as_secs());
                let message = format!(
                    "{asked}: {by} works on something and has not taken it within {seconds} s; it stays asked, and counts when that statement is done"
                );
                let next = "tenantmig status shows what it works on, tenantmig throttle whether it has taken it";
                return Err(CliError::new(Exit::Temporary, message, next));
            }
        };
        let mut all = json!({ "outcome": outcome, "message": message });
        for part in [value, more] {
            if let (Some(all), serde_json::Value::Object(part)) = (all.as_object_mut(), part) {
                all.extend(part);
            }
        }
        context.console.result(&format!("{asked}\n{message}"), all)?;
        Ok(Exit::Done)
    }
}

/// `apply by dba on host1, pid 4711`.
fn who(holder: &Holder) -> String {
    format!("{} by {} on {}, pid {}", holder.purpose, holder.role, holder.host, holder.pid)
}

/// The plan's word, what is in force, whose it is, and what nobody has taken yet.
fn show(
    context: &Context,
    record: &RunRecord,
    events: &[Recorded],
    open: &[ledger::Request],
) -> Result<Exit, CliError> {
    let words = in_force(events.iter().map(|recorded| &recorded.event));
    let plan = &record.program.pacing;
    if context.console.format != Format::Text {
        let open: Vec<_> = open
            .iter()
            .map(|r| {
                let (tuning, unreadable) = match &r.wish {
                    Ok(Wish::Retune(tuning)) => (Some(tuning), None),
                    Err(why) => (None, Some(why)),
                };
                json!({ "request": r.id, "by": r.actor, "from": r.host, "asked_at": r.asked_at, "tuning": tuning, "unreadable": unreadable })
            })
            .collect();
        let value = json!({ "v": 1, "run": record.id, "plan": record.plan, "settings": settings::json(plan, &words), "open": open });
        context.console.print(&value.to_string())?;
        return Ok(Exit::Done);
    }
    let mut text = format!("plan {}, run {}\n\n{}", record.plan, record.id, settings::text(plan, &words));
    for request in open {
        let what = match &request.wish {
            Ok(Wish::Retune(tuning)) => tuning.to_string(),
            Err(why) => format!("cannot be read: {why}"),
        };
        let by = pace::asked(&request.actor, &request.host, &request.asked_at);
        text.push_str(&format!("\nnot taken yet: request {} by {by}: {}", request.id, crate::report::one_line(&what)));
    }
    context.console.show(&text)?;
    Ok(Exit::Done)
}

//! Writes the request and waits a moment for its answer. Nothing of the run is changed here: the holder of the lease does that.

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{options::Throttle, settings};
use crate::{
    cli::{
        args::Format,
        asked::{self, ANSWER_MAX, Fate, grants, who},
        failure::CliError,
        pace,
        session::{Context, host},
    },
    driver,
    engine::{Effect, Outcome, in_force},
    exit::Exit,
    ledger::{self, Kept, Recorded, RunRecord, Wish},
    pg::connect::Connection,
    plan::Tuning,
    sql::Ident,
};

/// Asks for another pace; without a wish, shows the one in force.
pub async fn run(context: &Context, args: &Throttle) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    match act(context, args, &session, &schema).await {
        Err(error) if error.exit == Exit::Privilege => {
            Err(CliError { advice: Some(grants(&session, &schema).await?), ..error })
        }
        done => done,
    }
}

async fn act(context: &Context, args: &Throttle, session: &Connection, schema: &Ident) -> Result<Exit, CliError> {
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
    let id = session.with(ask).await?;
    let fate = asked::wait(session, schema, id).await?;
    Retune { id, run: record.id, tuning }.tell(context, fate)
}

/// A wish that is written.
struct Retune {
    id: i64,
    run: Uuid,
    tuning: Tuning,
}

impl Retune {
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
        let open: Vec<_> = open.iter().map(asked::json).collect();
        let value = json!({ "v": 1, "run": record.id, "plan": record.plan, "settings": settings::json(plan, &words), "open": open });
        context.console.print(&value.to_string())?;
        return Ok(Exit::Done);
    }
    let mut text = format!("plan {}, run {}\n\n{}", record.plan, record.id, settings::text(plan, &words));
    for request in open {
        let what = match &request.wish {
            Ok(wish) => wish.to_string(),
            Err(why) => format!("cannot be read: {why}"),
        };
        let by = pace::asked(&request.actor, &request.host, &request.asked_at);
        text.push_str(&format!("\nnot taken yet: request {} by {by}: {}", request.id, crate::report::one_line(&what)));
    }
    context.console.show(&text)?;
    Ok(Exit::Done)
}

//! `status`: where the run stands, who works on it, what is wrong, and the next command to type.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    approved::{self, Given},
    args,
    args::Format,
    asked,
    at_work::{self, Doing},
    awaits,
    consent::{GUARD_NEXT, exposed},
    damage,
    failure::CliError,
    kept::{self, Kept as Aside, minute},
    pace,
    session::Context,
    story::DRIFT_NEXT,
    trouble::trouble,
};
use crate::{
    driver::{self, DriveError},
    engine::{Effect, Event, InForce, Outcome, Run, in_force, operators_pause, taken_back},
    exit::Exit,
    ledger::{self, Holder, Kept, LedgerError, Pace, Progress, Recorded, Request, RunRecord, Term},
    report::{Tone, one_line, quantity},
    sql::Ident,
};

/// After so many heartbeats that did not come status says that the holder is silent: one may be late under load.
const HEARTBEATS_LATE: u32 = 2;

/// Everything that status tells.
struct Standing {
    record: RunRecord,
    run: Run,
    events: Vec<Recorded>,
    progress: Vec<Progress>,
    holder: Option<Holder>,
    open: Vec<Request>,
    now: DateTime<Utc>,
    doing: Vec<Doing>,
    aside: Aside,
    approved: Vec<Given>,
}

/// Prints where the newest run, or the one named, stands. Reads only.
pub async fn run(context: &Context, args: &args::Status) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    let standing = session.with(async |client: &Client| standing(client, &schema, args.run).await).await?;
    let json = args.json || context.console.format != Format::Text;
    let Some(standing) = standing else {
        let text = if json {
            json!({ "v": 1, "run": null }).to_string()
        } else {
            "no plan was applied to this database\n\nnext    tenantmig apply PLAN".to_owned()
        };
        context.console.print(&text)?;
        return Ok(Exit::Done);
    };
    let standing = match standing {
        Ok(standing) => standing,
        Err(damage) => return damage::show(context, &session, &schema, *damage, json).await,
    };
    match json {
        true => context.console.print(&standing.json().to_string())?,
        false => context.console.show(&standing.text(context))?,
    }
    Ok(if args.detailed_exitcode { standing.exit() } else { Exit::Done })
}

/// What the ledger says, or that it is damaged; `None` where there is no run.
async fn standing(
    client: &Client,
    schema: &Ident,
    run: Option<Uuid>,
) -> Result<Option<Result<Standing, Box<LedgerError>>>, CliError> {
    if !ledger::exists(client, schema).await? || (run.is_none() && ledger::runs(client, schema).await?.is_empty()) {
        return Ok(None);
    }
    ledger::require(client, schema).await?;
    let kept = match driver::current(client, schema, run).await {
        Ok(kept) => kept,
        Err(DriveError::Ledger(error)) => return Ok(Some(Err(Box::new(error)))),
        Err(error) => return Err(error.into()),
    };
    let approved = approved::look(client, schema, &kept).await?;
    let Kept { record, events, run } = kept;
    let progress = ledger::progress(client, schema, record.id).await?;
    let holder = ledger::holder(client, schema).await?;
    let now = client.query_typed_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
    let open = ledger::open_requests(client, schema, record.id).await?;
    let doing = at_work::look(client, holder.as_ref()).await?;
    let aside = kept::look(client, schema).await?;
    Ok(Some(Ok(Standing { record, run, events, progress, holder, open, now, doing, aside, approved })))
}

impl Standing {
    fn effect(&self) -> Effect {
        self.run.next(&self.record.program)
    }

    fn alive(&self) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.alive)
    }

    /// One word for where the run stands, and the next command to type.
    fn state(&self) -> (&'static str, &'static str) {
        let rested = !self.alive();
        match self.effect() {
            Effect::Halt(Outcome::Completed) => ("completed", "tenantmig verify"),
            Effect::Halt(Outcome::RolledBack { .. }) if self.run.undo_is_in_doubt() => (
                "rolled back, with findings",
                "mend what after_undo found, then: tenantmig rollback --to the same phase",
            ),
            Effect::Halt(Outcome::RolledBack { .. }) if self.taken_back() => ("rolled back", "tenantmig apply PLAN"),
            Effect::Halt(Outcome::RolledBack { .. }) => ("rolled back", "tenantmig resume, or tenantmig apply PLAN"),
            Effect::Halt(Outcome::Stuck { .. }) => ("STUCK", "mend the cause, then: tenantmig resume"),
            Effect::Halt(Outcome::Paused) if self.drift().is_some() => ("paused", DRIFT_NEXT),
            Effect::Halt(Outcome::Paused) if self.guard_speaks() => ("paused", GUARD_NEXT),
            Effect::Halt(Outcome::Paused) => ("paused", "tenantmig resume, or tenantmig rollback --to PHASE"),
            Effect::Do(_) | Effect::Gate(..) if rested && self.events.is_empty() => ("not begun", "tenantmig resume"),
            Effect::Do(_) | Effect::Gate(..) if rested => {
                ("stopped half-way", "tenantmig resume, or tenantmig rollback --to PHASE")
            }
            Effect::Undo(_) | Effect::Check(..) | Effect::Ask(..) if rested => {
                ("stopped while rolling back", "tenantmig resume")
            }
            Effect::Do(_) | Effect::Gate(..) if self.hold().is_some() => {
                ("running", "backfills are held; to let them go on: tenantmig throttle --release")
            }
            Effect::Do(_) | Effect::Gate(..) => {
                ("running", "wait; it works. To stop it, from any host: tenantmig pause")
            }
            Effect::Undo(_) | Effect::Check(..) | Effect::Ask(..) => {
                ("rolling back", "wait; it works. To stop it, from any host: tenantmig pause")
            }
        }
    }

    /// What it means that the holder's heartbeat is late.
    fn silence(&self) -> Option<String> {
        let term = Term(self.record.program.safety.lease.duration());
        let age = Duration::from_millis(u64::try_from(self.holder.as_ref()?.heartbeat_age_ms).unwrap_or(0));
        (self.alive() && age > term.heartbeat() * HEARTBEATS_LATE).then(|| {
            format!(
                "no heartbeat for {}, and one is due every {}: it may be frozen, or have lost its connection and be on its way back; \
                 its lease ends after {}",
                quantity::duration(age),
                quantity::duration(term.heartbeat()),
                quantity::duration(term.0)
            )
        })
    }

    /// What the run waits for that others do.
    fn waits(&self) -> Option<String> {
        awaits::waits(&self.record.program, &self.run, self.alive())
    }

    /// The next command to type.
    fn next(&self) -> String {
        let approve = awaits::next(&self.record.program, &self.run, self.alive());
        approve.unwrap_or_else(|| self.state().1.to_owned())
    }

    /// Whether somebody asked for the rollback; otherwise it answered a failure.
    fn taken_back(&self) -> bool {
        taken_back(self.events.iter().map(|recorded| &recorded.event))
    }

    /// What others changed, where that is why it is paused.
    fn drift(&self) -> Option<String> {
        match self.events.last().map(|recorded| &recorded.event) {
            Some(Event::Drifted { phase, since, found }) => Some(format!(
                "others changed what the plan touches since `{since}` was over, found before `{phase}`:\n{found}"
            )),
            Some(_) | None => None,
        }
    }

    /// Whether a guard that was put off is why it is paused.
    fn guard_speaks(&self) -> bool {
        matches!(self.events.last().map(|recorded| &recorded.event), Some(Event::GuardAsked { found: Some(_), .. }))
    }

    /// Why it is paused, and by whom.
    fn pause(&self) -> Option<String> {
        if self.effect() != Effect::Halt(Outcome::Paused) {
            return None;
        }
        let events = || self.events.iter().map(|recorded| &recorded.event);
        match (operators_pause(events()), events().next_back()) {
            (Some((why, by)), _) => Some(format!("{why} (asked by {})", pace::asked(&by.by, &by.host, &by.at))),
            (None, Some(Event::Paused { why, .. })) => Some(why.clone()),
            (None, Some(Event::Drifted { .. })) => self.drift(),
            (None, Some(Event::GuardAsked { found: Some(found), .. })) => Some(format!(
                "a guard speaks on the way back; {}: {}",
                exposed(&self.record.program, &self.run),
                one_line(&found.to_string())
            )),
            (None, Some(_) | None) => None,
        }
    }

    /// An operator's reason for which backfills stand still.
    fn hold(&self) -> Option<&str> {
        self.run.tuning().hold.as_ref()?.as_deref()
    }

    /// Operators' words about the pace that still count.
    fn words(&self) -> Vec<InForce> {
        in_force(self.events.iter().map(|recorded| &recorded.event))
    }

    fn exit(&self) -> Exit {
        match self.effect() {
            Effect::Halt(Outcome::Completed) => Exit::Done,
            Effect::Halt(Outcome::Stuck { .. }) => Exit::Stuck,
            Effect::Halt(Outcome::RolledBack { .. } | Outcome::Paused)
            | Effect::Do(_)
            | Effect::Gate(..)
            | Effect::Undo(_)
            | Effect::Check(..)
            | Effect::Ask(..) => Exit::WorkRemains,
        }
    }

    fn text(&self, context: &Context) -> String {
        let look = context.console.out;
        let (state, next) = (self.state().0, self.next());
        let Self { record, run, .. } = self;
        let mut out =
            format!("plan    {} (fingerprint {})\n", record.plan, record.fingerprint.get(..12).unwrap_or_default());
        out.push_str(&format!(
            "run     {}, begun {} by {} on {}\n",
            record.id,
            minute(record.created_at),
            record.created_by,
            record.host
        ));
        let units = self.progress.len();
        out.push_str(&format!(
            "state   {} ({} of {units} units done)\n",
            look.paint(Tone::Strong, state),
            run.units_done()
        ));
        if let Some(why) = self.pause() {
            out.push_str(&format!("because {why}\n"));
        }
        match &self.holder {
            Some(holder) if holder.alive => out.push_str(&format!("lease   {holder}{}\n", on(holder))),
            Some(holder) => {
                out.push_str(&format!("lease   free; its last holder is gone: {holder}{}\n", on(holder)));
            }
            None => out.push_str("lease   free\n"),
        }
        if let Some(silence) = self.silence() {
            out.push_str(&format!("silent  {silence}\n"));
        }
        if let Some(waits) = self.waits() {
            out.push_str(&format!("waits   {waits}\n"));
        }
        for given in &self.approved {
            out.push_str(&format!("granted {}\n", given.line()));
        }
        for line in self.doing.iter().flat_map(Doing::lines) {
            out.push_str(&format!("now     {line}\n"));
        }
        for line in self.aside.lines() {
            out.push_str(&format!("kept    {line}\n"));
        }
        for request in &self.open {
            let what = request.wish.as_ref().map_or_else(|why| format!("cannot be read: {why}"), ToString::to_string);
            let by = pace::asked(&request.actor, &request.host, &request.asked_at);
            out.push_str(&format!("asked   request {} by {by}, not taken yet: {}\n", request.id, one_line(&what)));
        }
        let done = self.effect() == Effect::Halt(Outcome::Completed);
        for word in pace::words(&self.words()).iter().filter(|_| !done) {
            out.push_str(&format!("pace    {word}\n"));
        }
        for phase in &record.program.phases {
            out.push_str(&format!("\nphase {}\n", phase.id));
            for row in self.progress.iter().filter(|row| row.phase == phase.id) {
                out.push_str(&self.line(row, look));
            }
        }
        if let Some(trouble) = trouble(&record.program, &self.events) {
            out.push_str(&format!("\n{} {trouble}\n", look.paint(Tone::Bad, "last failure:")));
        }
        out.push_str(&format!("\nnext    {next}\n"));
        out
    }

    fn line(&self, row: &Progress, look: crate::report::Look) -> String {
        let mut notes = Vec::new();
        if row.rows_done > 0 || row.rows_estimated.is_some_and(|n| n > 0) {
            let done = u64::try_from(row.rows_done).unwrap_or(0);
            let of = row
                .rows_estimated
                .and_then(|n| u64::try_from(n).ok())
                .filter(|n| *n >= done.max(1) && row.status == "running");
            notes.push(match of {
                Some(of) => format!("{} of about {}", quantity::rows(done), quantity::count(of)),
                None => quantity::rows(done),
            });
        }
        let pace = self.pace(row);
        // How long a wait lasts nobody knows, and what a stopped driver did says nothing about the next.
        if let Some(rate) = pace.as_ref().and_then(|pace| pace.rows_per_second) {
            notes.push(quantity::rows_per_second(rate));
            if let Some(left) = row.rows_estimated.map(|n| n - row.rows_done).filter(|n| *n > 0 && rate > 0.0) {
                let seconds = f64::from(u32::try_from(left).unwrap_or(u32::MAX)) / rate;
                notes.push(format!("about {} left", quantity::duration(std::time::Duration::from_secs_f64(seconds))));
            }
        }
        if row.attempts > 1 {
            notes.push(format!("{} attempts", row.attempts));
        }
        let tone = match row.status.as_str() {
            "done" => Tone::Good,
            "failed" | "stuck" => Tone::Bad,
            "running" | "undoing" => Tone::Caution,
            _ => Tone::Faint,
        };
        let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) };
        let head = format!("  {} {}{notes}\n", look.paint(tone, &format!("{:<8}", row.status)), row.title);
        let pace = pace.map_or(String::new(), |pace| format!("           {}\n", pace::line(&pace, self.now)));
        format!("{head}{pace}")
    }

    /// How fast a backfill goes, or what it waits for. What a driver wrote that is gone says nothing about now.
    fn pace(&self, row: &Progress) -> Option<Pace> {
        let kept = row.pace.as_ref().filter(|_| row.status == "running" && self.alive())?;
        // One that another version wrote is left out; JSON has it as it is.
        serde_json::from_value(kept.clone()).ok()
    }

    fn json(&self) -> serde_json::Value {
        let (state, next) = (self.state().0, self.next());
        let holder = self.holder.as_ref().map(|h| {
            json!({
                "host": h.host, "pid": h.pid, "role": h.role, "purpose": h.purpose, "since": h.since, "epoch": h.epoch, "holder": h.id, "run": h.run,
                "heartbeat_age_ms": h.heartbeat_age_ms, "alive": h.alive,
            })
        });
        let open: Vec<_> = self.open.iter().map(asked::json).collect();
        let approvals: Vec<_> = self.approved.iter().map(Given::json).collect();
        let doing: Vec<_> = self.doing.iter().map(Doing::json).collect();
        json!({
            "v": 1,
            "run": self.record.id, "plan": self.record.plan, "fingerprint": self.record.fingerprint,
            "created_at": self.record.created_at, "created_by": self.record.created_by, "host": self.record.host,
            "state": state.to_lowercase(), "units_done": self.run.units_done(), "units": self.progress,
            "phases": self.record.program.phases.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
            "lease": holder, "paused": self.pause(), "requests": open, "retuned": self.words(), "hold": self.hold(), "silence": self.silence(), "waits": self.waits(), "approvals": approvals, "doing": doing, "kept": self.aside.json(), "events": self.events.len(), "last_failure": trouble(&self.record.program, &self.events), "next": next,
        })
    }
}

/// What the holder works on, once it has chosen.
fn on(holder: &Holder) -> String {
    holder.run.map_or(String::new(), |run| format!(", run {run}"))
}

//! `verify`: measures every gate again and compares the ledger with the database.

use serde_json::json;

use super::{args, args::Format, failure::CliError, session::Context};
use crate::{
    driver::{self, Verdict, Verified},
    exit::Exit,
    isolation::Report,
    report::Mark,
};

/// Prints what was verified: 3 when something is wrong, 77 when something cannot be told by this role.
pub async fn run(context: &Context, args: &args::Verify) -> Result<Exit, CliError> {
    let session = context.look().await?;
    let all = driver::verify(&session, &context.schema()?, args.run).await?;
    let failed = all.iter().filter(|v| matches!(v.verdict, Verdict::Failed(_))).count();
    let untold = all.iter().filter(|v| matches!(v.verdict, Verdict::Unmeasurable(_))).count();
    match context.console.format {
        Format::Text => context.console.show(&text(context, &all, failed, untold))?,
        Format::Json | Format::Ndjson => {
            let checks: Vec<_> = all.iter().map(json_of).collect();
            context
                .console
                .print(&json!({ "v": 1, "failed": failed, "unmeasurable": untold, "checks": checks }).to_string())?;
        }
    }
    Ok(match (failed, untold) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Privilege,
        (_, _) => Exit::Findings,
    })
}

fn text(context: &Context, all: &[Verified], failed: usize, untold: usize) -> String {
    let look = context.console.out;
    let mut out = String::new();
    for verified in all {
        let phase = verified.phase.as_ref().map_or(String::new(), |phase| format!("[{phase}] "));
        let (mark, details) = match &verified.verdict {
            Verdict::Passed => (Mark::Done, Vec::new()),
            Verdict::Failed(findings) => {
                let line = |f: &crate::engine::Finding| {
                    let example = f.example.as_ref().map_or(String::new(), |e| format!("; e.g. {e}"));
                    format!("{}: {}{example}", f.what, f.count)
                };
                (Mark::Failed, findings.iter().map(line).collect())
            }
            Verdict::Unmeasurable(why) => (Mark::Wait, vec![format!("cannot be told: {why}")]),
            Verdict::Untried(why) => (Mark::Blank, vec![format!("not tried: {why}")]),
        };
        let details = details.into_iter().chain(verified.isolation.iter().flat_map(Report::asides));
        let details = details.chain(verified.latency.iter().flat_map(|latency| latency.notes.clone()));
        out.push_str(&format!("{} {phase}{}\n", look.mark(mark), verified.what));
        for detail in details {
            out.push_str(&format!("    {detail}\n"));
        }
    }
    let untried = all.iter().filter(|v| matches!(v.verdict, Verdict::Untried(_))).count();
    let passed = all.len() - failed - untold - untried;
    let more = if untried > 0 { format!(", {untried} not tried") } else { String::new() };
    out.push_str(&format!("{passed} passed, {failed} failed, {untold} could not be told{more}\n"));
    // What the application is asked says itself what is missing.
    let hidden = |v: &&Verified| v.isolation.is_none() && matches!(v.verdict, Verdict::Unmeasurable(_));
    if all.iter().any(|v| hidden(&v)) {
        out.push_str("\nnext    tenantmig verify, as a role with BYPASSRLS that may read the ledger (-U or --role)\n");
    }
    out
}

fn json_of(verified: &Verified) -> serde_json::Value {
    let (verdict, findings, why) = match &verified.verdict {
        Verdict::Passed => ("passed", json!([]), None),
        Verdict::Failed(findings) => ("failed", json!(findings), None),
        Verdict::Unmeasurable(why) => ("unmeasurable", json!([]), Some(why)),
        Verdict::Untried(why) => ("untried", json!([]), Some(why)),
    };
    let (isolation, latency) = (&verified.isolation, &verified.latency);
    json!({ "phase": verified.phase, "what": verified.what, "verdict": verdict, "findings": findings, "why": why, "isolation": isolation, "latency": latency })
}

//! The claims that the page begins with: what holds, what does not, and what was not looked at.

use super::model::{Evidence, Section, Tone, Verdict};
use crate::report::quantity;

/// In the order in which an auditor asks.
pub(super) fn verdicts(evidence: &Evidence) -> Vec<Verdict> {
    vec![
        chain(evidence),
        place(evidence),
        coverage(evidence),
        gates(evidence),
        failures(evidence),
        catalogue(evidence),
        verified(evidence),
        isolation(evidence),
        audit(evidence),
    ]
}

fn verdict(claim: &str, tone: Tone, result: &str, because: impl Into<String>) -> Verdict {
    Verdict { claim: claim.to_owned(), tone, result: result.to_owned(), because: because.into() }
}

fn chain(evidence: &Evidence) -> Verdict {
    let claim = "The log was not edited or cut";
    let chain = &evidence.chain;
    let events = quantity::counted(chain.events as u64, "event", "events");
    match (chain.verifies, &chain.damage, chain.base) {
        (_, Some(damage), _) => verdict(claim, Tone::Bad, "contradicted", damage.clone()),
        (Some(true), None, Some(0)) => verdict(
            claim,
            Tone::Good,
            "verified",
            format!("a chain of SHA-256 over the run and its {events} leads to the head"),
        ),
        (Some(_), None, base) => verdict(
            claim,
            Tone::Caution,
            "in part",
            format!("the chain holds from event {} on; what came before was taken as it stood", base.unwrap_or(0) + 1),
        ),
        (None, None, _) => {
            verdict(claim, Tone::Caution, "not known", "an earlier version wrote the log, without a chain")
        }
    }
}

fn place(evidence: &Evidence) -> Verdict {
    let claim = "This is the server on which the run worked";
    match evidence.server.same_as_ledger {
        Some(true) => verdict(claim, Tone::Good, "holds", "the system identifier is that of the lease's last holder"),
        Some(false) => verdict(
            claim,
            Tone::Caution,
            "a copy",
            "the system identifier differs: this database is a copy, restored or upgraded",
        ),
        None => verdict(claim, Tone::Caution, "not known", "the system identifier may not be read, or was not kept"),
    }
}

fn coverage(evidence: &Evidence) -> Verdict {
    let claim = "Backfills left no gap and no overlap";
    let all = &evidence.backfills;
    let good = all.iter().filter(|backfill| backfill.tone == Tone::Good).count();
    let bad: Vec<&str> = all.iter().filter(|backfill| backfill.tone == Tone::Bad).map(|b| b.table.as_str()).collect();
    let told = format!(
        "computed from the ranges of {good} of {}",
        quantity::counted(all.len() as u64, "backfill", "backfills")
    );
    match (all.len(), bad.as_slice()) {
        (0, _) => verdict(claim, Tone::Plain, "none", "the plan has no backfill"),
        (_, [_, ..]) => verdict(claim, Tone::Bad, "contradicted", bad.join(", ")),
        (_, []) if good == all.len() => verdict(claim, Tone::Good, "computed", told),
        (_, []) if good == 0 => verdict(claim, Tone::Plain, "none stands", "no backfill of the run is complete"),
        (_, []) => verdict(claim, Tone::Caution, "in part", format!("{told}; the others are not complete")),
    }
}

fn gates(evidence: &Evidence) -> Verdict {
    let claim = "Every gate passed";
    let all: Vec<bool> = evidence.phases.iter().flat_map(|phase| &phase.gates).map(|gate| gate.passes).collect();
    let passed = all.iter().filter(|passed| **passed).count();
    let told = format!("{passed} of {} stand as passed", quantity::counted(all.len() as u64, "gate", "gates"));
    match (all.len(), passed) {
        (0, _) => verdict(claim, Tone::Plain, "none", "the plan has no gate"),
        (n, passed) if n == passed => verdict(claim, Tone::Good, "holds", told),
        (_, _) => verdict(
            claim,
            Tone::Caution,
            "not all",
            format!("{told}; the others were not measured yet, or were forgotten by a rollback"),
        ),
    }
}

fn failures(evidence: &Evidence) -> Verdict {
    let claim = "Nothing failed and nothing was undone on the way";
    let of = |kinds: &[&str]| evidence.events.iter().filter(|event| kinds.contains(&event.kind.as_str())).count();
    let (failed, undone) = (of(&["failed", "gate_failed"]), of(&["undone"]));
    let stuck = of(&["undo_failed"]);
    if failed + undone + stuck == 0 {
        return verdict(claim, Tone::Good, "holds", "no event of the log says so");
    }
    let said = [(failed, "failure", "failures"), (undone, "undo", "undos"), (stuck, "failed undo", "failed undos")];
    let said: Vec<String> =
        said.iter().filter(|(n, ..)| *n > 0).map(|(n, one, many)| quantity::counted(*n as u64, one, many)).collect();
    verdict(claim, Tone::Caution, "not so", format!("{}: each is an event of the log", said.join(", ")))
}

fn catalogue(evidence: &Evidence) -> Verdict {
    let claim = "Nobody else changed the touched objects since";
    match &evidence.catalogue.since.changes {
        Section::Given(changes) if changes.is_empty() => {
            verdict(claim, Tone::Good, "holds", "the catalogue is that of the newest print")
        }
        Section::Given(changes) => {
            let objects = quantity::counted(changes.len() as u64, "object differs", "objects differ");
            verdict(claim, Tone::Caution, "changed", format!("{objects} from {}", evidence.catalogue.since.from))
        }
        Section::Missing(why) => verdict(claim, Tone::Plain, "not compared", why.clone()),
    }
}

fn verified(evidence: &Evidence) -> Verdict {
    let claim = "The deeds and gates hold now";
    match &evidence.verified {
        Section::Given(all) => {
            let failed = all.iter().filter(|checked| checked.fails()).count();
            let untold = all.iter().filter(|checked| checked.tone == Tone::Caution).count();
            let told = format!(
                "{} of {} passed, {failed} failed, {untold} could not be told",
                all.len() - failed - untold,
                all.len()
            );
            match (failed, untold) {
                (0, 0) => verdict(claim, Tone::Good, "measured", told),
                (0, _) => verdict(claim, Tone::Caution, "in part", told),
                (_, _) => verdict(claim, Tone::Bad, "contradicted", told),
            }
        }
        Section::Missing(why) => verdict(claim, Tone::Plain, "not measured", why.clone()),
    }
}

fn isolation(evidence: &Evidence) -> Verdict {
    let claim = "No session sees or writes another tenant's rows";
    match &evidence.isolation {
        Section::Given(matrix) => {
            let cells = matrix.rows.iter().flat_map(|row| row.cells.iter().flatten()).map(|cell| cell.tone);
            let all: Vec<Tone> = cells.chain(matrix.probes.iter().map(|probe| probe.tone)).collect();
            let count = |tone: Tone| all.iter().filter(|found| **found == tone).count();
            let (bad, doubt) = (count(Tone::Bad), count(Tone::Caution));
            let said = [
                (count(Tone::Good), "as expected"),
                (bad, "not as expected"),
                (doubt, "weak or not to be told"),
                (count(Tone::Plain), "not to be tried here"),
            ];
            let said = said.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{n} {words}"));
            let told = format!("{} answers: {}", all.len(), said.collect::<Vec<_>>().join(", "));
            match (bad, doubt) {
                (0, 0) => verdict(claim, Tone::Good, "measured", told),
                (0, _) => verdict(claim, Tone::Caution, "in part", told),
                (_, _) => verdict(claim, Tone::Bad, "contradicted", told),
            }
        }
        Section::Missing(why) => verdict(claim, Tone::Plain, "not measured", why.clone()),
    }
}

fn audit(evidence: &Evidence) -> Verdict {
    let claim = "The audit finds nothing";
    match &evidence.audit {
        Section::Given(of) => {
            let open = of.findings.iter().filter(|finding| finding.waived.is_none()).count();
            let unmeasured: usize = of.unmeasured.iter().map(|of| of.codes.len()).sum();
            let classes = quantity::counted(unmeasured as u64, "class", "classes");
            let found = quantity::counted(open as u64, "finding", "findings");
            let told = format!("{found}, {} waived; {classes} not measured", of.findings.len() - open);
            let (tone, result) = match (open, unmeasured) {
                (0, 0) => (Tone::Good, "holds"),
                (0, _) => (Tone::Caution, "in part"),
                (_, _) => (Tone::Caution, "findings"),
            };
            verdict(claim, tone, result, told)
        }
        Section::Missing(why) => verdict(claim, Tone::Plain, "not measured", why.clone()),
    }
}

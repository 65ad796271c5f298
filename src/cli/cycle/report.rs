//! What a cycle found, for people and for programs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    compare::Comparison,
    legs::{Leg, Walk},
    role::Actor,
};
use crate::{
    exit::Exit,
    report::{Look, Mark, Tone, quantity},
};

/// The whole finding.
#[derive(Debug)]
pub struct Report<'a> {
    pub plan: &'a str,
    pub actor: &'a Actor,
    pub walk: &'a Walk,
    /// The units of the plan.
    pub units: usize,
}

const DATA_ADVICE: &str = "rows differ: what a backfill fills into a column that stood there before stays after down, by design; \
    so does what triggers wrote meanwhile, and what others changed. Where none of these is it, look at the tables above";
const CATALOG_ADVICE: &str =
    "the catalogue differs: mend the `down` of the step that made what is above, then: tenantmig cycle PLAN";

impl Report<'_> {
    /// What the command ends with.
    pub fn exit(&self) -> Exit {
        match &self.walk.failure {
            Some(failure) => failure.exit,
            None if self.differs() => Exit::Findings,
            None if self.walk.adopted.len() == self.units => Exit::Refused,
            None => Exit::Done,
        }
    }

    fn differs(&self) -> bool {
        self.walk.comparisons.iter().any(|comparison| !comparison.same())
    }

    fn headline(&self) -> String {
        let plan = self.plan;
        match (&self.walk.failure, self.exit()) {
            (Some(_), _) => format!("the plan `{plan}` does not go through the cycle"),
            (None, Exit::Findings) => {
                format!("the plan `{plan}` does not come back to where it began: see the differences above")
            }
            (None, Exit::Refused) => {
                format!("nothing was tried: everything of plan `{plan}` stands in this database already")
            }
            (None, _) => {
                format!("the plan `{plan}` goes up, down, up and down, and leaves nothing behind{}", self.unread())
            }
        }
    }

    /// What the verdict does not cover.
    fn unread(&self) -> String {
        let tables: BTreeSet<_> = self.walk.unread.iter().map(|(table, ..)| table).collect();
        let tables = u64::try_from(tables.len()).unwrap_or(u64::MAX);
        let counted = quantity::counted(tables, "table", "tables");
        if tables == 0 { String::new() } else { format!("; the rows of {counted} could not be compared at every end") }
    }

    /// What to do next.
    pub fn next(&self) -> Option<String> {
        if let Some(failure) = &self.walk.failure {
            let again = || Some("mend the cause, then: tenantmig cycle PLAN".to_owned());
            return if failure.exit == Exit::Stuck { failure.next.clone() } else { again() };
        }
        let any = |part: fn(&Comparison) -> bool| self.walk.comparisons.iter().any(part);
        match (any(|c| c.catalog.is_some()), any(|c| c.data.is_some())) {
            (true, _) => Some(CATALOG_ADVICE.to_owned()),
            (false, true) => Some(DATA_ADVICE.to_owned()),
            (false, false) if self.exit() == Exit::Refused => Some("run the cycle on a database without it".to_owned()),
            (false, false) => None,
        }
    }

    /// For people.
    pub fn text(&self, look: Look) -> String {
        let mut out = format!("cycle of plan `{}` as {}\n", self.plan, self.actor.describe());
        for leg in &self.walk.legs {
            out.push_str(&line(leg, look));
        }
        if let Some(failure) = &self.walk.failure {
            out.push_str(&format!("{}\n", failure.text()));
        }
        for comparison in &self.walk.comparisons {
            out.push_str(&verdict(comparison, look));
        }
        for (table, end, why) in &self.walk.unread {
            let mark = look.mark(Mark::Wait);
            out.push_str(&format!("{mark} rows of {}.{} not compared {end}: {why}\n", table.schema, table.table));
        }
        if !self.walk.fluid.is_empty() {
            let names: Vec<String> = self.fluid();
            let text = format!(
                "left out between the ups, for their defaults give another value each time: {}",
                names.join(", ")
            );
            out.push_str(&format!("{} {text}\n", look.mark(Mark::Wait)));
        }
        if !self.walk.adopted.is_empty() {
            let text = format!("stood there before and not tried: {}", self.walk.adopted.join("; "));
            out.push_str(&format!("{} {text}\n", look.mark(Mark::Wait)));
        }
        let tone = if self.exit() == Exit::Done { Tone::Good } else { Tone::Bad };
        out.push_str(&look.paint(tone, &self.headline()));
        out
    }

    fn fluid(&self) -> Vec<String> {
        self.walk.fluid.iter().map(|c| format!("{}.{}.{}", c.of.schema, c.of.table, c.column)).collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let legs: Vec<Value> = self
            .walk
            .legs
            .iter()
            .map(|leg| json!({ "leg": leg.name, "done": leg.done, "units": leg.units, "rows": leg.rows, "ms": u64::try_from(leg.took.as_millis()).unwrap_or(u64::MAX) }))
            .collect();
        let comparisons: Vec<Value> = self
            .walk
            .comparisons
            .iter()
            .map(|c| json!({ "of": c.of, "same": c.same(), "tables": c.tables, "catalog_diff": c.catalog, "data_diff": c.data }))
            .collect();
        let unread: Vec<Value> = self
            .walk
            .unread
            .iter()
            .map(|(table, end, why)| json!({ "schema": table.schema, "table": table.table, "at": end, "why": why }))
            .collect();
        json!({
            "v": 1, "plan": self.plan, "role": self.actor.name, "login": self.actor.login, "role_is_plain": self.actor.plain,
            "legs": legs, "comparisons": comparisons, "not_compared": unread, "left_out_between_ups": self.fluid(),
            "not_tried": self.walk.adopted, "failure": self.walk.failure.as_ref().map(|failure| failure.json()),
            "exit": self.exit() as u8, "message": self.headline(), "next": self.next(),
        })
    }
}

fn line(leg: &Leg, look: Look) -> String {
    let mark = look.mark(if leg.done { Mark::Done } else { Mark::Failed });
    let units = quantity::counted(u64::try_from(leg.units).unwrap_or(u64::MAX), "unit", "units");
    let rows = if leg.rows == 0 { String::new() } else { format!(", {} written", quantity::rows(leg.rows)) };
    format!("{mark} {:<7} {:>8}  {units}{rows}\n", leg.name, quantity::duration(leg.took))
}

fn verdict(comparison: &Comparison, look: Look) -> String {
    let [before, after] = comparison.of;
    let mut out = String::new();
    let tables = quantity::counted(u64::try_from(comparison.tables).unwrap_or(u64::MAX), "table", "tables");
    for (what, diff) in [("catalogue".to_owned(), &comparison.catalog), (format!("rows of {tables}"), &comparison.data)]
    {
        match diff {
            None => out.push_str(&format!("{} {what} the same: {before} and {after}\n", look.mark(Mark::Done))),
            Some(diff) => {
                out.push_str(&format!(
                    "{} {what} DIFFER: {before} (-) and {after} (+)\n{}\n",
                    look.mark(Mark::Failed),
                    diff.trim_end()
                ));
            }
        }
    }
    out
}

//! What an audit has to say, in whatever form: findings that are open and waived, waivers that are loose ends, and what was not
//! looked for.

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::{
    audit::{
        Look, Rule, rules,
        tenancy::Tenancy,
        waivers::{Sorted, Waiver, Waivers},
    },
    hazards::{Hazard, Unmeasured},
    pg::Audited,
};

/// All of it.
#[derive(Debug)]
pub struct Report {
    pub tenancy: Tenancy,
    pub tables: usize,
    pub sorted: Sorted,
    /// What this role or server cannot show.
    pub unmeasured: Vec<Unmeasured>,
    /// Of those, the codes of queries that failed.
    pub failed: Vec<&'static str>,
    /// Whether queries of a plan were asked.
    pub probed: bool,
}

impl Report {
    /// Sorts the findings by the waivers, on the day `today`.
    pub fn new(audited: Audited, waivers: &Waivers, today: NaiveDate) -> Self {
        let Audited { survey, tenancy, tables, failed } = audited;
        Self {
            tenancy,
            tables,
            sorted: waivers.sort(survey.hazards, today),
            unmeasured: survey.unmeasured,
            failed,
            probed: false,
        }
    }

    /// The classes that were not looked for, with what shows them.
    pub fn elsewhere(&self) -> Vec<(&'static Rule, &'static str)> {
        let one = |rule: &'static Rule| match rule.look {
            Look::Elsewhere(why) => Some((rule, why)),
            Look::Probes(why) => (!self.probed).then_some((rule, why)),
            Look::Text(_) | Look::Built(_) | Look::AsHazard(_) | Look::Policies(_) => None,
        };
        rules().into_iter().filter_map(one).collect()
    }

    /// The waivers' loose ends, in sentences.
    pub fn loose(&self) -> Vec<String> {
        let of = |waiver: &Waiver| format!("the waiver of {} for {}", waiver.code, waiver.object);
        let expired = self.sorted.expired.iter().map(|waiver| {
            format!(
                "{} expired on {}: what it waived is a finding again ({})",
                of(waiver),
                waiver.expires,
                waiver.reason
            )
        });
        let unused = self.sorted.unused.iter().map(|waiver| format!("{} waives nothing: remove it", of(waiver)));
        expired.chain(unused).collect()
    }

    /// As one object.
    pub fn json(&self) -> Value {
        let waived: Vec<Value> = self.sorted.waived.iter().map(|(finding, waiver)| waived(finding, waiver)).collect();
        json!({
            "v": 1, "tables": self.tables, "tenancy": self.tenancy(), "findings": self.sorted.open, "waived": waived,
            "waivers": { "expired": self.sorted.expired.iter().map(waiver_json).collect::<Vec<_>>(),
                         "unused": self.sorted.unused.iter().map(waiver_json).collect::<Vec<_>>() },
            "not_looked_for": self.not_looked_for(),
        })
    }

    /// A line a finding, and one with the rest.
    pub fn lines_of_json(&self) -> String {
        let mut lines = Vec::new();
        let mut add = |kind: &str, mut value: Value| {
            value["v"] = json!(1);
            value["kind"] = json!(kind);
            lines.push(value.to_string());
        };
        self.sorted.open.iter().for_each(|finding| add("finding", json!(finding)));
        self.sorted.waived.iter().for_each(|(finding, waiver)| add("waived", waived(finding, waiver)));
        add(
            "end",
            json!({ "tables": self.tables, "tenancy": self.tenancy(), "findings": self.sorted.open.len(),
                    "loose_waivers": self.loose(), "not_looked_for": self.not_looked_for() }),
        );
        lines.join("\n")
    }

    fn tenancy(&self) -> Value {
        let Tenancy { column, setting, function, roles, registry, told, .. } = &self.tenancy;
        json!({
            "column": column.as_ref().map(ToString::to_string), "setting": setting,
            "function": function.as_ref().map(ToString::to_string),
            "registry": registry.as_ref().map(ToString::to_string),
            "roles": roles.iter().map(ToString::to_string).collect::<Vec<_>>(), "known_by": told,
        })
    }

    fn not_looked_for(&self) -> Vec<Value> {
        let elsewhere =
            self.elsewhere().into_iter().map(|(rule, why)| json!({ "codes": [rule.code], "why": why, "advice": null }));
        self.unmeasured.iter().map(|unmeasured| json!(unmeasured)).chain(elsewhere).collect()
    }
}

fn waived(finding: &Hazard, waiver: &Waiver) -> Value {
    let mut value = json!(finding);
    value["waiver"] = waiver_json(waiver);
    value
}

fn waiver_json(waiver: &Waiver) -> Value {
    json!({ "code": waiver.code, "object": waiver.object, "reason": waiver.reason, "expires": waiver.expires })
}

//! The queries by which a plan is judged: `[[probe]]`, and what they may cost: `[latency]`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, Deserializer},
};

use super::{
    section::{self, places, tables},
    types::{Millis, Tenancy},
};
use crate::{
    diag::{Diag, Diags},
    latency::{Budget, REPEAT, Spec},
    sql::{Expr, Ident, Scalar, Stmt, words},
};

/// The section `[latency]`: the budget of every probe that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    pub percent: u32,
    pub ms: u32,
    /// The percentile.
    pub p: u32,
    pub rows: u64,
    /// How long the gate is measured again before the run pauses.
    pub wait: Option<Millis>,
    /// Whether the phase `enforce` that tables become has the gate.
    pub gate: bool,
}

impl Default for Latency {
    fn default() -> Self {
        let Budget { percent, ms, p, rows } = Budget::default();
        Self { percent, ms, p, rows, wait: None, gate: true }
    }
}

/// A `[[probe]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    name: String,
    sql: Expr,
    as_role: Option<Ident>,
    tenant: Option<Scalar>,
    #[serde(default)]
    params: Vec<Scalar>,
    expect: Option<Scalar>,
    budget_percent: Option<u32>,
    budget_ms: Option<u32>,
    repeat: Option<u32>,
}

/// Words of a query's first place, and words that change rows or lock them wherever they stand.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE"];
const CHANGES: &[&str] = &["INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "SHARE"];
/// A probe is measured for up to 30 s: with more, enforcing would take the better part of an hour.
const PROBES_MAX: usize = 50;
/// Pairs of a probe; see [`REPEAT`].
const REPEATS: std::ops::RangeInclusive<u32> = 10..=1_000;

/// Reads all of them. What is wrong with one is told, and it is left out.
pub(super) fn probes(doc: &DeTable<'_>, tenancy: Option<&Tenancy>, diags: &mut Diags) -> Vec<Spec> {
    let written = tables(doc, "probe", diags);
    if let Some(first) = written.first().filter(|_| !doc.contains_key("tenancy")) {
        diags.push(
            Diag::error("TM0379", first.span(), "a [[probe]] has no meaning: the plan has no [tenancy]")
                .help("write [tenancy] with registry, column, setting and roles"),
        );
    }
    if let Some(more) = written.get(PROBES_MAX) {
        diags.push(Diag::error("TM0103", more.span(), format!("a plan has at most {PROBES_MAX} probes")));
    }
    let mut names = BTreeMap::new();
    let mut out = Vec::new();
    for table in written {
        let (keys, span) = (places(&table), table.span());
        let Some(probe) = section::read(table, diags, |t| Probe::deserialize(Deserializer::from(t))) else { continue };
        let place = |key: &str| keys.get(key).unwrap_or(&span).clone();
        check(&probe, &place, diags);
        if let Some(first) = names.insert(probe.name.clone(), place("name")) {
            diags.push(
                Diag::error("TM0106", place("name"), format!("two probes have the name `{}`", probe.name))
                    .other(first, "the first one"),
            );
        }
        let Some(tenancy) = tenancy else { continue };
        let Some(role) = probe.as_role.clone().or_else(|| tenancy.roles.first().cloned()) else {
            diags.push(Diag::error("TM0374", span.clone(), "nobody is named as whom the probe is asked").help(
                "write as_role = \"…\", or roles = [\"…\"] in [tenancy]: the role as which the application works",
            ));
            continue;
        };
        out.push(spec(probe, role, tenancy));
    }
    out
}

fn check(probe: &Probe, place: &dyn Fn(&str) -> std::ops::Range<usize>, diags: &mut Diags) {
    let words = words(probe.sql.as_str());
    if !words.first().is_some_and(|first| QUERIES.contains(&first.as_str())) {
        diags.push(
            Diag::error("TM0377", place("sql"), "a probe is a query")
                .help("write it as the application asks it: \"SELECT … FROM … WHERE …\""),
        );
    } else if let Some(change) = words.iter().find(|word| CHANGES.contains(&word.as_str())) {
        diags.push(
            Diag::error(
                "TM0378",
                place("sql"),
                format!("a probe changes nothing and locks no row, and this one has {change} in it"),
            )
            .help("measure the SELECT that finds the rows"),
        );
    }
    if probe.repeat.is_some_and(|repeat| !REPEATS.contains(&repeat)) {
        let (least, most) = (REPEATS.start(), REPEATS.end());
        diags.push(
            Diag::error("TM0103", place("repeat"), format!("`repeat` is from {least} to {most}"))
                .help(format!("{REPEAT} where it is left out; a probe is measured for 30s at most")),
        );
    }
    if probe.name.trim().is_empty() {
        diags.push(Diag::error("TM0103", place("name"), "a probe's name is not empty"));
    }
}

fn spec(probe: Probe, role: Ident, tenancy: &Tenancy) -> Spec {
    let text = |scalar: Scalar| scalar.0.0;
    let budgeted = probe.budget_percent.is_some() || probe.budget_ms.is_some() || probe.repeat.is_some();
    Spec {
        sql: Stmt::raw(probe.sql.as_str().replace("{tenant}", tenancy.context().as_str())),
        params: probe.params.into_iter().map(text).collect(),
        role,
        tenant: probe.tenant.map(text),
        // What is asked for its answer is not what the application asks all day.
        timed: probe.expect.is_none() || budgeted,
        expect: probe.expect.map(text),
        repeat: probe.repeat.unwrap_or(REPEAT),
        percent: probe.budget_percent,
        ms: probe.budget_ms,
        setting: tenancy.setting.clone(),
        column: tenancy.column.clone(),
        registry: (tenancy.registry.table.clone(), tenancy.registry.key.clone()),
        bypass: tenancy.bypass.clone(),
        name: probe.name,
    }
}

/// Whether the phase `enforce` that tables become has the gate.
pub(super) fn gated(doc: &DeTable<'_>) -> bool {
    let off = |table: &Spanned<toml::de::DeValue<'_>>| {
        table
            .get_ref()
            .as_table()
            .and_then(|t| t.get("gate"))
            .is_some_and(|gate| gate.get_ref().as_bool() == Some(false))
    };
    doc.contains_key("probe") && !doc.get("latency").is_some_and(off)
}

#[cfg(test)]
mod tests {
    use crate::plan::parse;

    #[track_caller]
    fn check(probe: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = \"p\"\n[tenancy]\ncolumn = \"t\"\nsetting = \"app.t\"\nregistry = {{ table = \"app.a\", key = \"id\", type = \"uuid\" }}\n\
             [[phase]]\nid = \"a\"\n[[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.x\"\n[[phase.gate]]\nkind = \"latency\"\n\
             [[probe]]\nname = \"one\"\n{probe}"
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{probe}");
    }

    #[test]
    fn a_probe_is_one_query_as_somebody() {
        check("as_role = \"app\"\nsql = \"SELECT 1\"", &[]);
        check("as_role = \"app\"\nsql = \"SELECT 'DELETE' FROM t WHERE tenant_id = {tenant}\"", &[]);
        check("sql = \"SELECT 1\"", &["TM0374"]);
        check("as_role = \"app\"\nsql = \"DELETE FROM t\"", &["TM0377"]);
        check("as_role = \"app\"\nsql = \"WITH d AS (DELETE FROM t RETURNING 1) SELECT 1 FROM d\"", &["TM0378"]);
        check("as_role = \"app\"\nsql = \"SELECT 1 FROM t FOR UPDATE\"", &["TM0378"]);
        check("as_role = \"app\"\nsql = \"SELECT 1 INTO x\"", &["TM0378"]);
        check("as_role = \"app\"\nsql = \"SELECT 1; DROP TABLE t\"", &["TM0103"]);
        check("as_role = \"app\"\nrepeat = 9\nsql = \"SELECT 1\"", &["TM0103"]);
        check(
            "as_role = \"app\"\nsql = \"SELECT 1\"\n[[probe]]\nname = \"one\"\nas_role = \"app\"\nsql = \"SELECT 2\"",
            &["TM0106"],
        );
        check("as_role = \"app\"\nsqll = \"SELECT 1\"", &["TM0102"]);
    }
}

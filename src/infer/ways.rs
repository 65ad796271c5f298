//! By which of its hops a table gets its tenant: the nearest that every row has, once the others are known to agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    edge::{Edge, Says, name},
    measure::{Answers, Counted, Measure, Settled, Ways},
};

/// What was decided of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub settled: Settled,
    /// What a person has to decide; the rest then is a guess.
    pub question: Option<String>,
    pub why: Vec<String>,
    /// Hops that must lead to the same tenant.
    pub gates: Vec<usize>,
}

impl Verdict {
    fn by(hops: &[usize], why: Vec<String>) -> Self {
        Self { settled: Settled::Parents(hops.to_vec()), question: None, why, gates: Vec::new() }
    }

    fn ask(question: String) -> Self {
        Self { settled: Settled::Open, question: Some(question), why: Vec::new(), gates: Vec::new() }
    }
}

/// The hops of a table to tables with a way: the nearest first.
pub(super) fn hops(ways: &Ways<'_>, table: usize) -> Vec<usize> {
    let Some(&first) = ways.reach.first.get(&table) else { return Vec::new() };
    let used_by = |edge: usize| match ways.settled.get(&ways.edges[edge].parent) {
        // The parent has its tenant from this very hop.
        Some(Settled::Users(users)) => users.contains(&edge),
        Some(Settled::Registry | Settled::Parents(_) | Settled::Open) | None => false,
    };
    let is_one = |(at, edge): &(usize, &Edge)| {
        edge.child == table && *at != first && ways.reach.has(edge.parent) && edge.parent != table && !used_by(*at)
    };
    let mut others: Vec<usize> = ways.edges.iter().enumerate().filter(is_one).map(|(at, _)| at).collect();
    others.sort_by_key(|at| (ways.edges[*at].nullable, ways.reach.cost.get(&ways.edges[*at].parent).copied(), *at));
    let mut out = vec![first];
    out.extend(others);
    out
}

/// Decides for a table that has hops, or says what has to be counted before.
pub(super) fn decide(ways: &Ways<'_>, table: usize, answers: &Answers) -> Result<Verdict, Measure> {
    let hops = hops(ways, table);
    let Some(&first) = hops.first() else { return Ok(Verdict::ask("no way is known".to_owned())) };
    let by = |hop: usize| ways.edges[hop].words(ways.facts);
    if hops.len() == 1 && ways.edges[first].is_total() {
        return Ok(Verdict::by(&hops, vec![format!("every row has {}", by(first))]));
    }
    let Some(measure) = ways.disagreements(table, &hops) else {
        return Ok(Verdict::by(&[first], vec![format!("{}; its other ways are too many hops to compare", by(first))]));
    };
    match answers.get(measure.stmt.as_str()) {
        None => Err(measure),
        Some(Counted::Unknown(why)) => {
            let why = format!(
                "{}: the nearest way; whether all rows have it, and others agree, was not counted: {why}",
                by(first)
            );
            Ok(Verdict::by(&[first], vec![why]))
        }
        Some(Counted::Counts { counts, example }) => {
            let found = Found::read(counts, &hops, example.as_deref(), measure.sampled);
            Ok(weigh(ways, table, &hops, &found))
        }
    }
}

/// The counts with their meaning.
struct Found<'a> {
    rows: i64,
    lacking: Vec<i64>,
    none: i64,
    other: Vec<i64>,
    example: Option<&'a str>,
    sampled: bool,
}

impl<'a> Found<'a> {
    fn read(counts: &[i64], hops: &[usize], example: Option<&'a str>, sampled: bool) -> Self {
        let at = |n: usize| counts.get(n).copied().unwrap_or(0);
        let n = hops.len();
        Self {
            rows: at(0),
            lacking: (1..=n).map(at).collect(),
            none: at(n + 1),
            other: (n + 2..n + 2 + n.saturating_sub(1)).map(at).collect(),
            example,
            sampled,
        }
    }

    fn of(&self, count: i64) -> String {
        let sample = if self.sampled { " of a sample" } else { "" };
        format!("{count} of {} rows{sample}", self.rows)
    }
}

fn weigh(ways: &Ways<'_>, table: usize, hops: &[usize], found: &Found<'_>) -> Verdict {
    let by = |hop: usize| ways.edges[hop].words(ways.facts);
    let at_odds: Vec<String> = (found.other.iter().zip(&hops[1..]))
        .filter(|(count, _)| **count > 0)
        .map(|(count, hop)| {
            format!("for {} {} leads to another tenant than {}", found.of(*count), by(*hop), by(hops[0]))
        })
        .collect();
    let example = found.example.map_or(String::new(), |example| format!(" (row {example})"));
    if !at_odds.is_empty() {
        return Verdict::ask(format!("whose rows are these? {}{example}", at_odds.join("; ")));
    }
    let whole = |(n, hop): &(usize, &usize)| found.lacking.get(*n) == Some(&0) && !depends(ways, **hop, table);
    if let Some((n, &hop)) = hops.iter().enumerate().find(whole) {
        let mut why = vec![reason(ways, hop, found)];
        let others: Vec<usize> = hops.iter().copied().filter(|other| *other != hop).collect();
        for other in &others {
            why.push(format!("{} leads to the same tenant, which a gate checks", by(*other)));
        }
        if n > 0 {
            why.push(format!("{} is nearer and missing in {}", by(hops[0]), found.of(found.lacking[0])));
        }
        return Verdict { gates: others, ..Verdict::by(&[hop], why) };
    }
    let free: Vec<usize> = hops.iter().copied().filter(|hop| !depends(ways, *hop, table)).collect();
    if found.none == 0 && free.len() > 1 && free.len() == hops.len() {
        let each: Vec<String> = free.iter().map(|hop| by(*hop)).collect();
        let why = vec![format!("no single way has every row; each has one of: {}", each.join("; "))];
        return Verdict { gates: free.clone(), ..Verdict::by(&free, why) };
    }
    let each: Vec<String> = hops.iter().map(|hop| by(*hop)).collect();
    let mut verdict = Verdict::ask(format!(
        "{} have no tenant by {}{example}: give them one, or write the way with on_orphan = quarantine or skip",
        found.of(found.none),
        each.join(" or ")
    ));
    verdict.settled = Settled::Parents(vec![hops[0]]);
    verdict
}

fn reason(ways: &Ways<'_>, hop: usize, found: &Found<'_>) -> String {
    let edge = &ways.edges[hop];
    let by = edge.words(ways.facts);
    let checked = if found.sampled {
        format!("{} rows of a sample have", found.rows)
    } else {
        format!("all {} rows have", found.rows)
    };
    match (edge.says, edge.nullable, found.rows) {
        (_, _, 0) => format!("{by}; there is no row to check it by"),
        (Says::ForeignKey, false, _) => format!("every row has {by}"),
        (Says::ForeignKey, true, _) => format!("{by}: the column may be NULL, and {checked} it today"),
        (Says::NotValid | Says::Name, _, _) => format!("{by}: {checked} such a row there today"),
    }
}

/// Whether the parent of a hop gets its tenant, by whatever way, from `table`.
pub(super) fn depends(ways: &Ways<'_>, hop: usize, table: usize) -> bool {
    let (mut open, mut seen) = (vec![ways.edges[hop].parent], BTreeSet::new());
    while let Some(at) = open.pop() {
        if at == table {
            return true;
        }
        if seen.insert(at) {
            open.extend(above(ways.edges, ways.settled, &ways.reach.first, at));
        }
    }
    false
}

/// The tables that must have their tenants before this one.
pub(super) fn above(
    edges: &[Edge],
    settled: &BTreeMap<usize, Settled>,
    first: &BTreeMap<usize, usize>,
    table: usize,
) -> Vec<usize> {
    match settled.get(&table) {
        Some(Settled::Registry) => Vec::new(),
        Some(Settled::Parents(hops)) => hops.iter().map(|hop| edges[*hop].parent).collect(),
        Some(Settled::Users(hops)) => hops.iter().map(|hop| edges[*hop].child).collect(),
        Some(Settled::Open) | None => first.get(&table).map(|hop| edges[*hop].parent).into_iter().collect(),
    }
}

/// As SQL over `row`: the first of these hops that a row has.
pub(super) fn text(ways: &Ways<'_>, hops: &[usize], column: &crate::sql::Ident) -> String {
    let each: Vec<String> = hops.iter().map(|hop| one(ways, &ways.edges[*hop], false, column)).collect();
    if each.len() == 1 { each.concat() } else { format!("COALESCE({})", each.join(", ")) }
}

/// As SQL over `row`: the tenant of a row that points at it.
pub(super) fn users_text(ways: &Ways<'_>, hops: &[usize], column: &crate::sql::Ident) -> String {
    let each: Vec<String> = hops.iter().map(|hop| one(ways, &ways.edges[*hop], true, column)).collect();
    if each.len() == 1 { each.concat() } else { format!("COALESCE({})", each.join(", ")) }
}

fn one(ways: &Ways<'_>, edge: &Edge, up: bool, column: &crate::sql::Ident) -> String {
    let there = if up { edge.child } else { edge.parent };
    let tenant = if there == ways.root { ways.key } else { column };
    let pair = |(child, parent): &(crate::sql::Ident, crate::sql::Ident)| {
        if up { format!("p.{child} = row.{parent}") } else { format!("p.{parent} = row.{child}") }
    };
    let on: Vec<String> = edge.columns.iter().map(pair).collect();
    // Many rows may point at one; they are known to agree.
    let limit = if up { " LIMIT 1" } else { "" };
    let (table, on) = (name(ways.facts, there), on.join(" AND "));
    ["(SELECT p.", &tenant.to_string(), " FROM ", &table, " p WHERE ", &on, limit, ")"].concat()
}

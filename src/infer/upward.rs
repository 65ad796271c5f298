//! Tables that no way leads on from and that tenants' rows point at: addresses of customers, or a list that everybody reads.
//! What tells them apart is whether a row is used by one tenant only.

use super::{
    edge::Edge,
    measure::{Answers, Counted, Measure, Settled, Ways},
    names::is_lookup,
    ways::Verdict,
};

/// Rows that several tenants use are no accident where they are at least one in so many.
const COMMON_PART: i64 = 10;

/// What a table without a way turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upward {
    Tenants(Verdict),
    Shared(String),
}

/// The hops that lead to this table from tables that have a way.
pub(super) fn users(ways: &Ways<'_>, table: usize) -> Vec<usize> {
    let is_one = |(_, edge): &(usize, &Edge)| edge.parent == table && ways.reach.has(edge.child);
    ways.edges.iter().enumerate().filter(is_one).map(|(at, _)| at).collect()
}

/// Decides for a table that others with a way point at.
pub(super) fn decide(ways: &Ways<'_>, table: usize, hops: &[usize], answers: &Answers) -> Result<Upward, Measure> {
    let lookup = is_lookup(&ways.facts.tables[table].name.name);
    let Some(measure) = ways.users(table, hops) else {
        return Ok(question(
            hops,
            "whether each row is used by one tenant only takes too many hops to count".to_owned(),
        ));
    };
    let from: Vec<String> = hops.iter().map(|hop| by(ways, &ways.edges[*hop])).collect();
    let from = from.join(", ");
    let (counts, example) = match answers.get(measure.stmt.as_str()) {
        None => return Err(measure),
        Some(Counted::Unknown(_)) if lookup => {
            return Ok(Upward::Shared(
                "a list that everybody reads, by its name; nobody counted whose rows use it".to_owned(),
            ));
        }
        Some(Counted::Unknown(why)) => {
            return Ok(question(
                hops,
                format!("does each row belong to one tenant, or do all share it? It was not counted: {why}"),
            ));
        }
        Some(Counted::Counts { counts, example }) => (counts, example),
    };
    let at = |n: usize| counts.get(n).copied().unwrap_or(0);
    let (rows, used, common, tenants) = (at(0), at(1), at(2), at(3));
    let example = example.as_ref().map_or(String::new(), |example| format!(" (row {example})"));
    if common > 0 && (lookup || common * COMMON_PART >= used) {
        return Ok(Upward::Shared(format!(
            "{common} of the {used} rows that {from} points at are used by several tenants"
        )));
    }
    if common > 0 {
        return Ok(question(
            hops,
            format!(
                "each row one tenant's, or shared? {common} of the {used} rows that {from} points at are used by several tenants{example}"
            ),
        ));
    }
    if lookup {
        return Ok(Upward::Shared(format!(
            "a list that everybody reads, by its name; {used} of its {rows} rows are in use"
        )));
    }
    if used < rows || rows <= tenants {
        let few = if rows <= tenants { ", too few to tell" } else { "" };
        return Ok(question(
            hops,
            format!(
                "each row one tenant's, or shared? {used} of {rows} rows are used (by {from}), each by one tenant only{few}"
            ),
        ));
    }
    let why = vec![
        format!("no foreign key leads on from it; each of its {rows} rows is used by one tenant only ({from})"),
        "a row that the old application adds has no tenant before something points at it".to_owned(),
    ];
    Ok(Upward::Tenants(Verdict { settled: Settled::Users(hops.to_vec()), question: None, why, gates: Vec::new() }))
}

fn by(ways: &Ways<'_>, edge: &Edge) -> String {
    format!("{}.{}", ways.facts.tables[edge.child].name, edge.by())
}

/// The ways below it are looked at all the same.
fn question(hops: &[usize], text: String) -> Upward {
    Upward::Tenants(Verdict {
        settled: Settled::Users(hops.to_vec()),
        question: Some(text),
        why: Vec::new(),
        gates: Vec::new(),
    })
}

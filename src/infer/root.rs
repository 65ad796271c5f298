//! Which table the tenants are in: given, or proposed with reasons.

use std::collections::BTreeMap;

use crate::sql::QName;

use super::{
    edge::{Edge, name},
    facts::{Facts, Table},
    graph::{Cost, Reach, reach},
    names::tenant_weight,
    session::Wishes,
};

/// What reaching every table adds to a name's weight.
const REACH_WEIGHT: i64 = 40;
/// A lead of less than this is no lead.
const LEAD_MIN: i64 = 15;
/// Whoever has to choose reads no more than this.
const CANDIDATES_MAX: usize = 5;

/// A table that the tenants may be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub table: QName,
    pub reason: String,
    score: i64,
    at: usize,
}

/// What came of the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// The table, and why.
    Clear(usize, Vec<String>),
    /// The likeliest, and all that may be meant.
    Unclear(usize, Vec<Candidate>),
    /// There is none yet; what may be meant all the same, unless the user said so.
    New(Option<Vec<Candidate>>),
    /// No table can be it.
    None(Vec<String>),
}

/// What the key of a registry may be of: a type that a setting's text can be cast to and that equality has one meaning for.
fn fits(table: &Table) -> bool {
    const TYPES: &[&str] = &["uuid", "bigint", "integer", "smallint", "text"];
    let fits = |ty: &str| TYPES.contains(&ty) || ty.starts_with("character varying");
    table.key().is_some_and(|key| fits(&key.r#type))
}

/// Chooses the registry.
pub(super) fn choose(facts: &Facts, edges: &[Edge], wishes: &Wishes) -> Choice {
    if wishes.new_registry.is_some() {
        return Choice::New(None);
    }
    if let Some(wanted) = &wishes.tenant_table {
        return match facts.places().get(wanted) {
            Some(&at) if fits(&facts.tables[at]) => Choice::Clear(at, vec!["given by --tenant-table".to_owned()]),
            Some(_) => Choice::None(vec![format!(
                "{wanted} has no primary key of one column of type uuid, bigint, integer, smallint or text"
            )]),
            None => Choice::None(vec![format!("there is no table {wanted} among those that were read")]),
        };
    }
    let reached = |at: usize| reach(edges, &BTreeMap::from([(at, Cost::default())]));
    let all = facts.tables.len();
    let mut named = Vec::new();
    let mut rest = Vec::new();
    for (at, table) in facts.tables.iter().enumerate().filter(|(_, table)| fits(table)) {
        let weight = tenant_weight(&table.name.name);
        let pointed_at = edges.iter().any(|edge| edge.parent == at);
        if weight == 0 && !pointed_at {
            continue;
        }
        let reach = reached(at);
        let below = reach.order.len() - 1;
        let share = i64::try_from(below).unwrap_or(0) * REACH_WEIGHT / i64::try_from(all.max(1)).unwrap_or(1);
        let by_name = if weight == 0 { "its name says nothing" } else { "its name" };
        let reason = format!("{by_name}; {below} of {} other tables lead to it", all - 1);
        let candidate = Candidate { table: table.name.clone(), reason, score: weight + share, at };
        if weight > 0 { named.push((candidate, reach)) } else { rest.push((candidate, reach)) }
    }
    decide(facts, named, rest)
}

fn decide(facts: &Facts, mut named: Vec<(Candidate, Reach)>, mut rest: Vec<(Candidate, Reach)>) -> Choice {
    let rank = |list: &mut Vec<(Candidate, Reach)>| {
        list.sort_by(|(a, _), (b, _)| b.score.cmp(&a.score).then_with(|| a.table.cmp(&b.table)));
        list.truncate(CANDIDATES_MAX);
    };
    rank(&mut named);
    rank(&mut rest);
    let useful = |(candidate, reach): &(Candidate, Reach)| {
        reach.order.len() > 1 || facts.tables.len() == 1 || candidate.score >= 100
    };
    match named.as_slice() {
        [first, others @ ..] if useful(first) => {
            // A candidate whose rows all lead to the first is below it: customers of shops.
            let rival = |(other, reach): &&(Candidate, Reach)| {
                let below = first.1.cost.get(&other.at).is_some_and(|cost| cost.nullable == 0);
                !below && reach.order.len() > 1 && first.0.score - other.score < LEAD_MIN
            };
            match others.iter().find(rival) {
                None => Choice::Clear(first.0.at, why(facts, first, others)),
                Some(_) => Choice::Unclear(first.0.at, named.iter().map(|(c, _)| c.clone()).collect()),
            }
        }
        // Whether everything belongs to one of its rows is the next question.
        [first, others @ ..] => Choice::Clear(first.0.at, why(facts, first, others)),
        [] => Choice::New(Some(rest.into_iter().map(|(candidate, _)| candidate).collect())),
    }
}

fn why(facts: &Facts, (first, reach): &(Candidate, Reach), others: &[(Candidate, Reach)]) -> Vec<String> {
    let mut out = vec![format!("proposed: {}", first.reason)];
    for (other, _) in others {
        let below = reach.has(other.at);
        let but = if below { format!("its rows lead to {}", name(facts, first.at)) } else { other.reason.clone() };
        out.push(format!("not {}: {but}", other.table));
    }
    out
}

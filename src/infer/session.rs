//! The course of the inference: what is known decides, what has to be counted is asked for, until nothing is open.

use std::collections::BTreeMap;

use crate::sql::{Ident, QName};

use super::{
    draft::Draft,
    edge::{Edge, foreign_keys},
    facts::Facts,
    gather::{Found, gather},
    graph::{Cost, Reach, reach},
    implied::implied,
    keys,
    measure::{Answers, Measure, Settled, Ways},
    root::{Candidate, Choice, choose},
    single::{self, Open, Single},
    upward::{self, Upward},
    ways::{self, Verdict},
};

/// Each round asks for what the one before made askable; no schema is nested deeper.
pub const ROUNDS_MAX: usize = 60;

/// What the user said beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    pub tenant_table: Option<QName>,
    /// No table has the tenants: the plan is to make this one.
    pub new_registry: Option<QName>,
    /// The key of the tenant to whom the rows belong that no way leads on from.
    pub value: Option<String>,
    pub column: Option<Ident>,
    pub setting: Option<String>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These have to be counted; then the inference is begun anew with their answers.
    Count(Vec<Measure>),
    Done(Box<Draft>),
    /// No table can be the registry: why, and what stands nearest to it.
    NoRoot(Vec<String>),
}

/// One round: pure, and the same for the same facts and answers.
pub fn infer(facts: &Facts, wishes: &Wishes, answers: &Answers) -> Next {
    let edges = foreign_keys(facts);
    match choose(facts, &edges, wishes) {
        Choice::Clear(root, why) => from(facts, edges, (root, why, Vec::new()), wishes, answers),
        Choice::Unclear(root, candidates) => from(facts, edges, (root, Vec::new(), candidates), wishes, answers),
        Choice::New(instead) => new(facts, instead.as_deref(), wishes),
        Choice::None(why) => Next::NoRoot(why),
    }
}

/// The plan makes the registry, and every row belongs to its first tenant: nothing has to be counted.
fn new(facts: &Facts, instead: Option<&[Candidate]>, wishes: &Wishes) -> Next {
    let (facts, root, single, made) = match single::made(facts, wishes, instead) {
        Ok(made) => made,
        Err(why) => return Next::NoRoot(why),
    };
    let edges = foreign_keys(&facts);
    let near = reach(&[], &BTreeMap::from([(root, Cost::default())]));
    let settled = BTreeMap::from([(root, Settled::Registry)]);
    let Some(key) = facts.tables[root].key().map(|key| &key.name) else { return Next::NoRoot(Vec::new()) };
    let (column, column_why) = single::column(&facts, wishes);
    let ways = Ways { facts: &facts, edges: &edges, reach: &near, settled: &settled, root, key };
    let found = Found {
        ways,
        verdicts: BTreeMap::new(),
        upward: BTreeMap::new(),
        shared: BTreeMap::new(),
        why: Vec::new(),
        candidates: Vec::new(),
        column,
        column_why,
        single: Some(single),
        made: Some(made),
    };
    Next::Done(Box::new(gather(&found, wishes)))
}

/// The registry stands there: the ways that lead to it, and for the rest its one row, if there is one to be meant.
fn from(
    facts: &Facts,
    mut edges: Vec<Edge>,
    (root, why, candidates): (usize, Vec<String>, Vec<Candidate>),
    wishes: &Wishes,
    answers: &Answers,
) -> Next {
    let Some(key) = facts.tables[root].key().map(|key| key.name.clone()) else { return Next::NoRoot(Vec::new()) };
    let (column, column_why) = keys::column(facts, &edges, root, wishes.column.as_ref());
    let mut sources = BTreeMap::from([(root, Cost::default())]);
    let mut settled = BTreeMap::from([(root, Settled::Registry)]);
    let mut shared = BTreeMap::new();
    let mut upward = BTreeMap::new();
    let alone = far(facts, &mut edges, &sources, root, &column).order.len() == 1 && facts.tables.len() > 1;
    let single = match one_row(facts, root, alone, wishes, answers) {
        Ok(single) => single,
        Err(next) => return next,
    };
    // Each turn finds at least one more table, or ends.
    for _ in 0..=facts.tables.len() {
        let near = far(facts, &mut edges, &sources, root, &column);
        let verdicts = match down(facts, &edges, &near, &mut settled, (root, &key), answers) {
            Ok(verdicts) => verdicts,
            Err(measures) => return Next::Count(measures),
        };
        let mut course = Course { facts, edges: &edges, near: &near, root, key: &key, answers };
        match course.up(&mut settled, &mut sources, &mut shared, &mut upward) {
            Err(measures) => return Next::Count(measures),
            Ok(true) => continue,
            Ok(false) => {}
        }
        let ways = Ways { facts, edges: &edges, reach: &near, settled: &settled, root, key: &key };
        let found = Found { ways, verdicts, upward, shared, why, candidates, column, column_why, single, made: None };
        return Next::Done(Box::new(gather(&found, wishes)));
    }
    Next::NoRoot(vec!["the ways to the tenant have no end".to_owned()])
}

/// The row of the registry to which everything belongs that no way leads on from: asked for where no way leads there at all.
fn one_row(
    facts: &Facts,
    root: usize,
    alone: bool,
    wishes: &Wishes,
    answers: &Answers,
) -> Result<Option<Single>, Next> {
    if !alone && wishes.value.is_none() {
        return Ok(None);
    }
    match single::row_of(facts, root, wishes, answers) {
        Ok(single) => Ok(Some(single)),
        Err(Open::Count(measure)) => Err(Next::Count(vec![measure])),
        Err(Open::Not(why)) => Err(Next::NoRoot(why)),
    }
}

/// The ways over foreign keys, then over what names suggest for the tables that are left, as long as more are found.
fn far(facts: &Facts, edges: &mut Vec<Edge>, sources: &BTreeMap<usize, Cost>, root: usize, column: &Ident) -> Reach {
    loop {
        let near = reach(edges, sources);
        let more: Vec<Edge> =
            implied(facts, &near, root, column).into_iter().filter(|edge| !edges.contains(edge)).collect();
        if more.is_empty() {
            return near;
        }
        edges.extend(more);
    }
}

/// Decides for every table that a way leads on from, the nearest first.
fn down(
    facts: &Facts,
    edges: &[Edge],
    near: &Reach,
    settled: &mut BTreeMap<usize, Settled>,
    (root, key): (usize, &Ident),
    answers: &Answers,
) -> Result<BTreeMap<usize, Verdict>, Vec<Measure>> {
    let (mut verdicts, mut measures) = (BTreeMap::new(), Vec::new());
    for &table in near.order.iter().filter(|table| near.first.contains_key(table)) {
        let ways = Ways { facts, edges, reach: near, settled, root, key };
        match ways::decide(&ways, table, answers) {
            Ok(verdict) => {
                settled.insert(table, verdict.settled.clone());
                verdicts.insert(table, verdict);
            }
            Err(measure) => {
                settled.remove(&table);
                measures.push(measure);
            }
        }
    }
    if measures.is_empty() { Ok(verdicts) } else { Err(measures) }
}

/// What deciding upward needs to know.
struct Course<'a> {
    facts: &'a Facts,
    edges: &'a [Edge],
    near: &'a Reach,
    root: usize,
    key: &'a Ident,
    answers: &'a Answers,
}

impl Course<'_> {
    /// Decides for every table that tenants' rows point at and that is not decided; whether new ways begin there.
    fn up(
        &mut self,
        settled: &mut BTreeMap<usize, Settled>,
        sources: &mut BTreeMap<usize, Cost>,
        shared: &mut BTreeMap<usize, String>,
        upward: &mut BTreeMap<usize, Verdict>,
    ) -> Result<bool, Vec<Measure>> {
        let mut measures = Vec::new();
        let mut more = false;
        let open = |table: &usize| !self.near.has(*table) && !shared.contains_key(table);
        for table in (0..self.facts.tables.len()).filter(open).collect::<Vec<_>>() {
            let ways = Ways {
                facts: self.facts,
                edges: self.edges,
                reach: self.near,
                settled,
                root: self.root,
                key: self.key,
            };
            let hops = upward::users(&ways, table);
            if hops.is_empty() {
                continue;
            }
            match upward::decide(&ways, table, &hops, self.answers) {
                Err(measure) => measures.push(measure),
                Ok(Upward::Shared(reason)) => {
                    shared.insert(table, reason);
                }
                Ok(Upward::Tenants(verdict)) => {
                    let costs = hops.iter().filter_map(|hop| self.near.cost.get(&self.edges[*hop].child));
                    let far = costs.max().copied().unwrap_or_default();
                    settled.insert(table, verdict.settled.clone());
                    sources.insert(table, Cost { length: far.length + 1, ..far });
                    upward.insert(table, verdict);
                    more = true;
                }
            }
        }
        if measures.is_empty() { Ok(more) } else { Err(measures) }
    }
}

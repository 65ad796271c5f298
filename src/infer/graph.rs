//! The nearest way from each table to the registry, over foreign keys, from child to parent.

use std::collections::{BTreeMap, BTreeSet};

use super::edge::{Edge, Says};

/// How good a way is; less is better. A hop that every row has comes before a shorter way that some rows lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Cost {
    /// Hops that only a name suggests.
    pub guessed: usize,
    /// Hops that a row may lack.
    pub nullable: usize,
    pub length: usize,
}

impl Cost {
    fn and(self, edge: &Edge) -> Self {
        Self {
            guessed: self.guessed + usize::from(edge.says == Says::Name),
            nullable: self.nullable + usize::from(edge.nullable),
            length: self.length + 1,
        }
    }
}

/// The tables that a way is known for.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    /// How far each is.
    pub cost: BTreeMap<usize, Cost>,
    /// The first hop of each; the sources have none.
    pub first: BTreeMap<usize, usize>,
    /// The tables, the nearest first: every table's parent stands before it.
    pub order: Vec<usize>,
}

impl Reach {
    /// Whether a way leads from this table to a source.
    pub fn has(&self, table: usize) -> bool {
        self.cost.contains_key(&table)
    }
}

/// The nearest ways to `sources`. Among equal ones the first hop of `edges` is taken, so the answer is always the same.
pub(super) fn reach(edges: &[Edge], sources: &BTreeMap<usize, Cost>) -> Reach {
    let mut into: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, edge) in edges.iter().enumerate() {
        into.entry(edge.parent).or_default().push(at);
    }
    let mut out = Reach { cost: sources.clone(), ..Reach::default() };
    let mut open: BTreeSet<(Cost, usize)> = sources.iter().map(|(table, cost)| (*cost, *table)).collect();
    while let Some((cost, table)) = open.pop_first() {
        out.order.push(table);
        for &at in into.get(&table).into_iter().flatten() {
            let edge = &edges[at];
            let far = cost.and(edge);
            let known = out.cost.get(&edge.child).copied();
            if sources.contains_key(&edge.child) || known.is_some_and(|known| known <= far) {
                continue;
            }
            if let Some(known) = known {
                open.remove(&(known, edge.child));
            }
            out.cost.insert(edge.child, far);
            out.first.insert(edge.child, at);
            open.insert((far, edge.child));
        }
    }
    out
}

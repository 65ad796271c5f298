//! Which foreign keys are to carry the tenant: those between two tables of tenants whose rows are known to agree. Of the others
//! the plan says why not.

use super::{
    draft::{Entry, Way},
    edge::{Edge, Says},
    facts::{Facts, Reference, Shape, Table},
};

/// What the decision rests on.
pub(super) struct Keys<'a> {
    pub facts: &'a Facts,
    /// What becomes of each table; `None`: it belongs to no tenant.
    pub ways: Vec<Option<Way>>,
    pub root: usize,
}

impl Keys<'_> {
    /// Fills in `composite` of the table at `at`; `agreeing` are the hops over which every row leads to its own tenant.
    pub fn decide(&self, at: usize, edges: &[Edge], agreeing: &[usize], entry: &mut Entry) {
        let Some(table) = self.facts.tables.get(at) else { return };
        let keys = edges.iter().enumerate().filter(|(_, edge)| {
            edge.child == at && edge.parent != at && edge.parent != self.root && edge.says != Says::Name
        });
        let mut left: Vec<(String, String)> = Vec::new();
        for (hop, edge) in keys {
            let Some(Some(theirs)) = self.ways.get(edge.parent) else { continue };
            let Some(parent) = self.facts.tables.get(edge.parent) else { continue };
            let agrees =
                agreeing.contains(&hop) || matches!((&entry.way, theirs), (Way::Value(a), Way::Value(b)) if a == b);
            match why_not((table, &entry.way), (parent, theirs), edge, agrees) {
                Some(why) => left.push((edge.by(), why)),
                None => {
                    let (own, theirs) = edge.columns.iter().cloned().unzip();
                    entry.composite.push((own, parent.name.clone(), theirs));
                }
            }
        }
        let reasons: std::collections::BTreeSet<&String> = left.iter().map(|(_, why)| why).collect();
        for why in reasons {
            let of: Vec<&str> = left.iter().filter(|(_, w)| w == why).map(|(by, _)| by.as_str()).collect();
            entry
                .remarks
                .push(format!("the foreign key over {} is left without the tenant: {why}", of.join(" and over ")));
        }
    }
}

fn why_not(
    (child, own): (&Table, &Way),
    (parent, theirs): (&Table, &Way),
    edge: &Edge,
    agrees: bool,
) -> Option<String> {
    let open = |way: &Way| matches!(way, Way::Question(_));
    if open(own) || open(theirs) {
        return Some("a question is open".to_owned());
    }
    if edge.says == Says::NotValid {
        return Some("it is not validated".to_owned());
    }
    if let Way::Sql { needs, .. } = theirs
        && needs.contains(&child.name)
    {
        return Some(format!("a row of {} gets its tenant from those that point at it", parent.name));
    }
    if !agrees {
        return Some("nobody counted whether all rows lead to their own tenant".to_owned());
    }
    if let Some(table) = [child, parent].into_iter().find(|table| table.shape != Shape::Plain) {
        return Some(format!("{} has partitions or children", table.name));
    }
    let alike = |reference: &&Reference| {
        let pairs = reference.columns.iter().zip(&reference.to);
        reference.table == parent.name
            && pairs.clone().all(|(a, b)| edge.columns.iter().any(|(c, p)| (a, b) == (c, p)))
            && pairs.len() == edge.columns.len()
    };
    let same: Vec<&Reference> = child.references.iter().filter(alike).collect();
    match same.as_slice() {
        [one] => one.fixed.clone(),
        several => Some(format!("{} foreign keys lead the same way", several.len())),
    }
}

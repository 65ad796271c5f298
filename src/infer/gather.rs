//! Puts the decisions together as the draft of a plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql::Ident;

use super::{
    composite::Keys,
    draft::{Draft, Entry, Gate, Made, Root, Shared, Way},
    edge::{Edge, name, qname},
    facts::{OtherKind, Role, Shape, Table},
    implied::polymorphic,
    keys,
    measure::{Settled, Ways},
    names::{is_book, is_lookup},
    root::Candidate,
    session::Wishes,
    single::Single,
    ways::{self, Verdict, above},
};

/// The setting where the user names none.
const SETTING: &str = "app.tenant_id";

/// Everything that was decided.
pub(super) struct Found<'a> {
    pub ways: Ways<'a>,
    /// Of tables that a way leads on from.
    pub verdicts: BTreeMap<usize, Verdict>,
    /// Of tables that only others point at.
    pub upward: BTreeMap<usize, Verdict>,
    pub shared: BTreeMap<usize, String>,
    pub why: Vec<String>,
    /// Where the registry is not clear.
    pub candidates: Vec<Candidate>,
    pub column: Ident,
    pub column_why: String,
    /// To whom every row belongs that no way leads on from.
    pub single: Option<Single>,
    /// The registry is to be made.
    pub made: Option<Made>,
}

pub(super) fn gather(found: &Found<'_>, wishes: &Wishes) -> Draft {
    let facts = found.ways.facts;
    let mut ways: Vec<Option<Way>> = vec![None; facts.tables.len()];
    let mut sequence = order(found);
    for at in &sequence {
        ways[*at] = Some(decided(found, *at));
    }
    let (mut asked, mut shared) = (Vec::new(), Vec::new());
    for (at, table) in facts.tables.iter().enumerate().filter(|(at, _)| !found.ways.reach.has(*at)) {
        match (apart(found, at), &found.single, polymorphic(table)) {
            (Some(reason), ..) => shared.push(Shared { table: table.name.clone(), reason }),
            (None, Some(single), _) => {
                ways[at] = Some(Way::Value(single.value.clone()));
                sequence.push(at);
            }
            (None, None, Some(pair)) => asked.push(polymorph(found, table, &pair)),
            (None, None, None) => shared.push(Shared { table: table.name.clone(), reason: reason(found, at) }),
        }
    }
    let keys = Keys { facts, ways, root: found.ways.root };
    let mut entries: Vec<Entry> = sequence.into_iter().filter_map(|at| entry(found, &keys, at)).collect();
    entries.extend(asked);
    let root = &facts.tables[found.ways.root];
    let (roles, roles_why) = roles(&facts.roles);
    let (r#type, cut) = column_type(found, &root.key().map(|key| key.r#type.clone()).unwrap_or_default());
    Draft {
        root: Root {
            table: root.name.clone(),
            key: found.ways.key.clone(),
            r#type,
            why: found
                .why
                .iter()
                .chain(found.single.iter().flat_map(|single| &single.why))
                .cloned()
                .chain(cut)
                .collect(),
        },
        made: found.made.clone(),
        column: found.column.clone(),
        column_why: found.column_why.clone(),
        setting: wishes.setting.clone().unwrap_or_else(|| SETTING.to_owned()),
        roles,
        roles_why,
        gates: gates(found),
        entries,
        shared,
        others: facts.others.iter().map(|other| [&other.name.to_string(), ": ", said(other.kind)].concat()).collect(),
    }
}

/// The type of the column. A cast to varchar(5) would cut a longer setting short, to another tenant's key perhaps; but where
/// tables have the column already it is of the type that it has there.
fn column_type(found: &Found<'_>, key: &str) -> (String, Option<String>) {
    let text = "character varying";
    let adopted = found
        .ways
        .facts
        .tables
        .iter()
        .enumerate()
        .any(|(at, t)| at != found.ways.root && t.column(&found.column).is_some());
    match (key.starts_with(text), adopted) {
        (true, false) => (text.to_owned(), None),
        (true, true) if key != text => (
            key.to_owned(),
            Some(format!("a setting that is longer than {key} is cut to that: let the application check it")),
        ),
        (true | false, _) => (key.to_owned(), None),
    }
}

/// Each table after those that it gets its tenant from.
fn order(found: &Found<'_>) -> Vec<usize> {
    let ways = &found.ways;
    let (mut out, mut done) = (Vec::new(), BTreeSet::new());
    let mut left: Vec<usize> = ways.reach.order.clone();
    while !left.is_empty() {
        let ready = |table: &&usize| {
            above(ways.edges, ways.settled, &ways.reach.first, **table).iter().all(|at| done.contains(at))
        };
        // Where questions go round in a circle, the nearest stands first.
        let next = left.iter().find(ready).or(left.first()).copied();
        let Some(next) = next else { break };
        left.retain(|table| *table != next);
        done.insert(next);
        out.push(next);
    }
    out
}

/// Why a table that no way leads on from belongs to no tenant, where it is not the single tenant's.
fn apart(found: &Found<'_>, at: usize) -> Option<String> {
    let name = &found.ways.facts.tables[at].name.name;
    if let Some(reason) = found.shared.get(&at) {
        return Some(reason.clone());
    }
    found.single.as_ref()?;
    if is_book(name) {
        return Some("a tool keeps in it what it did to the schema".to_owned());
    }
    is_lookup(name).then(|| {
        "a list that everybody reads, by its name; if it is not, take this out and give it the value of the others"
            .to_owned()
    })
}

/// The way of a table that is reached.
fn decided(found: &Found<'_>, at: usize) -> Way {
    match (found.verdicts.get(&at).or_else(|| found.upward.get(&at)), &found.single) {
        (None, _) => root(found),
        // What only others point at is the single tenant's like all the rest.
        (Some(Verdict { question: Some(_), .. }), Some(single)) if found.upward.contains_key(&at) => {
            Way::Value(single.value.clone())
        }
        (Some(Verdict { question: Some(question), .. }), _) => Way::Question(question.clone()),
        (Some(verdict), _) => way(found, &verdict.settled),
    }
}

fn entry(found: &Found<'_>, keys: &Keys<'_>, at: usize) -> Option<Entry> {
    let (ways, table) = (&found.ways, &found.ways.facts.tables[at]);
    let verdict = found.verdicts.get(&at).or_else(|| found.upward.get(&at));
    let mut out = Entry {
        table: table.name.clone(),
        way: keys.ways.get(at).cloned().flatten()?,
        why: verdict.map(|verdict| verdict.why.clone()).unwrap_or_default(),
        index: None,
        index_why: None,
        unique: Vec::new(),
        remarks: Vec::new(),
        composite: Vec::new(),
    };
    if at == ways.root {
        if found.made.is_none() {
            remarks(table, &mut out.remarks);
        }
        return Some(out);
    }
    remarks(table, &mut out.remarks);
    let has = |table: usize| keys.ways.get(table).is_some_and(Option::is_some);
    let own = |edge: &&Edge| edge.child == at && has(edge.parent) && edge.parent != at;
    let decides = |column: &Ident| {
        *column == found.column
            || ways.edges.iter().filter(own).any(|e| matches!(e.columns.as_slice(), [(c, _)] if c == column))
    };
    let (unique, left) = keys::unique(table, decides);
    out.unique = unique;
    out.remarks.extend(left);
    (out.index, out.index_why) = keys::indexes(table, &found.column);
    let agreeing: Vec<usize> = match verdict {
        Some(Verdict { settled: Settled::Parents(hops), question: None, gates, .. }) => {
            hops.iter().chain(gates).copied().collect()
        }
        Some(_) | None => Vec::new(),
    };
    keys.decide(at, ways.edges, &agreeing, &mut out);
    Some(out)
}

fn root(found: &Found<'_>) -> Way {
    if let Some(question) = found.single.as_ref().and_then(|single| single.question.as_ref()) {
        return Way::Question(question.clone());
    }
    if found.candidates.is_empty() {
        return Way::Registry;
    }
    let each: Vec<String> = found.candidates.iter().map(|c| format!("{} ({})", c.table, c.reason)).collect();
    Way::Question(format!(
        "is this the table of the tenants? Name it with init --tenant-table; what may be meant: {}",
        each.join("; ")
    ))
}

fn way(found: &Found<'_>, settled: &Settled) -> Way {
    let ways = &found.ways;
    let needs = |tables: Vec<usize>| {
        let others: BTreeSet<usize> = tables.into_iter().filter(|at| *at != ways.root).collect();
        others.into_iter().filter_map(|at| qname(ways.facts, at).cloned()).collect()
    };
    match settled {
        Settled::Registry => Way::Registry,
        Settled::Parents(hops) => match hops.as_slice() {
            [hop] => {
                let edge = &ways.edges[*hop];
                match qname(ways.facts, edge.parent) {
                    Some(table) => Way::Parent { table: table.clone(), columns: edge.columns.clone() },
                    None => Way::Question("no way is known".to_owned()),
                }
            }
            hops => Way::Sql {
                text: ways::text(ways, hops, &found.column),
                needs: needs(hops.iter().map(|hop| ways.edges[*hop].parent).collect()),
            },
        },
        Settled::Users(hops) => Way::Sql {
            text: ways::users_text(ways, hops, &found.column),
            needs: needs(hops.iter().map(|hop| ways.edges[*hop].child).collect()),
        },
        Settled::Open => Way::Question("no way is known".to_owned()),
    }
}

fn polymorph(found: &Found<'_>, table: &Table, pair: &str) -> Entry {
    let mut remarks_of = Vec::new();
    remarks(table, &mut remarks_of);
    Entry {
        table: table.name.clone(),
        way: Way::Question(format!(
            "{pair} point at rows of several tables, so no foreign key leads to {}: write the way as sql, or the table as [[shared]]",
            name(found.ways.facts, found.ways.root)
        )),
        why: Vec::new(),
        index: None,
        index_why: None,
        unique: Vec::new(),
        remarks: remarks_of,
        composite: Vec::new(),
    }
}

fn remarks(table: &Table, out: &mut Vec<String>) {
    match table.shape {
        Shape::Plain => {}
        Shape::Partitioned { below } => {
            out.push(format!("partitioned: what is done here is done to its {below} partitions"))
        }
        Shape::Inherited { below } => out.push(format!("{below} tables inherit from it and are done with it")),
    }
    if table.primary.is_empty() {
        out.push("it has no primary key".to_owned());
    }
    if table.rls || !table.policies.is_empty() {
        let policies = if table.policies.is_empty() { "no policy".to_owned() } else { table.policies.join(", ") };
        let on = if table.rls { "on" } else { "off" };
        out.push(format!("row-level security is {on} here already, with {policies}"));
    }
}

fn gates(found: &Found<'_>) -> Vec<Gate> {
    let ways = &found.ways;
    let mut out = Vec::new();
    for (at, verdict) in found.verdicts.iter().filter(|(_, verdict)| verdict.question.is_none()) {
        for edge in verdict.gates.iter().map(|hop| &ways.edges[*hop]) {
            let (Some(table), Some(parent)) = (qname(ways.facts, *at), qname(ways.facts, edge.parent)) else {
                continue;
            };
            // A parent that waits for an answer has no tenant yet.
            let open =
                |at: &usize| found.verdicts.get(at).or(found.upward.get(at)).is_some_and(|v| v.question.is_some());
            if open(&edge.parent) {
                continue;
            }
            out.push(Gate {
                table: table.clone(),
                parent: parent.clone(),
                columns: edge.columns.clone(),
                column: (edge.parent == ways.root).then(|| ways.key.clone()),
                optional: edge.nullable,
            });
        }
    }
    out
}

fn reason(found: &Found<'_>, at: usize) -> String {
    let root = name(found.ways.facts, found.ways.root);
    let users: BTreeSet<String> =
        found.ways.edges.iter().filter(|e| e.parent == at).map(|e| name(found.ways.facts, e.child)).collect();
    if users.is_empty() {
        return format!("no foreign key leads from it to {root}, and no row of a tenant points at it");
    }
    let users: Vec<String> = users.into_iter().collect();
    format!("no foreign key leads from it to {root}; only shared tables point at it ({})", users.join(", "))
}

fn said(kind: OtherKind) -> &'static str {
    match kind {
        OtherKind::View => {
            "a view that runs with its owner's rights: ALTER VIEW … SET (security_invoker = true), from 15 on"
        }
        OtherKind::InvokerView => "a view that runs with the caller's rights",
        OtherKind::MaterializedView => {
            "a materialised view: it holds rows of every tenant, and no policy applies to it"
        }
        OtherKind::ForeignTable => "a foreign table: it cannot have row-level security",
    }
}

/// The application's roles, and what is known of each.
fn roles(all: &[Role]) -> (Vec<Ident>, Vec<String>) {
    let (mut roles, mut why) = (Vec::new(), Vec::new());
    for role in all {
        let mut said = Vec::new();
        let many = |n: i64, what: &str| if n == 1 { format!("{what} 1 table") } else { format!("{what} {n} tables") };
        for (n, what) in [(role.owns, "owns"), (role.reads, "reads"), (role.writes, "writes")] {
            if n > 0 {
                said.push(many(n, what));
            }
        }
        if role.sessions > 0 {
            said.push(format!("has {} sessions now", role.sessions));
        }
        let is_application = role.owns == 0 && !role.exempt && (role.reads > 0 || role.writes > 0);
        if role.exempt {
            said.push("no policy binds it".to_owned());
        }
        why.push(format!("{}: {}", role.name, said.join(", ")));
        if is_application {
            roles.push(role.name.clone());
        }
    }
    if roles.is_empty() {
        why.push(
            "no role but owners has privileges on these tables: let the application connect as one that owns nothing"
                .to_owned(),
        );
    }
    (roles, why)
}

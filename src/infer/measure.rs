//! What only the rows can tell: statements that count, each bounded, and their answers.
//!
//! A table of many rows is sampled by whole pages, and so is said; whoever runs a statement gives it a time limit.

use std::collections::BTreeMap;

use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
};

use super::{
    edge::{Edge, Says},
    facts::{Facts, Table},
    graph::Reach,
};

/// More rows than this are sampled: a scan of a million rows with its joins is a matter of seconds.
const SAMPLE_ROWS: i64 = 1_000_000;
/// Where a table was never analysed its rows are estimated by its size: a middling row, as elsewhere.
const ROW_BYTES: i64 = 128;
/// Beyond, a way is not measured: the planner's own time would be the answer's.
const JOINS_MAX: usize = 40;
/// A way of more hops than this goes round in a circle.
const HOPS_MAX: usize = 24;

/// One statement that counts. It returns an array of bigint and an example, a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// For people: what is counted.
    pub about: String,
    pub stmt: Stmt,
    /// Only some pages of the table are read.
    pub sampled: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    Counts {
        counts: Vec<i64>,
        example: Option<String>,
    },
    /// Not counted, and why: it ran into its time limit, say.
    Unknown(String),
}

/// The answers so far, by the statement's text.
pub type Answers = BTreeMap<String, Counted>;

/// What is settled of a table so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// The registry itself.
    Registry,
    /// By the parents that these hops lead to: the first that a row has.
    Parents(Vec<usize>),
    /// By the rows that point at it over these hops.
    Users(Vec<usize>),
    /// Nothing yet, or a person has to say.
    Open,
}

/// Puts together the SQL that finds the tenant of a row.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    pub facts: &'a Facts,
    pub edges: &'a [Edge],
    pub reach: &'a Reach,
    pub settled: &'a BTreeMap<usize, Settled>,
    pub root: usize,
    pub key: &'a Ident,
}

/// An expression under way: the joins that it needs.
#[derive(Debug, Default)]
struct Joins {
    made: Vec<Stmt>,
    names: usize,
}

impl Joins {
    fn alias(&mut self) -> Stmt {
        self.names += 1;
        sql!("t{}", self.names)
    }
}

impl Ways<'_> {
    /// The tenant of the row that is called `row`; `None` where that is too much to ask.
    fn tenant(&self, row: &Stmt, table: usize, joins: &mut Joins, hops: usize) -> Option<Stmt> {
        if table == self.root {
            return Some(sql!("{}.{}", row, self.key));
        }
        let parents = match self.settled.get(&table) {
            Some(Settled::Parents(parents)) => parents.clone(),
            Some(Settled::Users(users)) => return self.by_users(row, users, joins, hops),
            Some(Settled::Registry | Settled::Open) | None => vec![*self.reach.first.get(&table)?],
        };
        let each: Option<Vec<Stmt>> = parents.iter().map(|edge| self.over(row, *edge, joins, hops)).collect();
        match each?.as_slice() {
            [one] => Some(one.clone()),
            several => Some(sql!("coalesce({})", List(several, ", "))),
        }
    }

    /// The same over one hop.
    fn over(&self, row: &Stmt, edge: usize, joins: &mut Joins, hops: usize) -> Option<Stmt> {
        let edge = &self.edges[edge];
        if let [(child, parent)] = edge.columns.as_slice()
            && (edge.parent, edge.says, parent) == (self.root, Says::ForeignKey, self.key)
        {
            return Some(sql!("{}.{}", row, child));
        }
        if joins.made.len() >= JOINS_MAX || hops >= HOPS_MAX {
            return None;
        }
        let (alias, table) = (joins.alias(), self.name(edge.parent)?);
        let on: Vec<Stmt> = edge.columns.iter().map(|(c, p)| sql!("{}.{} = {}.{}", alias, p, row, c)).collect();
        joins.made.push(sql!("LEFT JOIN {} AS {} ON {}", table, alias, List(&on, " AND ")));
        self.tenant(&alias, edge.parent, joins, hops + 1)
    }

    fn by_users(&self, row: &Stmt, users: &[usize], joins: &mut Joins, hops: usize) -> Option<Stmt> {
        if hops >= HOPS_MAX {
            return None;
        }
        let mut each = Vec::new();
        for edge in users.iter().map(|at| &self.edges[*at]) {
            let alias = joins.alias();
            let mut own = Joins { made: Vec::new(), names: joins.names };
            let tenant = self.tenant(&alias, edge.child, &mut own, hops + 1)?;
            joins.names = own.names;
            let on: Vec<Stmt> = edge.columns.iter().map(|(c, p)| sql!("{}.{} = {}.{}", alias, c, row, p)).collect();
            each.push(sql!(
                "(SELECT {} FROM {} AS {} {} WHERE {} LIMIT 1)",
                tenant,
                self.name(edge.child)?,
                alias,
                List(&own.made, " "),
                List(&on, " AND ")
            ));
        }
        Some(sql!("coalesce({})", List(&each, ", ")))
    }

    fn name(&self, table: usize) -> Option<&QName> {
        self.facts.tables.get(table).map(|table| &table.name)
    }

    /// Counts of a table's rows: all, those that each hop leads nowhere for, those that all do, and for each hop but the first
    /// those for which it leads to another tenant than the first.
    pub fn disagreements(&self, table: usize, hops: &[usize]) -> Option<Measure> {
        let facts = self.facts.tables.get(table)?;
        let (row, mut joins) = (sql!("{}", Stmt::raw("t0")), Joins::default());
        let tenants: Option<Vec<Stmt>> = hops.iter().map(|hop| self.over(&row, *hop, &mut joins, 0)).collect();
        let tenants: Vec<Stmt> = tenants?.iter().enumerate().map(|(n, tenant)| sql!("{} AS w{}", tenant, n)).collect();
        let names: Vec<Stmt> = (0..tenants.len()).map(|n| sql!("w{}", n)).collect();
        let mut counts = vec![sql!("count(*)")];
        counts.extend(names.iter().map(|name| sql!("count(*) FILTER (WHERE {} IS NULL)", name)));
        counts.push(sql!("count(*) FILTER (WHERE coalesce({}) IS NULL)", List(&names, ", ")));
        let other = |name: &Stmt| sql!("count(*) FILTER (WHERE {} <> w0)", name);
        counts.extend(names.iter().skip(1).map(other));
        let example = |(n, name): (usize, &Stmt)| {
            let by = Literal::new(format!(" by {}, ", self.edges[hops[0]].by()));
            let against = Literal::new(format!(" by {}", self.edges[hops[n]].by()));
            sql!("WHEN {0} <> w0 THEN concat(who, ': ', w0, {1}, {0}, {2})", name, by, against)
        };
        let mut examples: Vec<Stmt> = names.iter().enumerate().skip(1).map(example).collect();
        examples.push(sql!("WHEN coalesce({}) IS NULL THEN concat(who, ': none')", List(&names, ", ")));
        let (sample, sampled) = sample(facts);
        Some(Measure {
            about: format!("{}: ways", facts.name),
            stmt: sql!(
                "SELECT ARRAY[{}]::bigint[], min(CASE {} END) FROM (SELECT {} AS who, {} FROM {} AS t0 {} {}) s",
                List(&counts, ", "),
                List(&examples, " "),
                who(facts),
                List(&tenants, ", "),
                facts.name,
                sample,
                List(&joins.made, " ")
            ),
            sampled,
        })
    }

    /// Counts of a table that others point at: its rows, those that any row with a tenant points at, those that rows of several
    /// tenants point at, and the tenants.
    pub fn users(&self, table: usize, hops: &[usize]) -> Option<Measure> {
        let (name, root) = (self.name(table)?, self.name(self.root)?);
        let (mut each, mut named) = (Vec::new(), 0);
        for edge in hops.iter().map(|at| &self.edges[*at]) {
            let row = Stmt::raw("t0");
            let mut joins = Joins { made: Vec::new(), names: named };
            let tenant = self.tenant(&row, edge.child, &mut joins, 0)?;
            named = joins.names;
            let key: Vec<Stmt> = edge.columns.iter().map(|(c, _)| sql!("t0.{}", c)).collect();
            let there: Vec<Stmt> = key.iter().map(|column| sql!("{} IS NOT NULL", column)).collect();
            each.push(sql!(
                "SELECT concat_ws(', ', {}) AS k, {} AS t FROM {} AS t0 {} WHERE {}",
                List(&key, ", "),
                tenant,
                self.name(edge.child)?,
                List(&joins.made, " "),
                List(&there, " AND ")
            ));
        }
        Some(Measure {
            about: format!("{name}: users"),
            stmt: sql!(
                "SELECT ARRAY[(SELECT count(*) FROM {}), count(*), count(*) FILTER (WHERE n > 1), (SELECT count(*) FROM {})]::bigint[],
                        min(CASE WHEN n > 1 THEN concat(k, ' is used by ', n, ' tenants') END)
                   FROM (SELECT k, count(DISTINCT t) AS n FROM ({}) u WHERE t IS NOT NULL GROUP BY k) s",
                name,
                root,
                List(&each, " UNION ALL ")
            ),
            sampled: false,
        })
    }
}

/// What a row is called by in an example.
fn who(table: &Table) -> Stmt {
    if table.primary.is_empty() {
        return Stmt::raw("t0.ctid::text");
    }
    let key: Vec<Stmt> = table.primary.iter().map(|column| sql!("t0.{}", column)).collect();
    sql!("concat_ws(', ', {})", List(&key, ", "))
}

fn sample(table: &Table) -> (Stmt, bool) {
    let rows = table.rows.unwrap_or(table.bytes / ROW_BYTES);
    if rows <= SAMPLE_ROWS {
        return (Stmt::raw(""), false);
    }
    let per_million = SAMPLE_ROWS.saturating_mul(1_000_000) / rows;
    let percent = Literal::new(format!("{}.{:04}", per_million / 10_000, per_million % 10_000));
    (sql!("TABLESAMPLE SYSTEM ({})", percent), true)
}

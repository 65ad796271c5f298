//! Takes a column away and keeps it: it gets the name `tenantmig_dropped_COLUMN`, and nothing of it is destroyed.
//!
//! Renamed and not dropped, since a column that was dropped never comes back where it was: ADD COLUMN puts it last, so that `SELECT *`,
//! an INSERT without names and a dump would all tell. Under its other name it keeps its place, type, collation, default, NOT NULL,
//! identity, comment, statistics target, storage and grants, and every value, whether the table has a key or not; no row is read,
//! written or copied, in either direction. (DROP COLUMN would give no room back either, until the table is written anew.)
//! So `SELECT *` goes on showing it, and who may read the whole table may read it; a subscriber of a published table needs the other name.
//! Rows that are written while it is away get its default. A NOT NULL column without one would refuse them, so there `meanwhile` says what
//! they get (an expression, as DEFAULT takes it).
//! What rests on the column (an index, a constraint, a view, a policy, a trigger that names it, another column that is computed from it) is
//! named before anything is touched. What a function's text or the application names the server does not know: look for it.
//! Lock: ACCESS EXCLUSIVE for a moment; the catalogue changes, no row does.
//! Undo: the column has its name again, and its default. To be rid of it for good, which ends the way back: `status` shows the statement
//! (ALTER TABLE … DROP COLUMN tenantmig_dropped_…), which a later phase may run as an `sql` step that says `irreversible`.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    checks::{Gate, Guard, Measure},
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, Literal, QName, Stmt, block, where_column},
    unit::{DROPPED_COLUMN, Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// How the names of such columns begin.
pub const PREFIX: &str = DROPPED_COLUMN;

/// A step of the kind `drop_column`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropColumn {
    table: QName,
    column: Ident,
    meanwhile: Option<Expr>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind      = "drop_column"
table     = "app.trades"
column    = "symbol"
meanwhile = "'?'"
"#;

impl StepKind for DropColumn {
    fn default_id(&self) -> String {
        format!("drop-{}-{}", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column, kept) = (&self.table, &self.column, self.kept());
        vec![Unit {
            id: cx.unit("column"),
            title: format!("take the column {column} of {table} away, kept as {kept}"),
            up: Op::Tx([self.fill(), vec![self.rename(column, &kept)]].concat()),
            down: Down::tx([self.rename(&kept, column)]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        let (table, column, kept) = (&self.table, &self.column, self.kept());
        let query = sql!(
            "SELECT {}, 1::bigint, NULL::text WHERE to_regclass({}) IS NOT NULL AND NOT EXISTS ({}) AND NOT EXISTS ({})",
            Literal::new(format!("{table} has no column {kept} any more: nothing can bring {column} back")),
            Literal::new(table.to_string()),
            named(table, column),
            named(table, &kept)
        );
        let gate = Gate {
            id: format!("kept_column:{table}.{column}"),
            kind: "kept_column".to_owned(),
            title: format!("{table}.{column} is still kept, and can come back"),
            query,
            baseline: None,
            tables: Vec::new(),
            wait: None,
            measure: Measure::Query,
        };
        vec![Guard { gate, of: Some(cx.unit("column")), consent: None }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![
            ("table", Object::Table(self.table.clone())),
            ("column", Object::Column(self.table.clone(), self.column.clone())),
        ]
    }

    fn hindrance(&self) -> Option<(&'static str, Stmt)> {
        Some(("column", self.obstacles()))
    }
}

impl DropColumn {
    /// Its name while it is away.
    fn kept(&self) -> Ident {
        Ident::derived(&["tenantmig_dropped", self.column.as_str()])
    }

    /// A rename that may run twice: PostgreSQL has no IF EXISTS for it. It reaches the columns of partitions and children.
    fn rename(&self, from: &Ident, to: &Ident) -> Stmt {
        let table = &self.table;
        block(&sql!(
            "
BEGIN
    IF EXISTS ({}) THEN
        ALTER TABLE {} RENAME COLUMN {} TO {};
    END IF;
END ",
            named(table, from),
            table,
            from,
            to
        ))
    }

    /// What rows that are written meanwhile get where nothing else gives them a value.
    fn fill(&self) -> Vec<Stmt> {
        let (table, column) = (&self.table, &self.column);
        let Some(meanwhile) = &self.meanwhile else { return Vec::new() };
        vec![block(&sql!(
            "
DECLARE bare record;
BEGIN
    FOR bare IN {} SELECT * FROM bare LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', bare.rel, {}, {});
    END LOOP;
END ",
            with_bare(table, column),
            Literal::new(column.as_str()),
            Literal::new(meanwhile.as_str())
        ))]
    }

    /// The default that `meanwhile` sets is taken away again by the probe's `restore`, where none was.
    fn probe(&self) -> Probe {
        let (table, column, kept) = (&self.table, &self.column, self.kept());
        let restore = match &self.meanwhile {
            Some(_) => {
                let name = sql!("{}", Literal::new(column.as_str()));
                let said = sql!("format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT', b.tab, {})", name);
                sql!(
                    "(SELECT array_agg({} ORDER BY b.tab) FROM bare b)",
                    where_column(&Stmt::raw("b.tab"), &name, &said)
                )
            }
            None => Stmt::raw("NULL::text[]"),
        };
        Probe::catalog(sql!(
            "{} SELECT CASE WHEN NOT i.here THEN 'present' WHEN i.kept OR o.held IS NOT NULL THEN 'conflict' ELSE 'absent' END,
                    CASE WHEN NOT i.here THEN NULL WHEN i.kept THEN {} WHEN o.held IS NOT NULL THEN o.held ELSE 'the column' END, {}
               FROM (SELECT EXISTS ({}) AS here, EXISTS ({}) AS kept) i CROSS JOIN LATERAL (SELECT {} AS held) o",
            with_bare(table, column),
            Literal::new(format!("the column {kept}, which an earlier step kept")),
            restore,
            named(table, column),
            named(table, &kept),
            self.obstacles()
        ))
    }

    /// What rests on the column, or why it cannot go, in words; NULL where nothing does. A table's own default and sequence go with it;
    /// NOT NULL (a constraint since 18) stays.
    fn obstacles(&self) -> Stmt {
        let bare = match &self.meanwhile {
            Some(_) => Stmt::raw("NULL::regclass WHERE false"),
            None => Stmt::raw("b.rel FROM bare b"),
        };
        sql!(
            "({},
     found AS (
        SELECT CASE WHEN w.oid IS NOT NULL THEN pg_describe_object('pg_class'::regclass, w.ev_class, 0)
                    ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END || ' rests on it' AS what
          FROM columns c JOIN pg_depend d ON (d.refclassid, d.refobjid, d.refobjsubid) = ('pg_class'::regclass, c.rel::oid, c.attnum)
          LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
          LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
          LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
          LEFT JOIN pg_class s ON d.classid = 'pg_class'::regclass AND s.oid = d.objid
         WHERE k.contype IS DISTINCT FROM 'n' AND s.relkind IS DISTINCT FROM 'S'
           AND (a.adrelid, a.adnum) IS DISTINCT FROM (c.rel::oid, c.attnum)
        UNION SELECT format('it is a part of the partition key of %s', c.rel)
          FROM columns c JOIN pg_partitioned_table p ON p.partrelid = c.rel AND c.attnum = ANY (p.partattrs::int2[])
        UNION SELECT format('%s inherits it', c.rel) FROM columns c WHERE c.inherited AND c.top
        UNION SELECT format('rows of %s that are written meanwhile would have no value for it: write `meanwhile`, what they get', x.rel) FROM (SELECT {}) x (rel))
     SELECT string_agg(what, '; ' ORDER BY what) FROM found)",
            with_bare(&self.table, &self.column),
            bare
        )
    }
}

/// The column of that name, as a query of one row at most.
fn named(table: &QName, column: &Ident) -> Stmt {
    sql!(
        "SELECT FROM pg_attribute WHERE attrelid = to_regclass({}) AND attname = {} AND attnum > 0 AND NOT attisdropped",
        Literal::new(table.to_string()),
        Literal::new(column.as_str())
    )
}

/// `columns`: the column in the table and all that is below it; `bare`: where it is NOT NULL, be it by its domain, and nothing gives it a
/// value. A domain over a domain has the default of that one from when it was made.
fn with_bare(table: &QName, column: &Ident) -> Stmt {
    sql!(
        "WITH RECURSIVE family AS (
            SELECT to_regclass({0})::oid AS oid UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid),
     columns AS (
        SELECT f.oid::regclass AS rel, a.attnum, a.attinhcount > 0 AS inherited, f.oid = to_regclass({0}) AS top,
               (a.attnotnull OR d.filled) AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' AND y.typdefault IS NULL AS bare
          FROM family f JOIN pg_attribute a ON a.attrelid = f.oid AND a.attname = {1} AND a.attnum > 0 AND NOT a.attisdropped
          JOIN pg_type y ON y.oid = a.atttypid CROSS JOIN LATERAL (
               WITH RECURSIVE d AS (SELECT y.typbasetype AS base, y.typnotnull AS filled
                                    UNION ALL SELECT b.typbasetype, b.typnotnull FROM d JOIN pg_type b ON b.oid = d.base)
               SELECT bool_or(d.filled) AS filled FROM d) d),
     bare AS (SELECT c.rel, format('%s.%I', k.relnamespace::regnamespace, k.relname) AS tab FROM columns c JOIN pg_class k ON k.oid = c.rel WHERE c.bare)",
        Literal::new(table.to_string()),
        Literal::new(column.as_str())
    )
}

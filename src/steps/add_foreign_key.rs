//! Adds a foreign key.
//!
//! Lock: SHARE ROW EXCLUSIVE on both tables for a moment: the key is added NOT VALID, so new rows are checked and old ones are
//! not read. VALIDATE then reads the old rows under SHARE UPDATE EXCLUSIVE on the table and ROW SHARE on the referenced one,
//! which lets readers and writers go on. The two are transactions of their own, or the first lock would outlast the reading.
//! Before PostgreSQL 18 a partitioned table takes no NOT VALID key: there each partition gets it, VALIDATE reads one after the
//! other, and then the table's own key takes them in without reading a row.
//! Under FORCE ROW LEVEL SECURITY a plain owner's VALIDATE sees no rows and marks the key valid over orphans; it runs with
//! `row_security = off`, where PostgreSQL raises an error instead.
//! Undo: drops the key, unless it was there before; one that was there NOT VALID is NOT VALID again.

pub(super) mod leaves;

use leaves::Leaves;
use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `add_foreign_key`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddForeignKey {
    table: QName,
    columns: Vec<Ident>,
    references: References,
    /// Without one, the name that PostgreSQL would choose: `table_column_fkey`.
    name: Option<Ident>,
    #[serde(default)]
    on_delete: Action,
    #[serde(default)]
    on_update: Action,
    deferrable: Option<Deferrable>,
}

/// What the key points at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct References {
    table: QName,
    columns: Vec<Ident>,
}

/// What happens to a row when the row that it points at goes, or changes its key.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum Action {
    #[default]
    #[serde(rename = "no action")]
    Nothing,
    #[serde(rename = "restrict")]
    Restrict,
    #[serde(rename = "cascade")]
    Cascade,
    #[serde(rename = "set null")]
    SetNull,
    #[serde(rename = "set default")]
    SetDefault,
}

/// When a key that may wait until COMMIT is checked.
#[derive(Debug, Clone, Copy, Deserialize)]
enum Deferrable {
    #[serde(rename = "initially immediate")]
    Immediate,
    #[serde(rename = "initially deferred")]
    Deferred,
}

impl Action {
    /// As SQL says it, and as `confdeltype` and `confupdtype` store it.
    pub(super) fn sql(self) -> (Stmt, Literal) {
        let (words, code) = match self {
            Self::Nothing => ("NO ACTION", "a"),
            Self::Restrict => ("RESTRICT", "r"),
            Self::Cascade => ("CASCADE", "c"),
            Self::SetNull => ("SET NULL", "n"),
            Self::SetDefault => ("SET DEFAULT", "d"),
        };
        (Stmt::raw(words), Literal::new(code))
    }

    /// Whether it writes the key's own columns over.
    pub(super) fn clears(self) -> bool {
        match self {
            Self::SetNull | Self::SetDefault => true,
            Self::Nothing | Self::Restrict | Self::Cascade => false,
        }
    }
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind       = "add_foreign_key"
table      = "app.trades"
columns    = ["user_id"]
references = { table = "app.users", columns = ["id"] }
on_delete  = "cascade"
"#;

impl StepKind for AddForeignKey {
    fn default_id(&self) -> String {
        self.name().as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let parent = &self.references;
        if self.columns.is_empty() {
            site.error("columns", "TM0240", "a foreign key has at least one column");
        }
        if self.columns.len() != parent.columns.len() {
            let (ours, theirs) = (self.columns.len(), parent.columns.len());
            site.error("references", "TM0241", format!("the key has {} and references {}", count(ours), count(theirs)))
                .help("name as many columns in `references` as in `columns`, in the same order");
        }
        for (key, columns) in [("columns", &self.columns), ("references", &parent.columns)] {
            if let Some(twice) = columns.iter().enumerate().find(|(i, c)| columns[..*i].contains(c)) {
                site.error(key, "TM0242", format!("the column `{}` is named twice", twice.1.as_str()));
            }
        }
        if self.table == parent.table && self.columns == parent.columns && !self.columns.is_empty() {
            site.error("references", "TM0243", "the key references its own columns, so it would forbid nothing");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, name, parent) = (&self.table, self.name(), &self.references.table);
        let add = sql!("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID", table, name, self.definition());
        let drop = sql!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", table, name);
        let validate = sql!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table, name);
        let leaves = Leaves { table, name: &name, definition: self.definition() };
        let by_leaf = cx.server.version_num < NOT_VALID_ON_PARTITIONED;
        let (add, validate, gone) = if by_leaf {
            (leaves.add(), leaves.validate(), vec![drop.clone(), leaves.drop()])
        } else {
            (add, validate, vec![drop.clone()])
        };
        let both = Lock::on(LockLevel::ShareRowExclusive, table, Hold::Moment);
        let columns: Vec<&str> = self.columns.iter().map(Ident::as_str).collect();
        vec![
            Unit {
                id: cx.unit("add"),
                title: format!(
                    "add foreign key {name} from {table} ({}) to {parent}, not validated",
                    columns.join(", ")
                ),
                up: Op::Tx(vec![add.clone()]),
                down: Down::tx(gone),
                probe: self.probe(&name, &sql!("true"), &sql!("s.has")),
                lock: if parent == table { both } else { both.and(parent) },
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
            Unit {
                id: cx.unit("validate"),
                title: format!("validate foreign key {name} of {table}"),
                up: Op::Tx(vec![validate]),
                // PostgreSQL cannot take a validation back. Where `add` is ours too, its undo drops the key next; where the
                // key was there before, NOT VALID, this leaves it as it was, its comment included (the probe's `restore`).
                down: Down::tx([drop, add]),
                probe: self.probe(&name, &sql!("c.convalidated"), &sql!("false")),
                lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
        ]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let parent = &self.references;
        let ours = self.columns.iter().map(|c| ("columns", Object::Column(self.table.clone(), c.clone())));
        let theirs = parent.columns.iter().map(|c| ("references", Object::Column(parent.table.clone(), c.clone())));
        ours.chain(theirs).collect()
    }
}

impl AddForeignKey {
    fn name(&self) -> Ident {
        let columns = self.columns.iter().map(Ident::as_str);
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(columns).chain(["fkey"]).collect();
        self.name.clone().unwrap_or_else(|| Ident::derived(&parts))
    }

    fn definition(&self) -> Stmt {
        let deferrable = match self.deferrable {
            None => "",
            Some(Deferrable::Immediate) => " DEFERRABLE INITIALLY IMMEDIATE",
            Some(Deferrable::Deferred) => " DEFERRABLE INITIALLY DEFERRED",
        };
        sql!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON UPDATE {} ON DELETE {}{}",
            List(&self.columns, ", "),
            self.references.table,
            List(&self.references.columns, ", "),
            self.on_update.sql().0,
            self.on_delete.sql().0,
            Stmt::raw(deferrable)
        )
    }

    /// The constraint of that name, compared part by part. `confdelsetcols` came with 15 and `conenforced` with 18, so both are
    /// read through JSON. `done`: whether it is as far as the unit brings it; `by_leaf`: whether the leaves are, where the table
    /// has none of its own yet.
    fn probe(&self, name: &Ident, done: &Stmt, by_leaf: &Stmt) -> Probe {
        let (deferrable, deferred) = match self.deferrable {
            None => ("false", "false"),
            Some(Deferrable::Immediate) => ("true", "false"),
            Some(Deferrable::Deferred) => ("true", "true"),
        };
        let same = sql!(
            "(c.contype, c.confrelid, c.confupdtype, c.confdeltype, c.confmatchtype, c.condeferrable, c.condeferred)
               = ('f', t.parent::oid, {}, {}, 's', {}, {})
             AND {} AND {}
             AND to_jsonb(c) ->> 'confdelsetcols' IS NULL AND coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true'",
            self.on_update.sql().1,
            self.on_delete.sql().1,
            Stmt::raw(deferrable),
            Stmt::raw(deferred),
            has_columns(&sql!("c.conrelid"), &sql!("c.conkey"), &self.columns),
            has_columns(&sql!("c.confrelid"), &sql!("c.confkey"), &self.references.columns)
        );
        let leaves = Leaves { table: &self.table, name, definition: self.definition() };
        Probe::catalog(sql!(
            "SELECT CASE WHEN c.oid IS NOT NULL THEN CASE WHEN ({0}) IS NOT TRUE THEN 'conflict' WHEN {1} THEN 'present' ELSE 'absent' END
                         WHEN s.why IS NOT NULL THEN 'conflict'
                         WHEN k.relkind = 'p' AND v.num < {2} AND {3} THEN 'present'
                         WHEN k.relkind = 'p' AND v.num < {2} AND s.begun AND NOT s.has THEN 'conflict' ELSE 'absent' END,
                    CASE WHEN c.oid IS NOT NULL THEN format('constraint %I %s', c.conname, pg_get_constraintdef(c.oid))
                         ELSE coalesce(s.why, CASE WHEN s.begun THEN format('constraint %I on some or all partitions of %s', {4}, k.oid::regclass) END) END,
                    nullif(CASE WHEN d.said IS NOT NULL
                                THEN ARRAY[format('COMMENT ON CONSTRAINT %I ON %s.%I IS %L', c.conname, k.relnamespace::regnamespace, k.relname, d.said)]
                                WHEN c.oid IS NULL THEN s.restore END, '{{}}')
               FROM (SELECT to_regclass({5}) AS child, to_regclass({6}) AS parent) t
              CROSS JOIN (SELECT current_setting('server_version_num')::int AS num) v
               LEFT JOIN pg_class k ON k.oid = t.child
               LEFT JOIN pg_constraint c ON c.conrelid = t.child AND c.conname = {4}
               LEFT JOIN LATERAL ({7}) s ON true
              CROSS JOIN LATERAL (SELECT obj_description(c.oid, 'pg_constraint') AS said) d",
            same,
            done,
            NOT_VALID_ON_PARTITIONED,
            by_leaf,
            Literal::new(name.as_str()),
            Literal::new(self.table.to_string()),
            Literal::new(self.references.table.to_string()),
            leaves.state(&same)
        ))
    }
}

/// From this version on a partitioned table takes a foreign key NOT VALID.
pub(super) const NOT_VALID_ON_PARTITIONED: u32 = 180_000;

/// Whether the column numbers `key` of `rel` are those of `columns`, in their order.
fn has_columns(rel: &Stmt, key: &Stmt, columns: &[Ident]) -> Stmt {
    let names: Vec<Literal> = columns.iter().map(|c| Literal::new(c.as_str())).collect();
    sql!(
        "ARRAY(SELECT a.attname::text FROM unnest({}) WITH ORDINALITY AS n (num, at)
                 JOIN pg_attribute a ON a.attrelid = {} AND a.attnum = n.num ORDER BY n.at) = ARRAY[{}]::text[]",
        key,
        rel,
        List(&names, ", ")
    )
}

fn count(columns: usize) -> String {
    if columns == 1 { "1 column".to_owned() } else { format!("{columns} columns") }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{finds, lower};
    use crate::unit::Op;

    #[test]
    fn names_are_quoted_and_derived() {
        let step = r#"
kind       = "add_foreign_key"
table      = 'app."Mixed Case"'
columns    = ["größe", '"order"']
references = { table = "app.order", columns = ["a", "b"] }
on_update  = "set null"
deferrable = "initially deferred"
"#;
        let (units, diags) = lower(step, 180_000);
        assert_eq!(
            units.first().map(|unit| unit.up.clone()),
            Some(Op::Tx(vec![crate::sql!(
                r#"ALTER TABLE app."Mixed Case" ADD CONSTRAINT "Mixed Case_größe_order_fkey" FOREIGN KEY ("größe", "order") REFERENCES app."order" (a, b) ON UPDATE SET NULL ON DELETE NO ACTION DEFERRABLE INITIALLY DEFERRED NOT VALID"#
            )])),
            "{diags:?}"
        );
    }

    #[test]
    fn what_cannot_be_a_key_is_found() {
        let key = |columns: &str, references: &str| {
            format!("kind = \"add_foreign_key\"\ntable = \"app.t\"\ncolumns = {columns}\nreferences = {references}")
        };
        finds(super::EXAMPLE, &[]);
        finds(&key("[]", "{ table = \"app.p\", columns = [] }"), &["TM0240"]);
        finds(&key("[\"a\"]", "{ table = \"app.p\", columns = [\"a\", \"b\"] }"), &["TM0241"]);
        finds(&key("[\"a\", \"a\"]", "{ table = \"app.p\", columns = [\"b\", \"c\"] }"), &["TM0242"]);
        finds(&key("[\"a\"]", "{ table = \"app.t\", columns = [\"a\"] }"), &["TM0243"]);
    }
}

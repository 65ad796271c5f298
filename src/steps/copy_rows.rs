//! Copies the rows of one table into another, in batches, and keeps the copies true to their rows while the old application
//! goes on writing: two tables become one, and the old one stays.
//!
//! Lock: first SHARE ROW EXCLUSIVE on the source for a moment, for a trigger that takes over what is inserted, changed or
//! deleted there from then on. The batches read the source under ROW SHARE and insert into the target; the rows of a batch
//! can be read by everyone and changed again after its commit. What was copied is recorded, by its key, in a table beside
//! the target, in the batch's own transaction; so a killed run goes on where it was, no row is copied twice, and a row
//! that stood in the target before is never touched. At the end both tables are compared, row by row, in one snapshot.
//! Of one row that both applications change, the last change counts. An insert in the source whose key another row of the
//! target has is refused.
//! Undo: the trigger goes, and then the copies, in batches, by the record. Rows that others wrote into the target stay in it (a target
//! that the plan made is then put aside with them: see `create_table`); copies that were changed there, so that they say what their
//! rows do not, make the rollback ask first.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    checks::{CheckKind, Consent, Gate, Guard, Measure, duplicates::Duplicates},
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt},
    unit::{
        BATCH_ROWS_MAX, BackfillSpec, BackfillValue, CopySpec, Down, Due, Growth, Hold, Lock, LockLevel, OnOrphan, Op,
        Probe, Unit, alias,
    },
};

mod sync;

/// Copies that one transaction of the undo deletes.
const UNDO_BATCH_ROWS: u32 = 5_000;

/// A step of the kind `copy_rows`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyRows {
    from: QName,
    into: QName,
    /// Columns of the target, each with its value: an expression that sees the source's row as `row`.
    columns: BTreeMap<Ident, Expr>,
    /// The columns of the target that tell which row it is; a unique index is on them.
    key: Vec<Ident>,
    /// Only rows for which this is true are copied; sees the source's row as `row`.
    r#where: Option<Expr>,
    batch_rows: Option<u32>,
    /// The end of the names of the record, the trigger and its function, where the tables' own are too long.
    name: Option<Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "copy_rows"
from    = "app.old_messages"
into    = "app.messages"
columns = { id = "row.id", sender_id = "row.author", body = "row.body" }
key     = ["id"]
"#;

impl StepKind for CopyRows {
    fn default_id(&self) -> String {
        format!("{}-to-{}", self.from.name.as_str(), self.into.name.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.from == self.into {
            site.error("into", "TM0450", "the rows are copied into the table that they are in");
        }
        if self.key.is_empty() {
            site.error("key", "TM0451", "no column tells which row is which")
                .help("write the columns of the target's primary key, or of another unique index of it");
        }
        let without = self.key.iter().find(|key| !self.columns.contains_key(key));
        if let Some(key) = without {
            site.error("key", "TM0452", format!("the key's column {key} is not among `columns`"))
                .help(format!("say where it comes from: columns = {{ {key} = \"row.…\", … }}"));
        }
        let named = format!("{}_{}", self.from.name.as_str(), self.into.name.as_str());
        if let Err(why) = self.names() {
            site.error("into", "TM0453", format!("the record cannot be called after {named}: {why}"))
                .help("write `name`, a shorter one");
        }
        if let Some(rows) = self.batch_rows
            && !(1..=BATCH_ROWS_MAX).contains(&rows)
        {
            site.error("batch_rows", "TM0274", format!("a batch has 1 to {BATCH_ROWS_MAX} rows, not {rows}"))
                .help("a batch is one transaction, and holds the locks of its rows until it commits");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let Ok(names) = self.names() else { return Vec::new() };
        let spec = self.spec(&names);
        vec![self.record(cx, &spec), self.sync(cx, &names, &spec), self.copy(cx, spec)]
    }

    fn gates(&self, _cx: &Lowering<'_>) -> Vec<Gate> {
        let Ok(names) = self.names() else { return Vec::new() };
        let spec = self.spec(&names);
        let columns = self.key.clone();
        vec![self.all_are_there(&spec), Duplicates { table: self.into.clone(), columns }.lower()]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        let Ok(names) = self.names() else { return Vec::new() };
        let spec = self.spec(&names);
        let gate = self.nothing_changed(&spec);
        vec![Guard { gate, consent: Some(Consent::DataLoss), of: Some(cx.unit("copy")) }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let mut needs = vec![("from", Object::Table(self.from.clone())), ("into", Object::Table(self.into.clone()))];
        needs.extend(self.columns.keys().map(|column| ("columns", Object::Column(self.into.clone(), column.clone()))));
        needs
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        self.names().map(|names| vec![(Object::Table(names.record), "record")]).unwrap_or_default()
    }
}

/// What the step calls its own.
struct Names {
    record: QName,
    function: QName,
    trigger: Ident,
    truncate: Ident,
}

impl CopyRows {
    fn names(&self) -> Result<Names, String> {
        let end = match &self.name {
            Some(name) => name.as_str().to_owned(),
            None => format!("{}_{}", self.from.name.as_str(), self.into.name.as_str()),
        };
        let ident = |text: String| Ident::new(text).map_err(|why| why.to_string());
        Ok(Names {
            record: self.into.sibling(ident(format!("{end}_copied"))?),
            function: self.into.sibling(ident(format!("{end}_copy"))?),
            trigger: ident(format!("{end}_copy"))?,
            truncate: ident(format!("{end}_copy_all"))?,
        })
    }

    fn spec(&self, names: &Names) -> CopySpec {
        CopySpec {
            into: self.into.clone(),
            columns: self.columns.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            key: self.key.clone(),
            record: names.record.clone(),
        }
    }

    /// `AND …` for the rows that are meant.
    fn only(&self) -> Stmt {
        self.r#where.as_ref().map_or(Stmt::raw(""), |only| sql!(" AND ({})", only))
    }

    fn record(&self, cx: &Lowering<'_>, spec: &CopySpec) -> Unit {
        let record = &spec.record;
        let note = Literal::new(format!("tenantmig: the rows of {} that were copied from {}", self.into, self.from));
        Unit {
            id: cx.unit("record"),
            title: format!("create table {record}, the record of what is copied"),
            up: Op::Tx(vec![
                sql!("CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA", record, spec.keys(), self.into),
                sql!("ALTER TABLE {} ADD PRIMARY KEY ({})", record, spec.keys()),
                sql!("COMMENT ON TABLE {} IS {}", record, note),
            ]),
            down: Down::tx([sql!("DROP TABLE IF EXISTS {}", record)]),
            probe: Probe::catalog(sql!(
                "SELECT CASE WHEN t.rel IS NULL THEN 'absent' WHEN obj_description(t.rel, 'pg_class') = {} THEN 'present' ELSE 'conflict' END AS presence,
                        CASE WHEN t.rel IS NOT NULL THEN 'a relation of that name' END AS found, NULL::text[] AS restore
                   FROM (SELECT to_regclass({}) AS rel) t",
                note,
                Literal::new(record.to_string())
            )),
            lock: Lock::none(),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    fn sync(&self, cx: &Lowering<'_>, names: &Names, spec: &CopySpec) -> Unit {
        let sync = sync::Sync { from: &self.from, only: self.only(), names, spec };
        let down = Down::Op(Op::Autocommit {
            stmt: sync.undo_at_once(),
            repair: Vec::new(),
            due: Some(Due { table: self.into.clone(), query: sync.undo_due(UNDO_BATCH_ROWS), restores: false }),
        });
        Unit {
            id: cx.unit("sync"),
            title: format!(
                "create trigger {} on {}: what is written there is copied to {}",
                names.trigger, self.from, self.into
            ),
            up: Op::Tx(sync.create()),
            down,
            probe: sync.probe(),
            lock: Lock::on(LockLevel::ShareRowExclusive, &self.from, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    fn copy(&self, cx: &Lowering<'_>, spec: CopySpec) -> Unit {
        Unit {
            id: cx.unit("copy"),
            title: format!("copy the rows of {} into {}", self.from, self.into),
            up: Op::Backfill(BackfillSpec {
                table: self.from.clone(),
                column: self.key.first().cloned().unwrap_or_else(|| self.into.name.clone()),
                value: BackfillValue::Copy(Box::new(spec)),
                only: self.r#where.clone(),
                on_orphan: OnOrphan::Stop,
                batch_rows: self.batch_rows.unwrap_or(cx.backfill.batch_rows),
            }),
            down: Down::CoveredBy(cx.unit("sync")),
            probe: Probe::Ledger,
            lock: Lock::on(LockLevel::RowShare, &self.from, Hold::Batch).and(&self.into),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    fn gate(&self, name: &str, title: String, query: Stmt) -> Gate {
        Gate {
            id: format!("{name}:{}>{}", self.from, self.into),
            kind: "copied".to_owned(),
            title,
            query,
            baseline: None,
            tables: vec![self.from.clone(), self.into.clone()],
            wait: None,
            measure: Measure::Query,
        }
    }

    /// What the new application deletes later is still recorded, so that this holds as long as the old table is there.
    fn all_are_there(&self, spec: &CopySpec) -> Gate {
        let what = Literal::new(format!("{} has rows that {} has not", self.from, self.into));
        let query = sql!(
            "SELECT {} AS what, count(*) AS found, left(min(row::text), 200) AS example FROM {} AS row
              WHERE {}{} HAVING count(*) > 0",
            what,
            self.from,
            spec.is_due(),
            self.only()
        );
        self.gate("copied", format!("every row of {} was copied into {}", self.from, self.into), query)
    }

    /// Copies that say what the source does not are lost with them.
    fn nothing_changed(&self, spec: &CopySpec) -> Gate {
        let pairs = |of: &dyn Fn(&Ident, &Expr) -> Stmt| {
            let pairs: Vec<Stmt> = spec
                .columns
                .iter()
                .map(|(name, value)| sql!("{}, {}", Literal::new(name.as_str()), of(name, value)))
                .collect();
            sql!("jsonb_build_object({})", List(&pairs, ", "))
        };
        let query = sql!(
            "SELECT {} AS what, count(*) AS found, left(min(t::text), 200) AS example
               FROM {} AS c JOIN {} AS t ON {} LEFT JOIN {} AS row ON {}{}
              WHERE row.tableoid IS NULL
                 OR {} IS DISTINCT FROM (SELECT {} FROM jsonb_populate_record(NULL::{}, {}) AS p)
             HAVING count(*) > 0",
            Literal::new(format!("copies in {} say what their rows in {} do not", self.into, self.from)),
            spec.record,
            self.into,
            spec.same(&alias("t"), &alias("c")),
            self.from,
            spec.is_of_row(&alias("c")),
            self.only(),
            pairs(&|name, _| sql!("t.{}", name)),
            pairs(&|name, _| sql!("p.{}", name)),
            self.into,
            pairs(&|_, value| sql!("({})", value))
        );
        self.gate("unchanged", format!("no copy in {} was changed since", self.into), query)
    }
}

//! Creates a trigger.
//!
//! Lock: SHARE ROW EXCLUSIVE for a moment: writers wait, readers do not. The trigger counts for writes from then on; the rows
//! that are there are not touched. On a partitioned table it comes to every partition, on children by inheritance it does not.
//! One of that name with another definition, or in another state, stops the run.
//! Undo: drops the trigger, unless it was there before; that takes ACCESS EXCLUSIVE for a moment.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Twin, Unit},
};

/// A step of the kind `create_trigger`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTrigger {
    table: QName,
    name: Ident,
    timing: Timing,
    events: Vec<On>,
    /// Only an UPDATE that names one of these columns fires it.
    #[serde(default)]
    columns: Vec<Ident>,
    #[serde(default)]
    for_each: Each,
    /// An expression that sees the row as OLD and NEW.
    when: Option<Expr>,
    /// A function that returns trigger.
    function: QName,
    #[serde(default)]
    args: Vec<Literal>,
    #[serde(default)]
    enabled: Enabled,
}

/// When it fires. INSTEAD OF is for views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Timing {
    Before,
    After,
}

/// What it fires at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum On {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// How often it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Each {
    #[default]
    Row,
    Statement,
}

/// In which sessions it fires: by their `session_replication_role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Enabled {
    #[default]
    Origin,
    Always,
    Replica,
    Never,
}

impl Enabled {
    /// As pg_trigger.tgenabled has it.
    fn letter(self) -> &'static str {
        match self {
            Self::Origin => "O",
            Self::Always => "A",
            Self::Replica => "R",
            Self::Never => "D",
        }
    }
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind     = "create_trigger"
table    = "app.trades"
name     = "unchanged"
timing   = "before"
events   = ["update"]
when     = "OLD.symbol IS DISTINCT FROM NEW.symbol"
function = "pg_catalog.suppress_redundant_updates_trigger"
"#;

impl StepKind for CreateTrigger {
    fn default_id(&self) -> String {
        format!("{}-{}", self.table.name.as_str(), self.name.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.events.is_empty() {
            site.error("events", "TM0244", "the trigger has no event")
                .help("write one or several of insert, update, delete, truncate");
        }
        if !self.columns.is_empty() && !self.events.contains(&On::Update) {
            site.error("columns", "TM0245", "`columns` are those of an UPDATE, which is not among the events");
        }
        if self.events.contains(&On::Truncate) && self.for_each == Each::Row {
            site.error("events", "TM0246", "TRUNCATE has no rows").help("write for_each = \"statement\"");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, name) = (&self.table, &self.name);
        let mut up = vec![self.create(&sql!("{}", table))];
        let state = match self.enabled {
            Enabled::Origin => None,
            Enabled::Always => Some("ENABLE ALWAYS"),
            Enabled::Replica => Some("ENABLE REPLICA"),
            Enabled::Never => Some("DISABLE"),
        };
        up.extend(state.map(|state| sql!("ALTER TABLE {} {} TRIGGER {}", table, Stmt::raw(state), name)));
        vec![Unit {
            id: cx.unit("trigger"),
            title: format!("create trigger {name} on {table}"),
            up: Op::Tx(up),
            down: Down::tx([sql!("DROP TRIGGER IF EXISTS {} ON {}", name, table)]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::ShareRowExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }
}

impl CreateTrigger {
    /// On `table`: the table itself or its twin.
    fn create(&self, table: &Stmt) -> Stmt {
        let timing = Stmt::raw(match self.timing {
            Timing::Before => "BEFORE",
            Timing::After => "AFTER",
        });
        let event = |on: &On| match on {
            On::Insert => Stmt::raw("INSERT"),
            On::Update if self.columns.is_empty() => Stmt::raw("UPDATE"),
            On::Update => sql!("UPDATE OF {}", List(&self.columns, ", ")),
            On::Delete => Stmt::raw("DELETE"),
            On::Truncate => Stmt::raw("TRUNCATE"),
        };
        let events: Vec<Stmt> = self.events.iter().map(event).collect();
        let each = Stmt::raw(match self.for_each {
            Each::Row => "ROW",
            Each::Statement => "STATEMENT",
        });
        let when = self.when.as_ref().map_or(Stmt::raw(""), |when| sql!(" WHEN ({})", when));
        sql!(
            "CREATE TRIGGER {} {} {} ON {} FOR EACH {}{} EXECUTE FUNCTION {}({})",
            self.name,
            timing,
            List(&events, " OR "),
            table,
            each,
            when,
            self.function,
            List(&self.args, ", ")
        )
    }

    /// Compared by the server's own deparse, without the table's name, with a twin's.
    fn probe(&self) -> Probe {
        let twin = sql!("pg_temp.{}", self.table.name);
        let text = |of: &'static str| {
            sql!("regexp_replace(pg_get_triggerdef({}.oid), ' ON .* FOR EACH ', ' FOR EACH ')", Stmt::raw(of))
        };
        let same = sql!(
            "g.tgenabled = {} AND {} = (SELECT {} FROM pg_trigger AS w WHERE w.tgrelid = to_regclass({}) AND w.tgname = g.tgname)",
            Literal::new(self.enabled.letter()),
            text("g"),
            text("w"),
            Literal::new(twin.to_string())
        );
        Probe::Catalog {
            query: self.state("compare", &Stmt::raw("false")),
            twin: Some(Twin {
                setup: vec![
                    sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", self.table.name, self.table),
                    self.create(&twin),
                ],
                query: self.state("conflict", &same),
            }),
        }
    }

    /// `other` is the presence of a trigger of that name that is not `same`.
    fn state(&self, other: &str, same: &Stmt) -> Stmt {
        sql!(
            "SELECT CASE WHEN g.oid IS NULL THEN 'absent' WHEN {} THEN 'present' ELSE {} END,
                    pg_get_triggerdef(g.oid)
                      || CASE g.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ', disabled' ELSE ', enabled in another way' END,
                    NULL::text[]
               FROM (SELECT to_regclass({}) AS rel) AS t
               LEFT JOIN pg_trigger AS g ON g.tgrelid = t.rel AND g.tgname = {} AND NOT g.tgisinternal",
            same,
            Literal::new(other),
            Literal::new(self.table.to_string()),
            Literal::new(self.name.as_str())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn events_columns_and_rows_belong_together() {
        let step = "kind = 'create_trigger'\ntable = 'a.t'\nname = 'g'\ntiming = 'before'\nfunction = 'a.f'\n";
        finds(super::EXAMPLE, &[]);
        finds(&format!("{step}events = []"), &["TM0244"]);
        finds(&format!("{step}events = ['insert']\ncolumns = ['a']"), &["TM0245"]);
        finds(&format!("{step}events = ['truncate']"), &["TM0246"]);
        finds(&format!("{step}events = ['truncate']\nfor_each = 'statement'"), &[]);
        finds(&format!("{step}events = ['upsert']"), &["TM0103"]);
    }
}

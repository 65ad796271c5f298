//! Gives rows that an application without tenants writes their tenant, from before the backfill until it writes the tenant
//! itself: BEFORE triggers fill the column where it is NULL, and again where a row moves to another parent (the columns that
//! decide change) and the statement itself names no other tenant. With `from`, an AFTER trigger on the parent makes the children
//! follow when it changes its tenant or key, level by level, only the rows that differ, and not for a parent that had no
//! tenant yet: its children are filled by their own backfill. `log` notes who wrote without a tenant (`capture_log`).
//!
//! Lock: SHARE ROW EXCLUSIVE for a moment, on the table and then on the parent: writers wait, readers do not. Afterwards
//! a write takes no lock that it would not take anyway: the parent is read, not locked. A write whose tenant cannot be
//! found is let through, the column stays NULL, and the gates tell; an error of `sql` goes to the server's log. What would
//! fail at each write is refused when the trigger is made: rights that the owner lacks, a generated column, a parent's key that
//! is not unique. The functions are the table owner's and SECURITY DEFINER, since the application may have no right on the
//! parent; with a fixed search_path, so that nobody can slip an operator or a table in; and nobody is granted EXECUTE,
//! which a trigger does not need. PostgreSQL fires triggers by name, in the order of bytes: a leading `~` comes after every other
//! ASCII character, so the tenant is taken from the row as the application's own triggers made it. The AFTER trigger
//! is a plain UPDATE one with a WHEN, not UPDATE OF: that looks at the SET list, in which a tenant that another trigger wrote
//! is not named.
//! A row that is inserted while an uncommitted transaction changes its parent's tenant gets the old one, and the
//! parent's transaction does not see the row. To close that the parent would be locked FOR SHARE by every insert, at which
//! applications that update a parent and its children deadlock. The gate `orphans` finds such rows; setting their
//! tenant to NULL makes the trigger look again. The same gate finds the children of a partitioned parent's row that changed its
//! tenant and its partition at once, for which PostgreSQL fires no AFTER UPDATE trigger; with its `sql`, those of an
//! expression, which nothing follows. Under FORCE ROW LEVEL SECURITY
//! a role that bypasses it writes the tenant itself: the owner sees only the rows of the session's tenant.
//! Undo: drops the triggers and functions, unless they were there before; the values stay.

mod body;
mod guard;
mod probe;
pub(super) mod recorded;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Unit},
};

/// A step of the kind `capture`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    table: QName,
    column: Ident,
    from: Option<Parent>,
    /// An expression that sees the table's row as `row`.
    sql: Option<Expr>,
    /// The same for every row, as text: PostgreSQL gives it the column's type.
    value: Option<String>,
    /// The table of a step `capture_log`.
    log: Option<QName>,
}

/// The parent row that has the tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parent {
    table: QName,
    /// The parent's column: the registry's key where the parent is the registry, or else the same name.
    column: Option<Ident>,
    /// The table's columns, each with the parent's column that it equals.
    r#match: BTreeMap<Ident, Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "capture"
table  = "app.orders"
column = "tenant_id"
from   = { table = "app.accounts", match = { account_id = "id" } }
log    = "app.writes"
"#;

/// The function of a table's capture, and the one by which its rows follow their parent: beside the table.
pub(super) fn functions(table: &QName, column: &Ident) -> [QName; 2] {
    ["tenantmig_capture", "tenantmig_follow"]
        .map(|part| table.sibling(Ident::derived(&[table.name.as_str(), column.as_str(), part])))
}

/// A trigger to be made: its name, its table, and what stands before and after the table in its definition.
struct Trigger {
    name: Ident,
    on: QName,
    head: Stmt,
    tail: Stmt,
}

/// A function and the triggers that call it: one unit.
struct Part {
    id: &'static str,
    title: String,
    /// Whose owner the function belongs to.
    table: QName,
    function: QName,
    body: Stmt,
    guard: Stmt,
    triggers: Vec<Trigger>,
}

impl StepKind for Capture {
    fn default_id(&self) -> String {
        format!("{}-{}-capture", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let sources = [("value", self.value.is_some()), ("from", self.from.is_some()), ("sql", self.sql.is_some())];
        let given: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        match given.as_slice() {
            [_] => {}
            [] => site.error("column", "TM0310", "nothing says where the tenant comes from").help(
                "write one of: from = { table = …, match = { … } }, value = \"…\", sql = \"an expression over row\"",
            ),
            [_, second, ..] => site
                .error(second, "TM0310", format!("the tenant comes from {} at once", given.join(" and ")))
                .help("write one of them"),
        }
        if let Some(from) = &mut self.from {
            if from.r#match.is_empty() {
                site.error("from", "TM0311", "`match` names no column")
                    .help("write which column of the row equals which of the parent: match = { user_id = \"id\" }");
            }
            let registry = site.tenancy().map(|tenancy| &tenancy.registry).filter(|r| r.table == from.table);
            from.column.get_or_insert_with(|| registry.map_or(&self.column, |registry| &registry.key).clone());
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let parts = [Some(self.capture()), self.follow()].into_iter().flatten();
        parts.map(|part| part.unit(cx)).collect()
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let column = |table: &QName, column: &Ident| Object::Column(table.clone(), column.clone());
        let mut needs =
            vec![("table", Object::Table(self.table.clone())), ("column", column(&self.table, &self.column))];
        if let Some(from) = &self.from {
            needs.push(("from", Object::Table(from.table.clone())));
            needs.push(("from", column(&from.table, self.theirs(from))));
            for (child, up) in &from.r#match {
                needs.extend([("from", column(&self.table, child)), ("from", column(&from.table, up))]);
            }
        }
        needs.extend(self.log.iter().map(|log| ("log", Object::Table(log.clone()))));
        needs
    }

    fn looks_up(&self) -> Vec<(QName, Vec<Ident>)> {
        self.from.iter().map(|from| (self.table.clone(), from.r#match.keys().cloned().collect())).collect()
    }
}

impl Capture {
    /// The parent's tenant column.
    fn theirs<'a>(&'a self, from: &'a Parent) -> &'a Ident {
        from.column.as_ref().unwrap_or(&self.column)
    }

    /// Two triggers, because a WHEN that knows the old row is for UPDATE alone; by it a write that names its tenant costs a
    /// comparison and no call.
    fn capture(&self) -> Part {
        let [function, _] = functions(&self.table, &self.column);
        let (table, column) = (&self.table, &self.column);
        let name = |event| Ident::derived(&["~tenantmig_capture", event, column.as_str()]);
        let moved = body::moved(self).map_or(Stmt::raw(""), |moved| {
            sql!(" OR NEW.{} IS NOT DISTINCT FROM OLD.{} AND ({})", column, column, moved)
        });
        let trigger = |name: Ident, head: Stmt, when: Stmt| Trigger {
            head: sql!("CREATE TRIGGER {} {} ON", name, head),
            name,
            on: table.clone(),
            tail: sql!("FOR EACH ROW WHEN ({}) EXECUTE FUNCTION {}()", when, function),
        };
        Part {
            id: "capture",
            title: format!("capture what is written to {table} without {column}"),
            table: table.clone(),
            body: body::capture(self),
            guard: guard::capture(self),
            triggers: vec![
                trigger(name("insert"), Stmt::raw("BEFORE INSERT"), sql!("NEW.{} IS NULL", column)),
                trigger(name("update"), Stmt::raw("BEFORE UPDATE"), sql!("NEW.{} IS NULL{}", column, moved)),
            ],
            function,
        }
    }

    fn follow(&self) -> Option<Part> {
        let from = self.from.as_ref()?;
        let [_, function] = functions(&self.table, &self.column);
        let (table, column, theirs) = (&self.table, &self.column, self.theirs(from));
        let name = Ident::derived(&["~tenantmig_follow", table.schema.as_str(), table.name.as_str(), column.as_str()]);
        let keys: Vec<Stmt> = [theirs].into_iter().chain(from.r#match.values()).map(body::differs).collect();
        let trigger = Trigger {
            head: sql!("CREATE TRIGGER {} AFTER UPDATE ON", name),
            name,
            on: from.table.clone(),
            tail: sql!(
                "FOR EACH ROW WHEN (OLD.{} IS NOT NULL AND NEW.{} IS NOT NULL AND ({})) EXECUTE FUNCTION {}()",
                theirs,
                theirs,
                List(&keys, " OR "),
                function
            ),
        };
        Some(Part {
            id: "follow",
            title: format!("let the rows of {table} follow {}", from.table),
            table: table.clone(),
            body: body::follow(self, from),
            guard: guard::follow(self),
            triggers: vec![trigger],
            function,
        })
    }
}

impl Part {
    fn unit(self, cx: &Lowering<'_>) -> Unit {
        let Self { id, title, table, function, body, guard, triggers } = &self;
        let mut up = vec![
            guard.clone(),
            sql!(
                "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n  SET search_path = pg_catalog, pg_temp AS {}",
                function,
                Literal::new(body.as_str())
            ),
            sql!("REVOKE ALL ON FUNCTION {}() FROM PUBLIC", function),
        ];
        let mut lock = Lock::none();
        for Trigger { on, head, tail, .. } in triggers {
            up.push(sql!("{} {} {}", head, on, tail));
            up.push(guard::heirs(on, head, tail));
            lock = Lock::on(LockLevel::ShareRowExclusive, on, Hold::Moment);
        }
        up.push(guard::owned(function, table));
        Unit {
            id: cx.unit(id),
            title: title.clone(),
            up: Op::Tx(up),
            down: Down::tx(recorded::drop(function)),
            probe: probe::of(&self),
            lock,
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }
}

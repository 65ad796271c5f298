//! Looks at the database before anything is touched: what the plan needs and does not find is a diagnostic in the plan.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::error::DriveError;
use crate::{
    diag::{Diag, Diags},
    engine::Program,
    pg::{self, Fault, Lack},
    plan::{Plan, PlanStep},
    sql,
    sql::QName,
    steps::Object,
    unit::{BackfillValue, Op},
};

/// Every need of every step that neither an earlier step nor the database meets.
pub async fn preflight(client: &Client, plan: &Plan) -> Result<Diags, DriveError> {
    let mut diags = Diags::default();
    let mut made: BTreeSet<Object> = BTreeSet::new();
    // Whether an earlier step may take away what is in the way by now.
    let mut changed = false;
    let tables = pg::Tables::read(client, &needed(plan)).await?;
    for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
        for (key, object) in step.step.needs() {
            if !is_made(&made, &object) {
                let owned =
                    key == "table" && changes_definition(step.kind) || (step.kind, key) == ("copy_rows", "from");
                if let Some(lack) = pg::lacks(client, &tables, &object, owned).await? {
                    let diag = describe(step, key, &object, lack);
                    // A table that is missing is missed by each of its columns too: told once a place.
                    if !diags.0.contains(&diag) {
                        diags.push(diag);
                    }
                }
            }
        }
        if let Some((key, query)) = step.step.hindrance() {
            let query = sql!("SELECT {}", query);
            let held: Option<String> = client
                .query_typed_one(query.as_str(), &[])
                .await
                .map_err(Fault::from)?
                .try_get(0)
                .map_err(Fault::from)?;
            diags.0.extend(held.map(|held| hindered(step, key, &held, changed)));
        }
        changed |= ["sql", "drop_table", "drop_column"].contains(&step.kind);
        made.extend(step.step.makes().into_iter().map(|(object, _)| object));
    }
    Ok(diags)
}

/// The tables that any step needs, whether the plan makes them or not.
fn needed(plan: &Plan) -> Vec<QName> {
    let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
    let objects = steps.flat_map(|step| step.step.needs()).map(|(_, object)| object);
    let tables: BTreeSet<QName> = objects
        .filter_map(|object| match object {
            Object::Table(table) | Object::Column(table, _) => Some(table),
            Object::Tablespace(_) | Object::Activity(_) => None,
        })
        .collect();
    tables.into_iter().collect()
}

/// A column of a table that the plan makes cannot be looked up yet.
fn is_made(made: &BTreeSet<Object>, object: &Object) -> bool {
    let table = match object {
        Object::Table(table) | Object::Column(table, _) => table,
        Object::Tablespace(_) | Object::Activity(_) => return false,
    };
    made.contains(object) || made.contains(&Object::Table(table.clone()))
}

fn changes_definition(kind: &str) -> bool {
    !["backfill", "assert", "observe", "watch", "sql"].contains(&kind)
}

fn describe(step: &PlanStep, key: &str, object: &Object, lack: Lack) -> Diag {
    let place = step.keys.get(key).unwrap_or(&step.span).clone();
    let near = |near: Option<String>| {
        near.map_or("look with \\d in psql".to_owned(), |near| format!("did you mean `{near}`?"))
    };
    let (name, column) = match object {
        Object::Table(table) | Object::Activity(table) => (table.to_string(), None),
        Object::Column(table, column) => (table.to_string(), Some(column)),
        Object::Tablespace(name) => (name.to_string(), None),
    };
    match lack {
        Lack::Table { near: n } => {
            Diag::error("TM0301", place, format!("the database has no table {name}")).help(near(n))
        }
        Lack::Column { near: n } => {
            let column = column.map_or("a needed column".to_owned(), |column| format!("column {column}"));
            Diag::error("TM0302", place, format!("{name} has no {column}, and no earlier step adds it")).help(near(n))
        }
        Lack::Ownership { owner, role } => {
            Diag::error("TM0303", place, format!("{role} may not change {name}, which {owner} owns"))
                .help(format!("connect as {owner}, or: GRANT {owner} TO {role}"))
        }
        Lack::Tablespace { near: n } => {
            let help = n.map_or("look with \\db in psql".to_owned(), |near| format!("did you mean `{near}`?"));
            Diag::error("TM0304", place, format!("the server has no tablespace {name}")).help(help)
        }
        Lack::Room { role } => {
            Diag::error("TM0305", place, format!("{role} may make nothing in the tablespace {name}"))
                .help(format!("let a superuser type: GRANT CREATE ON TABLESPACE {name} TO {role}"))
        }
    }
}

fn hindered(step: &PlanStep, key: &str, held: &str, changed: bool) -> Diag {
    let place = step.keys.get(key).unwrap_or(&step.span).clone();
    let message = format!("this cannot be done as the database is now: {held}");
    if changed {
        return Diag::warning("TM0306", place, message)
            .help("an earlier step may change that; otherwise this one fails");
    }
    Diag::error("TM0306", place, message).help("take it away first, or by an `sql` step with its undo before this one")
}

/// The tables whose rows the program reads or fills and that hide rows from this role by RLS that stands already.
pub async fn hidden(client: &Client, program: &Program) -> Result<Vec<String>, DriveError> {
    let (mut tables, mut written) = (BTreeSet::new(), BTreeSet::new());
    for (_, unit) in program.units() {
        if let Op::Backfill(spec) = &unit.up {
            tables.insert(spec.table.clone());
            match &spec.value {
                BackfillValue::Parent { table, .. } => {
                    tables.insert(table.clone());
                    written.insert(spec.table.clone());
                }
                BackfillValue::Copy(copy) => {
                    tables.insert(copy.into.clone());
                    written.insert(copy.into.clone());
                }
                BackfillValue::Constant(_) | BackfillValue::Expr(_) => {
                    written.insert(spec.table.clone());
                }
            }
        }
    }
    let list = |of: BTreeSet<QName>| of.into_iter().collect::<Vec<QName>>();
    Ok(pg::rls_hides(client, &list(tables), &list(written)).await?)
}

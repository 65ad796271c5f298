//! The hazards of a plan: its scope, from the program, for the survey of the database.

use std::collections::BTreeSet;

use super::error::DriveError;
use crate::{
    engine::Program,
    hazards::{Scope, Survey, Way},
    pg::{self, connect::Connection},
    plan::Plan,
    sql::QName,
    unit::{BackfillValue, Hold, LockLevel, Op},
};

/// Looks for everything in the database that bites when this program is carried out, or when it is. Reads only. The plan says
/// besides which tables belong to no tenant, and what it deals with itself.
pub async fn hazards(session: &Connection, program: &Program, plan: &Plan) -> Result<Survey, DriveError> {
    let mut scope = scope(program);
    scope.known.extend(plan.shared.iter().map(|shared| shared.name.clone()));
    scope.deals = plan.deals();
    Ok(pg::survey(session, &scope).await?)
}

/// What the program touches: the tables that it changes get a tenant; those that it locks besides, as a foreign key does its
/// parent's, are known to it.
#[must_use]
pub fn scope(program: &Program) -> Scope {
    let mut scope = program.tenancy.as_ref().map_or_else(Scope::default, Scope::of_tenancy);
    let (mut tables, mut written, mut moved) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut ways = BTreeSet::new();
    let mut known: BTreeSet<QName> = scope.known.drain(..).collect();
    let registry = known.clone();
    for (_, unit) in program.units() {
        let mut locked = unit.lock.on.iter().cloned();
        tables.extend(locked.next());
        known.extend(locked);
        // Only a quarantine writes rows of two tables in a transaction that is no batch.
        let writes =
            matches!(unit.up, Op::Tx(_)) && (unit.lock.level, unit.lock.hold) == (LockLevel::RowExclusive, Hold::Batch);
        if writes && unit.lock.on.len() > 1 {
            moved.extend(unit.lock.on.first().cloned());
        }
        let Op::Backfill(spec) = &unit.up else { continue };
        if matches!(spec.value, BackfillValue::Copy(_)) {
            // It reads the table, and writes another one.
            tables.insert(spec.table.clone());
            continue;
        }
        written.insert(spec.table.clone());
        if let BackfillValue::Parent { table, on, .. } = &spec.value {
            tables.insert(table.clone());
            let columns = on.iter().map(|(child, _)| child.clone()).collect();
            ways.insert(Way { table: spec.table.clone(), columns });
        }
    }
    tables.extend(written.iter().cloned());
    tables.retain(|table| !registry.contains(table));
    scope.old_after = Some(program.safety.max_xact_age);
    scope.tables = tables.into_iter().collect();
    scope.written = written.into_iter().collect();
    scope.moved = moved.into_iter().collect();
    scope.known = known.into_iter().collect();
    scope.ways = ways.into_iter().collect();
    scope
}

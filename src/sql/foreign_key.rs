//! Foreign keys as they stand in `pg_constraint`, as SQL over it.

use super::Stmt;
use crate::sql;

/// What stands behind the name of the foreign key `key`, a row of `pg_constraint`, wherever it is run: the server leaves out the schema of
/// a table that the search path makes visible, and another session's path may find none there, or another one's.
pub fn definition(key: &Stmt) -> Stmt {
    sql!(
        "(SELECT replace(pg_get_constraintdef({0}.oid), format(' REFERENCES %s(', {0}.confrelid::regclass),
                         format(' REFERENCES %s.%I(', there.relnamespace::regnamespace, there.relname))
            FROM pg_class there WHERE there.oid = {0}.confrelid)",
        key
    )
}

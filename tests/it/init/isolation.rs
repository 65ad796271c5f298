//! Isolation as the application's role meets it: each tenant sees its own rows of every table and no others, nobody sees any without
//! a context, and no row gets into another tenant.

use super::{Scene, plan::Written};

/// One statement as the application, in the context of `tenant`; with none where it is empty.
fn as_app(scene: &Scene, written: &Written, tenant: &str, query: &str) -> Result<i64, String> {
    // set_config in a CTE that is read first: one statement, as `one_as` takes it.
    let query = format!(
        "WITH c AS MATERIALIZED (SELECT set_config('{}', '{tenant}', true) AS v) SELECT ({query}) FROM c WHERE c.v IS NOT NULL",
        written.setting
    );
    scene.db.one_as(&scene.app, &query)
}

/// Holds on a database that the plan was carried out on.
#[track_caller]
pub fn holds(scene: &Scene, written: &Written) {
    let (registry, key, ty) = &written.registry;
    let list: String = scene.db.one(&format!("SELECT string_agg({key}::text, ',' ORDER BY {key}) FROM {registry}"));
    let tenants: Vec<&str> = list.split(',').collect();
    assert!(tenants.len() >= 3, "{tenants:?}");
    for (table, _) in &written.tables {
        let column = written.column_of(table);
        let all: i64 = scene.db.one(&format!("SELECT count(*) FROM {table}"));
        let mut seen = 0;
        for tenant in &tenants {
            let own: i64 = scene.db.one(&format!("SELECT count(*) FROM {table} WHERE {column}::text = '{tenant}'"));
            let sees = |where_: &str| {
                as_app(scene, written, tenant, &format!("SELECT count(*) FROM {table} {where_}"))
                    .unwrap_or_else(|e| panic!("{table}: {e}"))
            };
            assert_eq!(sees(""), own, "{table}, {tenant}");
            assert_eq!(sees(&format!("WHERE {column}::text <> '{tenant}'")), 0, "{table}, {tenant}");
            seen += own;
        }
        assert_eq!(seen, all, "{table}: every row has one tenant");
        assert!(all > 0, "{table}: an empty table proves nothing");
        assert_eq!(
            as_app(scene, written, "", &format!("SELECT count(*) FROM {table}")).unwrap(),
            0,
            "{table} without a context"
        );
        cannot_cross(scene, written, table, column, ty, (tenants[0], tenants[1]));
    }
}

/// Rows of one tenant cannot be made another's.
#[track_caller]
fn cannot_cross(scene: &Scene, written: &Written, table: &str, column: &str, ty: &str, (from, to): (&str, &str)) {
    let own: i64 = scene.db.one(&format!("SELECT count(*) FROM {table} WHERE {column}::text = '{from}'"));
    let generated: bool = scene.db.one(&format!(
        "SELECT attidentity = 'a' FROM pg_attribute WHERE attrelid = '{table}'::regclass AND quote_ident(attname) = '{column}'"
    ));
    if own == 0 || generated {
        return;
    }
    let setting = &written.setting;
    // Without WHERE: a condition would hide the row first.
    let moved = scene.db.sql_as(
        &scene.app,
        &format!("BEGIN; SELECT set_config('{setting}', '{from}', true); UPDATE {table} SET {column} = '{to}'::{ty}; ROLLBACK"),
    );
    let error = moved.expect_err(&format!("{table}: rows of {from} were given to {to}"));
    assert!(error.starts_with("42501") && error.contains("row-level security"), "{table}: {error}");
}

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
        let pair = (tenants[0], tenants[1]);
        below(scene, written, table, column, pair.0);
        cannot_move(scene, written, table, column, ty, pair);
        cannot_plant(scene, written, table, column, ty, pair);
    }
}

/// A query that names a partition or a child is bound as one that names the table, or refused.
#[track_caller]
fn below(scene: &Scene, written: &Written, table: &str, column: &str, tenant: &str) {
    let list: Option<String> = scene.db.one(&format!(
        "WITH RECURSIVE b AS (SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = '{table}'::regclass
             UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN b ON b.oid = i.inhparent)
         SELECT string_agg(oid::regclass::text, ',') FROM b"
    ));
    for one in list.iter().flat_map(|list| list.split(',')) {
        let own: i64 = scene.db.one(&format!("SELECT count(*) FROM {one} WHERE {column}::text = '{tenant}'"));
        assert_eq!(as_app(scene, written, tenant, &format!("SELECT count(*) FROM {one}")).unwrap(), own, "{one}");
        assert_eq!(as_app(scene, written, "", &format!("SELECT count(*) FROM {one}")).unwrap(), 0, "{one}");
    }
}

/// Whether the application may do that to the table at all.
fn may(scene: &Scene, table: &str, what: &str) -> bool {
    scene.db.one(&format!("SELECT has_table_privilege('{}', '{table}', '{what}')", scene.app))
}

#[track_caller]
fn refused(scene: &Scene, written: &Written, tenant: &str, statement: &str) {
    let setting = &written.setting;
    let script = format!("BEGIN; SELECT set_config('{setting}', '{tenant}', true); {statement}; ROLLBACK");
    let error = scene.db.sql_as(&scene.app, &script).expect_err(statement);
    assert!(error.starts_with("42501") && error.contains("row-level security"), "{statement}: {error}");
}

/// Rows of one tenant cannot be made another's.
#[track_caller]
fn cannot_move(scene: &Scene, written: &Written, table: &str, column: &str, ty: &str, (from, to): (&str, &str)) {
    let own: i64 = scene.db.one(&format!("SELECT count(*) FROM {table} WHERE {column}::text = '{from}'"));
    let generated: bool = scene.db.one(&format!(
        "SELECT attidentity = 'a' FROM pg_attribute WHERE attrelid = '{table}'::regclass AND quote_ident(attname) = '{column}'"
    ));
    if own > 0 && !generated && may(scene, table, "UPDATE") {
        // Without WHERE: a condition would hide the row first.
        refused(scene, written, from, &format!("UPDATE {table} SET {column} = '{to}'::{ty}"));
    }
}

/// Nor can a row be put into another tenant: the policy speaks before any key does.
#[track_caller]
fn cannot_plant(scene: &Scene, written: &Written, table: &str, column: &str, ty: &str, (from, to): (&str, &str)) {
    if !may(scene, table, "INSERT") {
        return;
    }
    let rest: Option<String> = scene.db.one(&format!(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass
            AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND quote_ident(attname) <> '{column}'"
    ));
    let rest = rest.map_or(String::new(), |rest| format!(", {rest}"));
    let own: i64 = scene.db.one(&format!("SELECT count(*) FROM {table} WHERE {column}::text = '{from}'"));
    if own > 0 {
        let row = format!("SELECT '{to}'::{ty}{rest} FROM {table} LIMIT 1");
        refused(scene, written, from, &format!("INSERT INTO {table} ({column}{rest}) OVERRIDING SYSTEM VALUE {row}"));
    }
}

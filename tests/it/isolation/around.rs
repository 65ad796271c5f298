//! What leads to a table's rows past the table, and how they are read.

use tenantmig::isolation::Probe;

use super::ground::{Asks, Ground, Shape, word};
use crate::harness::cluster;

const SHAPE: Shape =
    Shape { r#type: "uuid", function: false, strict: false, floor: false, force: true, partitioned: false, rows: 3 };

/// The verdict of one probe, and its reason.
#[track_caller]
fn says(ground: &Ground, probe: Probe, asks: Asks) -> (String, String) {
    let report = &ground.ask(asks, false)[0];
    let asked = report.probes.iter().find(|asked| asked.probe == probe).unwrap_or_else(|| panic!("{report:#?}"));
    (word(&asked.verdict).to_owned(), asked.verdict.why().to_owned())
}

/// Makes something, asks, and takes it away.
#[track_caller]
fn check(ground: &Ground, sql: &str, verdict: &str, why: &str) {
    ground.db.sql(&sql.replace("{app}", &ground.app).replace("{owner}", &ground.owner));
    let (said, reason) = says(ground, Probe::WaysAround, Asks::Owner);
    assert_eq!(said, verdict, "{sql}: {reason}");
    assert!(reason.contains(why), "{sql}: {reason}");
    ground.reset();
}

#[test]
fn views_and_functions() {
    let ground = Ground::new("around", SHAPE);
    let grant = "GRANT SELECT ON app.v TO {app}";
    check(
        &ground,
        &format!("CREATE VIEW app.v AS SELECT * FROM app.t; {grant}"),
        "leak",
        "app.v shows rows that postgres sees",
    );
    check(&ground, "CREATE VIEW app.v AS SELECT * FROM app.t", "holds", "nothing else");
    // Bound as its owner is.
    check(
        &ground,
        &format!("CREATE VIEW app.v AS SELECT * FROM app.t; ALTER VIEW app.v OWNER TO {{owner}}; {grant}"),
        "holds",
        "app.v: no row",
    );
    // It counts, so it has a row; nobody reads past the policies there.
    check(
        &ground,
        &format!("CREATE VIEW app.v AS SELECT count(*) FROM app.t; ALTER VIEW app.v OWNER TO {{owner}}; {grant}"),
        "holds",
        "who reads there is bound",
    );
    if cluster().binaries().major() >= 15 {
        let invoker = "CREATE VIEW app.v WITH (security_invoker = on) AS SELECT * FROM";
        check(&ground, &format!("{invoker} app.t; {grant}"), "holds", "app.v: no row");
        check(
            &ground,
            &format!(
                "CREATE VIEW app.inner AS SELECT * FROM app.t; {invoker} app.inner; GRANT SELECT ON app.inner TO {{app}}; {grant}"
            ),
            "leak",
            "shows rows",
        );
    }
    check(
        &ground,
        &format!("CREATE MATERIALIZED VIEW app.v AS SELECT * FROM app.t; {grant}"),
        "leak",
        "a materialised view",
    );
    let function = "CREATE FUNCTION app.all_of_t() RETURNS SETOF app.t LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT * FROM app.t'";
    check(&ground, function, "leak", "app.all_of_t() returns rows");
    check(
        &ground,
        &format!("{function}; REVOKE EXECUTE ON FUNCTION app.all_of_t() FROM PUBLIC"),
        "holds",
        "nothing else",
    );
    // What may write, or wants arguments, is not called: nobody here knows what it returns.
    check(&ground, &function.replace("STABLE", "VOLATILE"), "weak", "app.all_of_t() runs as postgres");
    check(&ground, &function.replace("()", "(n integer)"), "weak", "app.all_of_t(integer) runs as postgres");
    check(
        &ground,
        "CREATE FUNCTION app.told() RETURNS json LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT json_agg(t) FROM app.t'",
        "weak",
        "app.told() runs as postgres",
    );
    let bound = format!("{}; ALTER FUNCTION app.all_of_t() OWNER TO {{owner}}", function.replace("STABLE", "VOLATILE"));
    check(&ground, &bound, "holds", "nothing else");
}

/// Who writes through a view writes with its owner's rights, also where he may not read it.
#[test]
fn a_view_that_is_only_written() {
    let ground = Ground::new("around_written", SHAPE);
    let view = "CREATE VIEW app.v AS SELECT * FROM app.t";
    check(&ground, &format!("{view}; GRANT UPDATE ON app.v TO {{app}}"), "weak", "app.v can be written as postgres");
    check(
        &ground,
        &format!("{view}; ALTER VIEW app.v OWNER TO {{owner}}; GRANT UPDATE ON app.v TO {{app}}"),
        "holds",
        "nothing else",
    );
    check(
        &ground,
        "CREATE VIEW app.v AS SELECT count(*) FROM app.t; GRANT UPDATE ON app.v TO {app}",
        "holds",
        "nothing else",
    );
}

#[test]
fn a_partition_that_is_named() {
    let ground = Ground::new("around_parts", Shape { partitioned: true, ..SHAPE });
    check(&ground, "SELECT 1", "holds", "no row");
    check(&ground, "ALTER TABLE app.t2 DISABLE ROW LEVEL SECURITY", "leak", "app.t2 shows rows to whoever names it");
    check(&ground, "ALTER TABLE app.t2 DISABLE ROW LEVEL SECURITY; REVOKE ALL ON app.t2 FROM {app}", "holds", "no row");
    // A view's owner whom the table binds is not bound by a partition that is not protected.
    let view = "REVOKE ALL ON app.t2 FROM {app}; CREATE VIEW app.v AS SELECT * FROM app.t2; ALTER VIEW app.v OWNER TO {owner}; GRANT SELECT ON app.v TO {app}";
    check(&ground, view, "holds", "no row");
    for less in ["DISABLE", "NO FORCE"] {
        let sql = format!("ALTER TABLE app.t2 {less} ROW LEVEL SECURITY; {view}");
        check(&ground, &sql, "leak", "app.v shows rows");
    }
}

#[test]
fn how_a_tenants_rows_are_read() {
    let ground = Ground::new("around_plan", SHAPE);
    let check = |sql: &str, verdict: &str, why: &str| {
        ground.db.sql(sql);
        let (said, reason) = says(&ground, Probe::Plan, Asks::Owner);
        assert_eq!(said, verdict, "{sql}: {reason}");
        assert!(reason.contains(why), "{sql}: {reason}");
        ground.reset();
    };
    let policy = |expression: &str| format!("ALTER POLICY isolation ON app.t USING ({expression})");
    check("SELECT 1", "holds", "found by an index");
    check("ALTER TABLE app.t DROP CONSTRAINT t_pkey", "weak", "no index begins with org_id");
    check(&policy("org_id = NULLIF(current_setting('app.org', true), '')::uuid"), "weak", "for each row");
    check(&policy("org_id::text = (SELECT current_setting('app.org', true))"), "weak", "does not use it");
}

#[test]
fn a_key_without_the_tenant() {
    let ground = Ground::new("around_keys", SHAPE);
    let parent = "CREATE TABLE app.p (id int PRIMARY KEY, org_id uuid NOT NULL, UNIQUE (org_id, id)); ALTER TABLE app.p ENABLE ROW LEVEL SECURITY;
        INSERT INTO app.p SELECT id, org_id FROM app.t WHERE note = 'of one'; ALTER TABLE app.t ADD parent int;";
    assert_eq!(says(&ground, Probe::ForeignParent, Asks::Owner).0, "untried");
    ground.db.sql(&format!("{parent} ALTER TABLE app.t ADD CONSTRAINT loose FOREIGN KEY (parent) REFERENCES app.p"));
    let (said, why) = says(&ground, Probe::ForeignParent, Asks::Owner);
    assert_eq!(said, "weak");
    assert!(why.contains("loose to app.p"), "{why}");
    ground.reset();
    ground.db.sql(&format!(
        "{parent} ALTER TABLE app.t ADD CONSTRAINT scoped FOREIGN KEY (org_id, parent) REFERENCES app.p (org_id, id)"
    ));
    assert_eq!(says(&ground, Probe::ForeignParent, Asks::Owner).0, "holds");
}

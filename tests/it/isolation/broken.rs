//! Each kind of broken policy, one at a time, and the probes that must catch it: on a table with rows, and on an empty one.

use tenantmig::{isolation::Way, sql::Ident};

use super::ground::{Asks, Ground, Shape, told};

/// What is broken, and what must be said of it.
struct Break {
    /// The class of a leak, as the field numbers them.
    class: &'static str,
    shape: Shape,
    /// `{ctx}` is the canonical context, `{one}` a tenant, `{app}` the role, `{db}` the database, `{other}` a further role.
    sql: &'static str,
    caught: &'static [&'static str],
    /// What an empty table shows of it.
    empty: &'static [&'static str],
}

const UUID: Shape =
    Shape { r#type: "uuid", function: false, strict: false, floor: false, force: true, partitioned: false, rows: 3 };
const TEXT: Shape = Shape { r#type: "text", ..UUID };
const BY_FUNCTION: Shape = Shape { function: true, ..UUID };

const fn breaks(
    class: &'static str,
    sql: &'static str,
    caught: &'static [&'static str],
    empty: &'static [&'static str],
) -> Break {
    Break { class, shape: UUID, sql, caught, empty }
}

const READS: &[&str] = &["P1 leak", "P2 leak", "P3 leak", "P4 leak", "P5 leak"];

const BREAKS: &[Break] = &[
    breaks("10 a second permissive policy", "CREATE POLICY open ON app.t FOR SELECT USING (true)", READS, READS),
    breaks(
        "10 a second permissive policy for everything",
        "CREATE POLICY open ON app.t USING (true)",
        &["P4 leak", "P5 leak", "P6 leak", "P7 leak", "P8 leak", "P9 leak", "P10 leak"],
        &["P4 leak", "P6 leak", "P7 leak", "P8 leak"],
    ),
    breaks(
        "12 WITH CHECK (true)",
        "ALTER POLICY isolation ON app.t WITH CHECK (true)",
        &["P6 leak", "P7 leak"],
        &["P6 leak", "P7 leak"],
    ),
    breaks(
        "12 an INSERT policy that checks nothing",
        "CREATE POLICY put ON app.t FOR INSERT WITH CHECK (true)",
        &["P6 leak"],
        &["P6 leak"],
    ),
    breaks(
        "13 UPDATE USING (true)",
        "CREATE POLICY change ON app.t FOR UPDATE USING (true) WITH CHECK (org_id = {ctx})",
        &["P8 leak"],
        &["P8 leak"],
    ),
    breaks("13 DELETE USING (true)", "CREATE POLICY take ON app.t FOR DELETE USING (true)", &["P8 leak"], &["P8 leak"]),
    breaks(
        "14 open while the setting is NULL",
        "ALTER POLICY isolation ON app.t USING (current_setting('app.org', true) IS NULL OR org_id = {ctx})",
        &["P1 leak", "P9 leak"],
        &["P1 leak"],
    ),
    breaks(
        "15 COALESCE(ctx, org_id)",
        "ALTER POLICY isolation ON app.t USING (org_id = COALESCE({ctx}, org_id))",
        &["P1 leak", "P2 leak", "P10 leak"],
        &["P1 leak", "P2 leak"],
    ),
    breaks(
        "16 IS NOT DISTINCT FROM, nullable, no such row yet",
        "ALTER TABLE app.t DROP CONSTRAINT t_pkey; ALTER TABLE app.t ALTER org_id DROP NOT NULL;
         ALTER POLICY isolation ON app.t USING (org_id IS NOT DISTINCT FROM {ctx})",
        &["P1 leak", "P2 leak"],
        &["P1 leak", "P2 leak"],
    ),
    Break {
        class: "17 text, and '' is a tenant",
        shape: TEXT,
        sql: "ALTER POLICY isolation ON app.t USING (org_id = (SELECT current_setting('app.org', true)))",
        caught: &["P2 leak"],
        empty: &["P2 leak"],
    },
    breaks(
        "18 the setting's name mistyped",
        "ALTER POLICY isolation ON app.t USING (org_id = (SELECT NULLIF(current_setting('app.ogr', true), '')::uuid))",
        &["P5 outage"],
        &["P5 outage"],
    ),
    breaks(
        "19 raises where the setting is unknown",
        "ALTER POLICY isolation ON app.t USING (org_id = (SELECT current_setting('app.org')::uuid))",
        &["P1 weak", "P2 weak"],
        &["P1 weak", "P2 weak"],
    ),
    breaks("22 a tenant by ALTER ROLE", "ALTER ROLE {app} SET app.org = '{one}'", &["P0 leak"], &["P0 leak"]),
    breaks("22 a tenant by ALTER DATABASE", "ALTER DATABASE {db} SET app.org = '{one}'", &["P0 leak"], &["P0 leak"]),
    Break {
        class: "26 an IMMUTABLE context function",
        shape: BY_FUNCTION,
        sql: "ALTER FUNCTION app.current_org() IMMUTABLE",
        caught: &["P10 leak"],
        empty: &[],
    },
    // Others, which the same probes meet.
    breaks(
        "2 row-level security is off",
        "ALTER TABLE app.t DISABLE ROW LEVEL SECURITY",
        &["P0 leak", "P4 leak", "P11 leak"],
        &["P0 leak"],
    ),
    breaks("3 no permissive policy", "DROP POLICY isolation ON app.t", &["P5 outage"], &["P5 outage"]),
    breaks("4 the owner is not bound", "ALTER TABLE app.t NO FORCE ROW LEVEL SECURITY", &["P9 leak"], &[]),
    breaks("5 BYPASSRLS", "ALTER ROLE {app} BYPASSRLS", &["P0 leak", "P1 leak", "P11 leak"], &["P0 leak"]),
    breaks(
        "6 SET ROLE to a role above",
        "GRANT {other} TO {app}; ALTER ROLE {other} BYPASSRLS",
        &["P0 leak"],
        &["P0 leak"],
    ),
    breaks(
        "48 a policy that queries its own table",
        "ALTER POLICY isolation ON app.t USING (org_id IN (SELECT o.org_id FROM app.t o))",
        &["P5 outage"],
        &[],
    ),
];

/// Sets everything back that a break may have changed outside the schema.
const MEND: &str = "ALTER ROLE {app} RESET ALL; ALTER DATABASE {db} RESET ALL; ALTER ROLE {app} NOBYPASSRLS; REVOKE {other} FROM {app};
    ALTER ROLE {other} NOBYPASSRLS";

fn with(ground: &Ground, other: &str, sql: &str) -> String {
    sql.replace("{ctx}", &ground.context())
        .replace("{one}", &ground.tenant(1))
        .replace("{app}", &ground.app)
        .replace("{db}", ground.db.name())
        .replace("{other}", other)
}

#[track_caller]
fn is_caught(name: &str, shape: Shape, which: impl Fn(&Break) -> bool) {
    for (asks, rows) in [(Asks::Owner, 3), (Asks::Owner, 0), (Asks::Superuser, 3)] {
        let ground = Ground::new(name, Shape { rows, ..shape });
        let other = ground.db.role("other", "LOGIN");
        for broken in BREAKS.iter().filter(|broken| which(broken)) {
            ground.db.sql(&with(&ground, &other, broken.sql));
            let reports = ground.ask(asks, false);
            let said = told(&reports[0]);
            let expect = if rows == 0 { broken.empty } else { broken.caught };
            for line in expect {
                assert!(
                    said.iter().any(|s| s == line),
                    "{} ({asks:?}, {rows} rows): no {line} in {said:?}\n{:#?}",
                    broken.class,
                    reports[0]
                );
            }
            assert_eq!(ground.db.one::<i64>("SELECT count(*) FROM app.t"), i64::from(rows) * 2, "{}", broken.class);
            ground.db.sql(&with(&ground, &other, MEND));
            ground.reset();
        }
        let said = told(&ground.ask(asks, false)[0]);
        assert!(
            said.iter()
                .all(|line| line.ends_with("holds") || line == "P13 untried" || rows == 0 && line.ends_with("untried")),
            "mended: {said:?}"
        );
    }
}

#[test]
fn with_a_uuid() {
    is_caught("broken_uuid", UUID, |broken| broken.shape.r#type == "uuid" && !broken.shape.function);
}

#[test]
fn with_a_text() {
    is_caught("broken_text", TEXT, |broken| broken.shape.r#type == "text");
}

#[test]
fn with_a_function() {
    is_caught("broken_function", BY_FUNCTION, |broken| broken.shape.function);
}

/// A floor for one role only, beside a policy that is open for all: who is not named sees everything.
#[test]
fn a_floor_for_one_role_leaves_the_others_open() {
    let ground = Ground::new("broken_floor", UUID);
    let other = ground.db.role("other", &format!("LOGIN IN ROLE {}", ground.app));
    let context = ground.context();
    ground.db.sql(&format!(
        "DROP POLICY isolation ON app.t; CREATE POLICY open ON app.t USING (true);
         CREATE POLICY floor ON app.t AS RESTRICTIVE TO {} USING (org_id = {context});
         REVOKE {app} FROM {other}; GRANT {other} TO {}; GRANT USAGE ON SCHEMA app TO {other}; GRANT SELECT ON app.t TO {other}",
        ground.app,
        ground.owner,
        app = ground.app,
    ));
    let mut spec = ground.spec();
    spec.roles.push(Ident::parse(&other).unwrap());
    let reports = ground.ask_about(Asks::Owner, None, &[spec]);
    let of = |role: &str| told(reports.iter().find(|report| report.role == role).unwrap());
    assert!(of(&ground.app).contains(&"P4 holds".to_owned()), "{:?}", of(&ground.app));
    assert!(of(&other).contains(&"P4 leak".to_owned()), "{:?}", of(&other));
}

/// What a second permissive policy would open, a floor keeps closed: that is what it is for.
#[test]
fn a_floor_keeps_an_open_policy_closed() {
    let ground = Ground::new("broken_but_floor", Shape { floor: true, ..UUID });
    ground.db.sql("CREATE POLICY open ON app.t USING (true)");
    let said = told(&ground.ask(Asks::Owner, false)[0]);
    assert!(said.iter().all(|line| line.ends_with("holds") || line == "P13 untried"), "{said:?}");
}

/// By SET ROLE a default of the role's does not apply; by its login it does.
#[test]
fn a_default_tenant_is_seen_by_the_login() {
    let ground = Ground::new("broken_login", UUID);
    ground.db.sql(&format!("ALTER ROLE {} SET app.org = '{}'", ground.app, ground.tenant(1)));
    let reports = ground.ask(Asks::Owner, true);
    let login = reports.iter().find(|report| report.way == Way::Login).unwrap();
    let role = &login.probes[0];
    assert!(role.verdict.why().contains("app.org"), "{role:?}");
    assert!(told(login).contains(&"P0 leak".to_owned()));
}

/// A trigger would act where no rollback reaches: nothing is written into such a table, and the copy tells all the same.
#[test]
fn no_trigger_fires() {
    let ground = Ground::new("broken_trigger", UUID);
    ground.db.sql(
        "CREATE SEQUENCE app.fired; GRANT USAGE ON SEQUENCE app.fired TO PUBLIC;
         CREATE FUNCTION app.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('app.fired'); RETURN COALESCE(NEW, OLD); END $$;
         CREATE TRIGGER fire BEFORE INSERT OR UPDATE OR DELETE ON app.t FOR EACH ROW EXECUTE FUNCTION app.fire();
         ALTER POLICY isolation ON app.t WITH CHECK (true)",
    );
    let report = &ground.ask(Asks::Owner, false)[0];
    let said = told(report);
    assert!(said.contains(&"P6 leak".to_owned()) && said.contains(&"P7 leak".to_owned()), "{said:?}");
    assert!(!ground.db.one::<bool>("SELECT is_called FROM app.fired"), "a trigger fired");
}

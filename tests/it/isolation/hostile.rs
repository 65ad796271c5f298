//! What a broken policy is not needed for: roles that lead further than they seem to, and tables on which the probes themselves
//! must not stumble or leave a trace.

use tenantmig::isolation::Probe;

use super::ground::{Asks, Ground, Shape, told, word};
use crate::harness::cluster;

/// The verdict of one probe, and its reason.
#[track_caller]
fn says(ground: &Ground, probe: Probe) -> (String, String) {
    let report = &ground.ask(Asks::Owner, false)[0];
    let asked = report.probes.iter().find(|asked| asked.probe == probe).unwrap_or_else(|| panic!("{report:#?}"));
    (word(&asked.verdict).to_owned(), asked.verdict.why().to_owned())
}

/// Before 16 CREATEROLE gives any role but a superuser's to anybody; from 16 on the ADMIN option of one does, though the
/// membership itself is without SET.
#[test]
fn who_may_give_himself_a_role_above() {
    let ground = Ground::new("hostile_admin", Shape::default());
    let (app, above) = (&ground.app, ground.db.role("above", "BYPASSRLS"));
    let (gives, takes) = if cluster().binaries().major() < 16 {
        (format!("ALTER ROLE {app} CREATEROLE"), format!("ALTER ROLE {app} NOCREATEROLE"))
    } else {
        let grant = format!("GRANT {above} TO {app} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE");
        (grant, format!("REVOKE {above} FROM {app}"))
    };
    ground.db.sql(&gives);
    let (said, why) = says(&ground, Probe::Role);
    assert!(said == "leak" && why.contains(&above), "{said}: {why}");
    ground.db.sql(&takes);
    let (said, why) = says(&ground, Probe::Role);
    assert_eq!(said, "holds", "{why}");
}

#[test]
fn who_may_replace_the_context_function() {
    let ground = Ground::new("hostile_function", Shape { function: true, ..Shape::default() });
    ground.db.sql(&format!("ALTER FUNCTION app.current_org() OWNER TO {}", ground.app));
    let (said, why) = says(&ground, Probe::Role);
    assert!(said == "weak" && why.contains("replace app.current_org()"), "{said}: {why}");
}

/// A tenant that no row has must be a value that the column can hold: where it is not, a canonical policy would be told to leak.
#[test]
fn a_tenant_column_that_takes_few_values() {
    let mut of = Ground::new("hostile_values", Shape::default());
    of.db.sql(
        "CREATE DOMAIN public.positive AS bigint CHECK (VALUE > 0);
         CREATE DOMAIN public.slug AS varchar(12) CHECK (VALUE ~ '^[a-z0-9-]+$');
         CREATE DOMAIN public.few AS text CHECK (VALUE IN ('1', '2'))",
    );
    for r#type in ["varchar(5)", "character(2)", "character(1)", "public.positive", "public.slug"] {
        of.shape.r#type = r#type;
        of.reset();
        let report = &of.ask(Asks::Owner, false)[0];
        let said = told(report);
        assert!(said.iter().all(|line| line.ends_with("holds") || line == "P13 untried"), "{type}: {report:#?}");
        of.db.sql("ALTER POLICY isolation ON app.t WITH CHECK (true)");
        let said = told(&of.ask(Asks::Owner, false)[0]);
        assert!(said.contains(&"P6 leak".to_owned()) && said.contains(&"P7 leak".to_owned()), "{type}: {said:?}");
    }
    // Nothing is free in it, so nothing can be moved there, and that is said.
    of.shape.r#type = "public.few";
    of.reset();
    let report = &of.ask(Asks::Owner, false)[0];
    assert!(told(report).contains(&"P7 untried".to_owned()), "{report:#?}");
    assert!(report.asides().iter().any(|line| line.contains("no value of few is known")), "{report:#?}");
}

/// A default that the role may not write itself is computed before the policy is asked.
#[test]
fn no_number_is_taken_from_a_sequence() {
    let ground = Ground::new("hostile_sequence", Shape::default());
    let app = &ground.app;
    ground.db.sql(&format!(
        "CREATE SEQUENCE app.numbers; ALTER TABLE app.t ADD number bigint DEFAULT nextval('app.numbers');
         REVOKE INSERT ON app.t FROM {app}; GRANT INSERT (id, org_id, note) ON app.t TO {app}; GRANT USAGE ON SEQUENCE app.numbers TO {app};
         SELECT setval('app.numbers', 100)"
    ));
    let said = told(&ground.ask(Asks::Owner, false)[0]);
    assert!(said.contains(&"P6 holds".to_owned()), "{said:?}");
    assert_eq!(ground.db.one::<i64>("SELECT last_value FROM app.numbers"), 100);
    ground.db.sql("ALTER POLICY isolation ON app.t WITH CHECK (true)");
    let said = told(&ground.ask(Asks::Owner, false)[0]);
    assert!(said.contains(&"P6 leak".to_owned()), "{said:?}");
    assert_eq!(ground.db.one::<i64>("SELECT last_value FROM app.numbers"), 100);
}

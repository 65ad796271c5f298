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

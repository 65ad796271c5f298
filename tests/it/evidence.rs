//! `report`: the page and the JSON of a run that failed, was taken back and was applied again; seen in a browser, and contradicted
//! where the ledger was touched by hand. Pictures of the page are left in `target/evidence`.

mod browser;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use self::browser::Browser;
use crate::harness::{Output, Tool};
use crate::scene::{EXPAND, Scene, plan};

/// What would be run, or fetched, if a text of the ledger were taken for HTML.
const HOSTILE: &str =
    "<script>window.bitten = true</script><img src=\"http://leak.example/x\" onerror=\"window.bitten = true\">";

/// A phase over a table whose name is HTML, which fails until app.mended is there.
const SECOND: &str = r#"
[[phase]]
id = "second"
  [[phase.step]]
  id = "notes-tenant"
  kind = "add_column"
  table = 'app."<script>window.bitten = true</script>&notes"'
  column = "tenant_id"
  type = "uuid"
  [[phase.step]]
  id = "wants-mending"
  kind = "sql"
  up = '''DO $$ BEGIN IF to_regclass('app.mended') IS NULL THEN
    RAISE EXCEPTION 'not yet: <script>window.bitten = true</script><img src="http://leak.example/x" onerror="window.bitten = true">';
  END IF; END $$ -- and by hand: ALTER ROLE app PASSWORD 'hunter2''''
  down = "-- it changes nothing"
  [[phase.gate]]
  kind = "nulls"
  table = "app.users"
  columns = ["tenant_id"]
"#;

/// Who the tenants are, and a table that belongs to them.
fn enforced(role: &str) -> String {
    format!(
        r#"
[tenancy]
registry = {{ table = "app.tenants", key = "id", type = "uuid" }}
column = "tenant_id"
setting = "app.tenant_id"
roles = ["{role}"]
[[phase]]
id = "enforce"
  [[phase.step]]
  kind = "enforce_rls"
  table = "app.users"
"#
    )
}

/// A failure, a rollback, and a complete run.
fn run_of(name: &str) -> Scene {
    let scene = Scene::new(name, 4_000);
    scene.db.sql("CREATE TABLE app.\"<script>window.bitten = true</script>&notes\" (id bigint PRIMARY KEY)");
    let app = scene.db.role("app", "LOGIN");
    scene.db.sql(&format!(
        "CREATE TABLE app.tenants (id uuid PRIMARY KEY); INSERT INTO app.tenants SELECT tenant_id FROM app.accounts;
         GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT, INSERT, UPDATE, DELETE ON app.users TO {app}"
    ));
    let plan = plan("", &[EXPAND, SECOND, &enforced(&app)]);
    let _ = scene.apply(&plan).expect_code(5);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.db.sql("CREATE TABLE app.mended ()");
    let _ = scene.apply(&plan).expect_code(0);
    scene
}

fn report(scene: &Scene, words: &[&str]) -> Output {
    Tool::new(&scene.db).args(["report"]).args(words).run()
}

fn kept(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/evidence").join(name)
}

/// The page in a file of its own.
fn page(scene: &Scene, name: &str, words: &[&str], code: i32) -> (PathBuf, String) {
    let file = kept(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let out = file.display().to_string();
    let words: Vec<&str> = words.iter().copied().chain(["--force", "--out", &out]).collect();
    let _ = report(scene, &words).expect_code(code);
    let text = fs::read_to_string(&file).unwrap();
    (file, text)
}

fn json_of(scene: &Scene, code: i32) -> Value {
    report(scene, &["--format", "json"]).expect_code(code).json()
}

#[test]
fn the_page_is_readable_on_a_phone_and_a_desk_without_a_network() {
    let scene = run_of("evidence_page");
    let (file, text) = page(&scene, "page.html", &["--verify", "--audit"], 0);
    assert!(!text.contains("hunter2") && !text.contains("<script") && !text.contains("<img"), "{}", file.display());
    let mut browser = Browser::start();
    for (name, width, height, dark) in [
        ("phone", 360, 740, false),
        ("desk", 1280, 800, false),
        ("phone-dark", 360, 740, true),
        ("desk-dark", 1280, 800, true),
    ] {
        browser.screen(width, height, dark);
        browser.open(&file);
        let shown = browser.value(LOOK);
        assert_eq!(shown["viewport"], width, "{name}: {shown}");
        assert_eq!(shown["wider"], json!([]), "{name}: the page scrolls sideways");
        assert!(shown["scroll"].as_u64().unwrap() <= u64::from(width), "{name}: {shown}");
        assert_eq!(shown["faint"], json!([]), "{name}: too little contrast");
        assert_eq!((&shown["bitten"], &shown["scripts"], &shown["images"]), (&json!(false), &json!(0), &json!(0)));
        assert_eq!((&shown["headings"], &shown["captions"]), (&json!(1), &json!(true)), "{name}: {shown}");
        let text = shown["text"].as_str().unwrap();
        for words in [
            "completed",
            "verified",
            "Course of the run",
            "no gap, no overlap",
            "as a tenant that does not exist",
            "UPDATE into another tenant",
            HOSTILE,
            "Changed by the migration",
        ] {
            assert!(text.contains(words), "{name}: `{words}` is not to be read");
        }
        assert_eq!(browser.requests(), Vec::<String>::new(), "{name}: something was loaded");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{name}: the console is not empty");
        browser.picture(&kept(&format!("{name}.png")));
    }
    browser.paper(A4);
    browser.open(&file);
    let shown = browser.value(LOOK);
    assert_eq!((&shown["wider"], &shown["faint"]), (&json!([]), &json!([])), "on paper");
    browser.picture(&kept("paper.png"));
    browser.print(&kept("page.pdf"));
    finds_what_it_looks_for(&mut browser);
}

/// A4 between its margins, in the browser's pixels.
const A4: u32 = 687;

/// A page with all that is wrong, so that silence above means something.
fn finds_what_it_looks_for(browser: &mut Browser) {
    let bad = format!("<!DOCTYPE html><title>bad</title><p style=\"width: 2000px; color: #aaa\">wide</p>{HOSTILE}");
    let file = kept("bad.html");
    fs::write(&file, bad).unwrap();
    browser.screen(360, 740, false);
    browser.open(&file);
    let shown = browser.value(LOOK);
    assert_eq!(
        (&shown["bitten"], &shown["scripts"], &shown["images"]),
        (&json!(true), &json!(1), &json!(1)),
        "{shown}"
    );
    assert_eq!((shown["wider"].as_array().unwrap().len(), shown["faint"].as_array().unwrap().len()), (1, 1), "{shown}");
    assert_eq!(browser.requests(), ["http://leak.example/x"]);
    assert!(!browser.complaints().is_empty());
}

/// What there is to see: the page's width, what is wider than it, texts of too little contrast (WCAG AA: 4.5, large 3), and
/// whether anything of the ledger was run.
const LOOK: &str = include_str!("evidence/look.js");

#[test]
fn the_json_says_what_the_ledger_has_and_twice_the_same() {
    let scene = run_of("evidence_json");
    let said = json_of(&scene, 0);
    let head: String = scene.db.one("SELECT digest FROM tenantmig.event_heads");
    assert_eq!(
        (&said["v"], &said["chain"]["verifies"], &said["chain"]["head"]),
        (&json!(1), &json!(true), &json!(head))
    );
    assert_eq!(said["events"].as_array().unwrap().len() as i64, scene.events());
    assert_eq!(said["state"]["word"], "completed");
    let fill = &said["backfills"][0];
    assert_eq!(
        (&fill["rows"], &fill["tone"], &fill["proof"]["adds_up"]),
        (&json!(4_000), &json!("good"), &json!(true)),
        "{fill:#}"
    );
    assert!(fill["ranges"].as_array().unwrap().len() > 1, "one range proves nothing of gaps");
    let changes = said["catalogue"]["migration"]["changes"]["given"].to_string();
    assert!(changes.contains("column app.users.tenant_id") && changes.contains("uuid"), "{changes}");
    assert_eq!(said["catalogue"]["since"]["changes"]["given"], json!([]));
    let mut again = json_of(&scene, 0);
    again["made_at"] = said["made_at"].clone();
    assert_eq!(again, said);
    assert!(!said.to_string().contains("hunter2"));
    // Whoever may read the ledger may make it.
    let auditor = scene.db.role("auditor", "LOGIN");
    scene.db.sql(&format!(
        "GRANT USAGE ON SCHEMA tenantmig TO {auditor}; GRANT SELECT ON ALL TABLES IN SCHEMA tenantmig TO {auditor};
         GRANT USAGE ON SCHEMA app TO {auditor}"
    ));
    let made = Tool::new(&scene.db).url(&scene.db.url_as(&auditor)).args(["report", "--format", "json"]).run();
    let mut made = made.expect_code(0).json();
    assert_eq!(made["made_by"], json!(auditor));
    for own in ["made_at", "made_by"] {
        made[own] = said[own].clone();
    }
    let differing: Vec<&String> = said.as_object().unwrap().keys().filter(|key| made[*key] != said[*key]).collect();
    assert_eq!(differing, Vec::<&String>::new());
    measures_what_it_may(&scene, &auditor);
    // What may not be measured is said to be so, on a page that is written all the same.
    scene.db.sql("REVOKE USAGE ON SCHEMA app FROM PUBLIC");
    let denied = scene.db.role("denied", "LOGIN");
    scene.db.sql(&format!(
        "GRANT USAGE ON SCHEMA tenantmig TO {denied}; GRANT SELECT ON ALL TABLES IN SCHEMA tenantmig TO {denied}"
    ));
    let words = ["report", "--verify", "--format", "json"];
    let made = Tool::new(&scene.db).url(&scene.db.url_as(&denied)).args(words).run();
    let missing =
        made.expect_code(77).stderr_has("not measured: permission denied").json()["verified"]["missing"].clone();
    assert!(missing.as_str().is_some_and(|why| why.contains("permission denied")), "{missing}");
    // Taken back, nothing of it is left, and the page says so.
    let _ = scene
        .run(&format!("rollback --to start --yes --accept-exposure --allow-data-loss --confirm {}", scene.db.name()))
        .expect_code(0);
    let back = json_of(&scene, 0);
    assert_eq!(
        (&back["state"]["word"], &back["catalogue"]["migration"]["changes"]["given"]),
        (&json!("rolled back"), &json!([]))
    );
    assert_eq!(
        (&back["backfills"][0]["verdict"], &back["backfills"][0]["rows"]),
        (&json!("taken back; its ranges went with it"), &json!(0))
    );
    // A file that is there stays.
    let (file, _) = page(&scene, "once.html", &[], 0);
    let out = file.display().to_string();
    let _ = report(&scene, &["--out", &out]).expect_code(4).stderr_has("is there already");
}

/// Whom policies bind measures the rest, and does not leave with 0.
fn measures_what_it_may(scene: &Scene, auditor: &str) {
    scene.db.sql(&format!("GRANT ALL ON ALL TABLES IN SCHEMA app TO {auditor}"));
    let words = ["report", "--verify", "--format", "json"];
    let made = Tool::new(&scene.db).url(&scene.db.url_as(auditor)).args(words).run();
    let made = made.expect_code(77).stderr_has("not measured: ").stderr_has(" more").json();
    assert!(made["verified"]["given"].as_array().is_some_and(|all| all.len() > 5), "{:#}", made["verified"]);
}

#[test]
fn what_was_touched_by_hand_is_contradicted() {
    let scene = run_of("evidence_contradicted");
    let removed = "DELETE FROM tenantmig.backfill_ranges WHERE number = 2";
    scene.db.sql(removed);
    let (_, text) = page(&scene, "gap.html", &[], 3);
    assert!(text.contains("gap at blocks") && text.contains("contradicted"));
    let said = json_of(&scene, 3);
    assert_eq!(said["backfills"][0]["tone"], "bad", "{:#}", said["backfills"][0]);
    scene.db.sql(
        "ALTER TABLE tenantmig.events DISABLE TRIGGER append_only;
         UPDATE tenantmig.events SET actor = 'somebody else' WHERE number = 2;
         ALTER TABLE tenantmig.events ENABLE TRIGGER append_only",
    );
    let said = json_of(&scene, 3);
    assert_eq!((&said["chain"]["verifies"], &said["chain"]["damage"]), (&json!(false), &json!("event 2 was changed")));
    scene.db.sql("ALTER TABLE app.users ALTER COLUMN tenant_id SET DEFAULT gen_random_uuid()");
    let since = json_of(&scene, 3)["catalogue"]["since"]["changes"]["given"].to_string();
    assert!(since.contains("gen_random_uuid"), "{since}");
}

//! The gate `latency` and the probes of a plan. No test looks at a time by itself: rows that are read, and times as ratios of
//! ten and more.

use crate::harness::{Db, Output, Running, Signal, Tool, database};

/// A hundred tenants with a thousand people each; what the application looks for has its index.
const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.orgs (id bigint PRIMARY KEY);
    INSERT INTO app.orgs SELECT generate_series(1, 100);
    CREATE TABLE app.people (id bigint PRIMARY KEY, org_id bigint NOT NULL REFERENCES app.orgs, email text NOT NULL, note text);
    INSERT INTO app.people SELECT n, 1 + n % 100, 'User' || n || '@example.org', repeat('x', 50) FROM generate_series(1, 100000) n;
    CREATE INDEX people_lower ON app.people (lower(email));
    CREATE INDEX people_email ON app.people (email text_pattern_ops);
    ANALYZE app.people, app.orgs;";

const PROTECTED: &str = "SELECT relrowsecurity OR relforcerowsecurity FROM pg_class WHERE oid = 'app.people'::regclass";

const BY_EMAIL: &str = "name = \"by-email\"\nsql = \"SELECT id FROM app.people WHERE lower(email) = $1\"\nparams = [\"user77@example.org\"]\nrepeat = 20\n";
const BEGINS: &str =
    "name = \"begins\"\nsql = \"SELECT id FROM app.people WHERE email LIKE 'User777%'\"\nrepeat = 20\n";
const FOREIGN: &str =
    "name = \"foreign\"\nsql = \"SELECT count(*) FROM app.people WHERE org_id <> {tenant}\"\nexpect = 0\n";

struct Scene {
    db: Db,
    app: String,
}

impl Scene {
    fn new(name: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN");
        db.sql(SCHEMA);
        db.sql(&format!("GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT ON ALL TABLES IN SCHEMA app TO {app}"));
        Self { db, app }
    }

    /// A phase that does nothing, and one that enforces, which the probes guard. A second is no machine's noise: what is over here is
    /// so by the rows that are read.
    fn plan(&self, probes: &[&str]) -> String {
        let probes: String = probes.iter().map(|probe| format!("[[probe]]\n{probe}")).collect();
        format!(
            "format = 1\nname = \"latency\"\n
             [tenancy]\nregistry = {{ table = \"app.orgs\", key = \"id\", type = \"bigint\" }}\ncolumn = \"org_id\"\n\
             setting = \"app.org\"\nroles = [\"{}\"]\n
             [[phase]]\nid = \"first\"\n[[phase.step]]\nkind = \"sql\"\nup = \"SELECT 1\"\ndown = \"SELECT 1\"\n
             [[phase]]\nid = \"enforce\"\n[[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.people\"\n\
             [[phase.gate]]\nkind = \"latency\"\nms = 1000\n\n{probes}",
            self.app
        )
    }

    fn tool(&self, probes: &[&str]) -> Tool {
        let tool = Tool::new(&self.db);
        tool.file("plan.toml", &self.plan(probes));
        tool
    }

    fn run(&self, probes: &[&str], words: &str) -> Output {
        self.tool(probes).args(words.split(' ')).run()
    }

    fn is_protected(&self) -> bool {
        self.db.one(PROTECTED)
    }

    /// Of the newest measurement of a probe.
    fn measured(&self, probe: &str, what: &str) -> f64 {
        self.db.one(&format!(
            "SELECT ({what})::float8 FROM tenantmig.measurements WHERE probe = '{probe}' ORDER BY measurement_id DESC LIMIT 1"
        ))
    }

    fn baseline(&self, probe: &str) -> serde_json::Value {
        self.db.one(&format!("SELECT baselines -> 'probe {probe}' FROM tenantmig.runs"))
    }
}

#[test]
fn a_lost_index_takes_the_enforcing_back_and_says_why() {
    let scene = Scene::new("latency_lost");
    let probes = [BY_EMAIL, BEGINS];
    let out = scene.run(&probes, "apply plan.toml --yes").expect_code(5);
    let _ = out
        .stdout_has("reads 100000 rows sequentially of app.people, without policies 1 rows by people_lower")
        .stdout_has("app.people_lower cannot be used under policies, since lower(text) is not leakproof")
        .stdout_has("~~(text,text)")
        .stdout_has("CREATE INDEX CONCURRENTLY ON app.people (org_id)")
        .nowhere_has("user77@");
    assert!(!scene.is_protected(), "the enforcing was not taken back");
    for probe in ["by-email", "begins"] {
        let ratio =
            scene.measured(probe, "(measured->'now'->>'p50')::float8 / (measured->'reference'->>'p50')::float8");
        assert!(ratio > 10.0, "{probe}: {ratio}");
        assert_eq!(scene.measured(probe, "over::int"), 1.0);
        let before = scene.baseline(probe);
        assert_eq!(before["run"]["samples"].as_array().unwrap().len(), 20, "{before}");
        assert!(before["at"].as_str().unwrap().ends_with('Z') && before["by"].as_str().is_some(), "{before}");
    }
    let kept = "SELECT count(*) FROM tenantmig.measurements WHERE measured::text LIKE '%user77%'";
    assert_eq!(scene.db.one::<i64>(kept), 0);

    // With the index that it asked for, the same command goes through.
    scene.db.sql("CREATE INDEX CONCURRENTLY ON app.people (org_id)");
    let _ = scene.run(&probes, "apply plan.toml --yes").expect_code(0).stderr_has("probe by-email as");
    assert!(scene.is_protected());
    assert_eq!(scene.measured("by-email", "over::int"), 0.0);
    let out = scene.run(&probes, "verify --format json").expect_code(0);
    let all = out.json();
    let latency = all["checks"].as_array().unwrap().iter().filter(|check| !check["latency"].is_null()).count();
    assert_eq!(latency, 2, "{all:#}");
    // And when it is lost again, verify says so.
    scene.db.sql("DROP INDEX app.people_org_id_idx");
    let _ = scene.run(&probes, "verify").expect_code(3).stdout_has("reads 100000 rows sequentially");
}

/// The owner, whom FORCE binds, has nothing to compare with by turns; what was before the run is what there is.
#[test]
fn without_anybody_whom_policies_do_not_bind_it_compares_with_before_the_run() {
    let scene = Scene::new("latency_owner");
    let owner = scene.db.role("owner", &format!("LOGIN IN ROLE {}", scene.app));
    scene.db.sql(&format!(
        "GRANT CREATE ON DATABASE {} TO {owner}; ALTER SCHEMA app OWNER TO {owner}; ALTER TABLE app.people OWNER TO {owner}; ALTER TABLE app.orgs OWNER TO {owner}",
        scene.db.name()
    ));
    let tool = scene.tool(&[BY_EMAIL]).url(&scene.db.url_as(&owner));
    let out = tool.args(["apply", "plan.toml", "--yes"]).run().expect_code(5);
    let _ = out.stdout_has("reads 100000 rows sequentially of app.people, before the run 1 rows by people_lower");
    assert!(!scene.is_protected());
}

#[test]
fn what_was_before_outlives_the_process() {
    let scene = Scene::new("latency_killed");
    let probes = ["name = \"nap\"\nsql = \"SELECT pg_sleep(0.01)\"\nrepeat = 100\n"];
    let under_way = |what: &str, done: &dyn Fn() -> bool, running: &mut Running| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !done() {
            assert!(std::time::Instant::now() < end && !running.has_ended(), "never: {what}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    let mut running = scene.tool(&probes).args(["apply", "plan.toml", "--yes"]).spawn();
    under_way("the gate measures", &|| scene.is_protected(), &mut running);
    running.signal(Signal::KILL);
    let _ = running.wait();
    let before = scene.baseline("nap");
    assert_eq!(before["run"]["samples"].as_array().unwrap().len(), 100, "{before}");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.measurements"), 0, "killed too late to tell");
    let _ = scene.run(&probes, "resume").expect_code(0);
    assert_eq!(scene.baseline("nap"), before);
    assert_eq!(scene.measured("nap", "(measured->'before'->>'n')::int"), 100.0);
}

#[test]
fn a_probe_that_writes_is_refused() {
    let scene = Scene::new("latency_writes");
    for sql in ["DELETE FROM app.people", "WITH d AS (DELETE FROM app.people RETURNING 1) SELECT 1 FROM d"] {
        let probe = format!("name = \"w\"\nsql = \"{sql}\"\n");
        let _ = scene.run(&[&probe], "validate plan.toml").expect_code(65).stderr_has("TM037");
    }
    // What only the server can tell, it tells: the transaction is READ ONLY.
    scene.db.sql("CREATE SEQUENCE app.seen; CREATE FUNCTION app.note() RETURNS bigint LANGUAGE sql AS 'SELECT nextval(''app.seen'')'");
    scene.db.sql(&format!("GRANT USAGE ON SEQUENCE app.seen TO {}", scene.app));
    let out = scene.run(&["name = \"sly\"\nsql = \"SELECT app.note()\"\n"], "apply plan.toml --yes").expect_code(5);
    let _ = out.stdout_has("read-only transaction");
    assert!(!scene.db.one::<bool>("SELECT is_called FROM app.seen") && !scene.is_protected());
}

#[test]
fn an_answer_that_is_expected_is_asked_by_gate_and_verify() {
    let scene = Scene::new("latency_answers");
    let wrong = "name = \"all\"\nsql = \"SELECT count(*) FROM app.people\"\nexpect = 100000\n";
    let out = scene.run(&[wrong], "apply plan.toml --yes").expect_code(5);
    let _ = out.stdout_has("answered 1000, and 100000 was expected");
    assert!(!scene.is_protected());
    let _ = scene.run(&[wrong], "rollback --to start --yes").expect_code(0);
    let _ = scene.run(&[FOREIGN], "apply plan.toml --yes").expect_code(0);
    let _ = scene.run(&[FOREIGN], "verify").expect_code(0).stdout_has("probe foreign as");
    scene.db.sql("DROP POLICY tenant_floor ON app.people; CREATE POLICY support ON app.people FOR SELECT USING (true)");
    let _ = scene.run(&[FOREIGN], "verify").expect_code(3).stdout_has("answered 99000, and 0 was expected");
}

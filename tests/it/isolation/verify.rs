//! `verify` asks what a run protects, says what holds and what does not, and gives the matrix to whoever wants it.

use crate::harness::{Db, Tool, database};

const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.orgs (id uuid PRIMARY KEY);
    INSERT INTO app.orgs SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM generate_series(1, 3) n;
    CREATE TABLE app.notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid NOT NULL REFERENCES app.orgs, body text);
    CREATE INDEX ON app.notes (org_id);
    INSERT INTO app.notes (org_id, body) SELECT ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid, 'secret-' || n FROM generate_series(1, 30) n;
    CREATE TABLE app.empty (id bigint PRIMARY KEY, org_id uuid NOT NULL);";

/// A database, its owner and its application.
pub struct Scene {
    pub db: Db,
    pub owner: String,
    pub app: String,
}

impl Scene {
    /// The owner migrates, and is a member of the application's role.
    pub fn new(name: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN PASSWORD 'hunter2'");
        let owner = db.role("owner", &format!("LOGIN IN ROLE {app}"));
        db.sql(&format!("GRANT CREATE ON DATABASE {} TO {owner}", db.name()));
        db.sql_as(&owner, SCHEMA).unwrap();
        let grants = "GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO {app}";
        db.sql_as(&owner, &grants.replace("{app}", &app)).unwrap();
        Self { db, owner, app }
    }

    pub fn plan(&self) -> String {
        format!(
            "format = 1\nname = \"isolation\"\n[safety]\nlock_timeout = \"300ms\"\nlock_retries = 2\n
             [tenancy]\nregistry = {{ table = \"app.orgs\", key = \"id\", type = \"uuid\" }}\ncolumn = \"org_id\"\n\
             setting = \"app.org\"\nroles = [\"{}\"]\n
             [[phase]]\nid = \"enforce\"\n[[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.notes\"\n\
             [[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.empty\"\n",
            self.app
        )
    }

    pub fn tool(&self) -> Tool {
        let tool = Tool::new(&self.db).url(&self.db.url_as(&self.owner));
        tool.file("plan.toml", &self.plan());
        tool
    }
}

#[test]
fn what_is_protected_is_asked_and_told() {
    let scene = Scene::new("verify_isolation");
    let _ = scene.tool().args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    let out = scene.tool().args(["verify"]).run().expect_code(0);
    let out = out
        .stdout_has(&format!("isolation of app.notes as {}, by SET ROLE", scene.app))
        .stdout_has("isolation of app.empty")
        .stdout_has("tried on a copy of the policies only: P5: none of the tenants in app.orgs has a row here")
        .stdout_has("P6, P7, P8: there is no row of a real tenant");
    // What the server's version lacks is told once, and fails nothing: by the same data as in the audit.
    let version: i32 = scene.db.one("SELECT current_setting('server_version_num')::int");
    let holes = tenantmig::hazards::lacking(u32::try_from(version).unwrap());
    let times = out.stdout.matches("P0 what the role is: the server's version, ").count();
    assert_eq!(times, usize::from(!holes.is_empty()), "{out}");
    assert!(holes.iter().all(|hole| out.stdout.contains(hole.cve)), "{out}");
    // The application's own connection, whose password is nowhere.
    let url = scene.db.url_as(&scene.app).replace(&format!("{}@", scene.app), &format!("{}:hunter2@", scene.app));
    let json = |tool: Tool| tool.args(["verify", "--format", "json", "-vv"]).run();
    let out =
        json(scene.tool().env("TENANTMIG_APP_URL", &url)).expect_code(0).nowhere_has("hunter2").nowhere_has("secret-");
    let all = out.json();
    let reports: Vec<_> = all["checks"].as_array().unwrap().iter().filter(|c| !c["isolation"].is_null()).collect();
    assert_eq!(reports.len(), 4, "two tables, two ways: {all:#}");
    let notes = &reports
        .iter()
        .find(|c| c["isolation"]["table"] == "app.notes" && c["isolation"]["way"] == "set_role")
        .unwrap()["isolation"];
    let cell = |command: &str, context: &str, on: &str| {
        let cells = notes["matrix"].as_array().unwrap();
        let found = cells.iter().find(|c| c["command"] == command && c["context"] == context && c["on"] == on);
        found.unwrap_or_else(|| panic!("{command} {context} {on}: {notes:#}"))["verdict"].clone()
    };
    for command in ["select", "insert", "update", "delete"] {
        for context in ["none", "empty", "garbage", "phantom", "real"] {
            assert_eq!(cell(command, context, "copy"), "holds");
        }
        assert_eq!(cell(command, "phantom", "table"), "holds");
    }
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.notes"), 30);
}

#[test]
fn a_leak_is_a_finding() {
    let scene = Scene::new("verify_leak");
    let _ = scene.tool().args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    scene.db.sql("DROP POLICY tenant_floor ON app.notes; CREATE POLICY support ON app.notes FOR SELECT USING (true)");
    let out = scene.tool().args(["verify"]).run().expect_code(3);
    let _ = out.stdout_has("P4 rows of a tenant that does not exist").stdout_has("rows or more are visible");
}

#[test]
fn who_may_not_be_the_application_is_told_what_to_do() {
    let scene = Scene::new("verify_nobody");
    let _ = scene.tool().args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    scene.db.sql(&format!("REVOKE {} FROM {}", scene.app, scene.owner));
    let out = scene.tool().args(["verify"]).run().expect_code(77);
    let _ = out.stdout_has(&format!("GRANT {} TO {}", scene.app, scene.owner)).stdout_has("TENANTMIG_APP_URL");
    let out = scene.tool().env("TENANTMIG_APP_URL", scene.db.url_as(&scene.app)).args(["verify"]).run().expect_code(0);
    let _ = out.stdout_has("by its own login");
    // A string that leads elsewhere proves nothing.
    let elsewhere = format!("{}/postgres", scene.db.url_as(&scene.app).rsplit_once('/').unwrap().0);
    let out = scene.tool().env("TENANTMIG_APP_URL", elsewhere).args(["verify"]).run().expect_code(77);
    let _ = out.stdout_has("leads to the database postgres");
}

/// An audit with a plan asks its queries, in transactions that can write nothing; without one it says that it asked none.
#[test]
fn an_audit_asks_the_queries_of_its_plan() {
    let scene = Scene::new("audit_probes");
    let _ = scene.tool().args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    let audit = || {
        let tool = scene.tool();
        let probe = "[[probe]]\nname = \"foreign\"\nsql = \"SELECT count(*) FROM app.notes WHERE org_id <> {tenant}\"\nexpect = 0\n";
        tool.file("probed.toml", &format!("{}{probe}", scene.plan()));
        let out = tool.args(["audit", "--plan", "probed.toml", "--format", "json"]).run();
        let said = out.json();
        assert!(!said["not_looked_for"].to_string().contains("TM0559"), "{said:#}");
        let of = |finding: &&serde_json::Value| finding["code"] == "TM0559";
        said["findings"].as_array().unwrap().iter().filter(of).map(|f| f["what"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(audit(), Vec::<String>::new());
    scene.db.sql_as(&scene.owner, "ALTER TABLE app.notes DISABLE ROW LEVEL SECURITY").unwrap();
    let wrong = audit();
    assert!(wrong.len() == 3 && wrong[0].contains("answered 20, and 0 was expected"), "{wrong:?}");
    let without = scene.tool().args(["audit", "--plan", "plan.toml"]).run().expect_code(3);
    let _ = without.stdout_has("not looked for: TM0559");
}

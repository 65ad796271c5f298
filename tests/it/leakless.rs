//! No row leaks and none is missing while row-level security comes and goes under load: readers as three tenants and as nobody, by
//! prepared statements and fresh ones, naming partitions too, through PgBouncer as well, and each answer is judged (`watch`).

mod sessions;
mod watch;

use sessions::Sessions;
use watch::{RELATIONS, Rows, Watch, Way};

use crate::harness::{Db, Pooler, Tool, database};

/// Rows of each tenant in each table.
const ROWS: u32 = 200;

/// `whose` says in every table whose a row is, before there is a tenant column and after.
const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.tenants (id uuid PRIMARY KEY, whose integer NOT NULL UNIQUE);
    INSERT INTO app.tenants SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, n FROM generate_series(1, 3) n;
    CREATE TABLE app.orders (id bigserial PRIMARY KEY, whose integer NOT NULL REFERENCES app.tenants (whose));
    CREATE TABLE app.lines (id bigserial PRIMARY KEY, order_id bigint NOT NULL REFERENCES app.orders, whose integer NOT NULL);
    CREATE SEQUENCE app.event_ids;
    CREATE TABLE app.events (id bigint PRIMARY KEY DEFAULT nextval('app.event_ids'), whose integer NOT NULL) PARTITION BY RANGE (id);
    CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM (0) TO (301);
    CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES FROM (301) TO (1000000);
    INSERT INTO app.orders (whose) SELECT 1 + n % 3 FROM generate_series(1, 3 * ROWS) n;
    INSERT INTO app.lines (order_id, whose) SELECT id, whose FROM app.orders;
    INSERT INTO app.events (whose) SELECT 1 + n % 3 FROM generate_series(1, 3 * ROWS) n;
    GRANT USAGE ON SCHEMA app TO APP;
    GRANT SELECT ON ALL TABLES IN SCHEMA app TO APP;
    GRANT INSERT ON app.orders, app.lines, app.events TO APP;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO APP;";

const PLAN: &str = r#"
format = 1
name   = "leakless"
[safety]
lock_timeout = "500ms"
lock_retries = 60
[tenancy]
registry = { table = "app.tenants", key = "id", type = "uuid" }
column   = "tenant_id"
setting  = "app.tenant_id"
roles    = ["APP"]
FUNCTION
[[table]]
name   = "app.tenants"
tenant = "self"
[[table]]
name   = "app.orders"
tenant = { from = "app.tenants", match = { whose = "whose" } }
[[table]]
name   = "app.lines"
tenant = { from = "app.orders", match = { order_id = "id" } }
[[table]]
name   = "app.events"
tenant = { from = "app.tenants", match = { whose = "whose" } }
"#;

struct Ground {
    db: Db,
    app: String,
    plan: String,
}

impl Ground {
    fn new(name: &str, function: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN");
        db.sql(&SCHEMA.replace("APP", &app).replace("ROWS", &ROWS.to_string()));
        db.sql("ANALYZE");
        let plan = PLAN.replace("APP", &app).replace("FUNCTION", function);
        Self { db, app, plan }
    }

    /// What the tables have by now.
    fn watch(&self, way: Way) -> Watch {
        let count = |name: &str, n: usize| {
            self.db.one::<i64>(&format!("SELECT count(*) FROM app.{name} WHERE whose = {}", n + 1))
        };
        let seeds = RELATIONS.map(|(name, _)| -> Rows { std::array::from_fn(|n| count(name, n)) });
        assert!(seeds.iter().flatten().all(|rows| *rows > 0), "{seeds:?}");
        Watch::new(way, seeds)
    }

    fn start(&self, way: Way, pooler: Option<&Pooler>) -> Sessions {
        let pooled = pooler.map(|pooler| pooler.url_as(&self.app, self.db.name()));
        let sessions = Sessions::start(self.watch(way), &self.db.url_as(&self.app), pooled.as_deref());
        sessions.until("every table was read", |watch| watch.begun(20));
        sessions.go_on();
        sessions
    }

    fn tool(&self, words: &[&str]) -> Tool {
        let tool = Tool::new(&self.db);
        tool.file("plan.toml", &self.plan);
        tool.args(words)
    }

    /// Runs the tool while the sessions are at work, and says how many answers were given meanwhile.
    fn meanwhile(&self, sessions: &Sessions, words: &[&str]) -> u64 {
        let before = sessions.watch.checked();
        let out = self.tool(words).run();
        let meanwhile = sessions.watch.checked() - before;
        sessions.go_on();
        sessions.watch.flawless();
        let _ = out.expect_code(0).nowhere_has("panicked");
        meanwhile
    }

    /// Every answer was right. How many there were.
    fn end(sessions: Sessions, what: &str, meanwhile: u64) -> u64 {
        let (watch, written) = sessions.stop();
        watch.flawless();
        assert!(watch.both(20) && meanwhile > 100 && written > 0, "{meanwhile} answers, {written} rows, {watch:#?}");
        let all = watch.checked();
        eprintln!("{what}: {all} answers, {meanwhile} of them meanwhile, each right; {written} rows written");
        all
    }
}

/// Up and down again. How many answers were judged.
fn up_and_down(ground: &Ground, pooler: Option<&Pooler>) -> u64 {
    let sessions = ground.start(Way::Enforcing, pooler);
    let mut meanwhile = ground.meanwhile(&sessions, &["apply", "plan.toml", "--to", "enforce", "--yes"]);
    // The application that names the tenant itself is out, before what did it in its place goes.
    sessions.name_the_tenant();
    sessions.go_on();
    meanwhile += ground.meanwhile(&sessions, &["apply", "plan.toml", "--yes"]);
    let up = Ground::end(sessions, "enforcing", meanwhile);
    let wrong: i64 = ground.db.one(
        "SELECT count(*) FROM (SELECT tenant_id, whose FROM app.orders UNION ALL SELECT tenant_id, whose FROM app.lines
                               UNION ALL SELECT tenant_id, whose FROM app.events) AS r
           JOIN app.tenants t USING (whose) WHERE r.tenant_id IS DISTINCT FROM t.id",
    );
    assert_eq!(wrong, 0, "rows of another tenant than whose they are");
    let _ = ground.tool(&["verify"]).run().expect_code(0);
    let sessions = ground.start(Way::Lifting, pooler);
    let back = ["rollback", "--to", "constrain", "--accept-exposure", "--confirm", ground.db.name()];
    let meanwhile = ground.meanwhile(&sessions, &back);
    up + Ground::end(sessions, "lifting", meanwhile)
}

#[test]
fn no_row_leaks_and_none_is_missing_while_isolation_comes_and_goes() {
    let ground = Ground::new("leakless", "");
    let pooler = Pooler::start("transaction", "auth_user = postgres\ndefault_pool_size = 3");
    let answers = up_and_down(&ground, Some(&pooler));
    eprintln!("leakless, policies inline, PgBouncer as well: {answers} answers checked, 0 wrong");
}

#[test]
fn no_row_leaks_and_none_is_missing_with_a_context_function() {
    let ground = Ground::new("leakless_function", "function = \"app.current_tenant\"");
    let answers = up_and_down(&ground, None);
    eprintln!("leakless, context function: {answers} answers checked, 0 wrong");
}

/// The control: each of the three ways to get it wrong is seen.
#[test]
fn the_watch_sees_outages_and_leaks() {
    let ground = Ground::new("leakless_control", "");
    let policy = |table: &str, whose: &str| {
        let context = "NULLIF(current_setting('app.tenant_id', true), '')";
        format!("CREATE POLICY p ON app.{table} USING ({whose} = (SELECT right({context}, 1)::integer))")
    };
    let enable = |table: &str| format!("ALTER TABLE app.{table} ENABLE ROW LEVEL SECURITY");
    // ENABLE before the policy, in two transactions: for a moment nobody sees anything.
    let sessions = ground.start(Way::Enforcing, None);
    ground.db.sql(&enable("orders"));
    sessions.until("a tenant misses its rows", |watch| watch.torn.number() > 0);
    ground.db.sql(&policy("orders", "whose"));
    sessions.go_on();
    let (watch, _) = sessions.stop();
    assert!(watch.torn.told().contains("orders as Some("), "{}", watch.torn.told());
    assert!(watch.torn.told().lines().all(|line| line.contains("orders")), "{}", watch.torn.told());
    assert_eq!(watch.late.number(), 0, "{}", watch.late.told());
    // Protected, and open again for a moment.
    ground.db.sql("ALTER TABLE app.orders DISABLE ROW LEVEL SECURITY");
    let sessions = ground.start(Way::Enforcing, None);
    ground.db.sql(&format!("BEGIN; {}; {}; COMMIT", policy("lines", "whose"), enable("lines")));
    sessions.go_on();
    ground.db.sql("ALTER TABLE app.lines DISABLE ROW LEVEL SECURITY");
    sessions.until("others' rows are seen again", |watch| watch.late.number() > 0);
    let (watch, _) = sessions.stop();
    assert!(watch.late.told().lines().all(|line| line.contains("lines")), "{}", watch.late.told());
    assert_eq!(watch.torn.number(), 0, "{}", watch.torn.told());
    // The table is protected, its partitions are not.
    let sessions = ground.start(Way::Enforcing, None);
    ground.db.sql(&format!("BEGIN; {}; {}; COMMIT", policy("events", "whose"), enable("events")));
    sessions.until("a partition shows all", |watch| watch.late.told().contains("events_1"));
    let (watch, _) = sessions.stop();
    assert_eq!(watch.torn.number(), 0, "{}", watch.torn.told());
}

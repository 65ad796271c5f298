//! Every kind of check as a gate: its example passes, what it is for fails it and takes the phase back, and neither a lock nor
//! a lost connection is taken for a finding.

use tenantmig::{
    checks::KINDS,
    engine::{Event, Finding, Notice, Outcome},
};
use tokio::runtime::Runtime;

use super::world::{Way, World, events, same};

const BACK: Outcome = Outcome::RolledBack { keep: 0 };

/// A step that there is something to take back of, and must be able to see what it does.
const STEP: &str = "[[phase.step]]\nid = \"view\"\nkind = \"sql\"\nup = \"CREATE VIEW app.seen AS SELECT id FROM app.users\"\ndown = \"DROP VIEW IF EXISTS app.seen\"\n";

/// A table that is protected as a plan does it, and the application's role, which the owner may be.
const PROTECTED: &str = "CREATE ROLE app_rw; GRANT app_rw TO app_owner; GRANT USAGE ON SCHEMA app TO app_rw;
    GRANT SELECT, INSERT, UPDATE, DELETE ON app.trades TO app_rw;
    CREATE POLICY own ON app.trades USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
    ALTER TABLE app.trades ENABLE ROW LEVEL SECURITY; ALTER TABLE app.trades FORCE ROW LEVEL SECURITY;";

/// The application's role alone, on a table that is not protected yet.
const READER: &str = "CREATE ROLE app_rw; GRANT app_rw TO app_owner; GRANT USAGE ON SCHEMA app TO app_rw; GRANT SELECT ON app.trades TO app_rw;";

/// What a gate must find: the kind, what the owner does before the run, a step of the run, and words of the finding.
const VIOLATIONS: &[(&str, &str, &str, &str)] = &[
    ("nulls", "UPDATE app.trades SET tenant_id = NULL WHERE id IN (7, 8)", "", "app.trades.tenant_id is NULL"),
    (
        "orphans",
        "UPDATE app.orders SET tenant_id = '00000000-0000-0000-0000-000000000009' WHERE id = 7",
        "",
        "differs from app.accounts.tenant_id",
    ),
    ("orphans", "UPDATE app.orders SET account_id = 99 WHERE id = 7", "", "without a row in app.accounts"),
    ("row_count", "DELETE FROM app.trades", "", "at least 1 were expected"),
    ("row_count", "", "DELETE FROM app.trades WHERE id <= 20", "had 1000 when the run started"),
    (
        "unprotected",
        "CREATE TABLE app.parted (id int) PARTITION BY LIST (id); CREATE TABLE app.part PARTITION OF app.parted DEFAULT; \
         ALTER TABLE app.parted ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON app.parted USING (id > 0)",
        "",
        "app.part, below app.parted, is not protected when a query names it: policy own is missing, row-level security is off; BEGIN; \
         CREATE POLICY own ON app.part AS PERMISSIVE FOR ALL TO PUBLIC USING ((id > 0)); ALTER TABLE app.part ENABLE ROW LEVEL SECURITY; COMMIT",
    ),
    (
        "quiet",
        "INSERT INTO app.writes (relation, application, transactions) VALUES ('app.trades', 'desk', 2)",
        "",
        "desk as postgres wrote to app.trades without a tenant",
    ),
    ("quiet", "UPDATE app.writes SET first_at = now()", "", "is noted since"),
    (
        "unseen",
        "INSERT INTO app.shadow (relation, command, tenant, application, username, statement) \
         VALUES ('app.trades', 'read', 'missing', 'desk', 'rw', 'SELECT ?')",
        "",
        "desk as rw read app.trades without a tenant",
    ),
    ("unseen", "UPDATE app.shadow SET at = now()", "", "is noted since"),
    (
        "no_fallback",
        "INSERT INTO app.fallen (application, username, statement) VALUES ('desk', 'rw', 'SELECT ?')",
        "",
        "desk as rw said no tenant and went on as that of the fallback",
    ),
    ("no_fallback", "UPDATE app.fallen SET at = now()", "", "is noted since"),
    ("invalid_indexes", "wreck", "", "app.wreck is invalid"),
    ("present", "DROP TABLE app.trades", "", "table app.trades is not there"),
    ("absent", "CREATE POLICY gone ON app.trades USING (true)", "", "policy gone on app.trades is there"),
    (
        "isolation",
        "protected; CREATE POLICY support ON app.trades FOR SELECT USING (true)",
        "",
        "P4 rows of a tenant that does not exist: as a tenant that does not exist 5 rows or more are visible",
    ),
    (
        "latency",
        "reader; CREATE POLICY slow ON app.trades USING (pg_sleep(0.02)::text = ''); ALTER TABLE app.trades ENABLE ROW LEVEL SECURITY",
        "",
        "slower, and the budget is 10 ms and 25 %",
    ),
    (
        "duplicates",
        "ALTER TABLE app.trades DROP CONSTRAINT trades_pkey; UPDATE app.trades SET id = 7 WHERE id = 8",
        "",
        "that several rows have",
    ),
];

fn protected(world: &World) -> String {
    own(world, PROTECTED)
}

fn own(world: &World, sql: &str) -> String {
    sql.replace("app_rw", &world.role()).replace("app_owner", &world.owner)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A unique index that could not be built.
async fn wreck(world: &World) {
    let session = world.session().await;
    let built = session.client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY wreck ON app.trades (symbol)").await;
    assert!(built.is_err(), "the symbols are not unique");
}

#[test]
fn every_example_passes_and_counts_once() {
    runtime().block_on(async {
        let world = World::new("gates_pass", "").await;
        for kind in KINDS {
            world.reset().await;
            match kind.name {
                "isolation" => world.sql(&protected(&world)).await,
                "latency" => world.sql(&own(&world, READER)).await,
                _ => {}
            }
            let draft = world.draft("law", &format!("{STEP}{}", kind.example));
            let notices = world.up(&draft).await.unwrap();
            let passed = events(&notices).into_iter().filter(|e| matches!(e, Event::GatePassed { .. })).count();
            assert_eq!(passed, 1, "{}: {notices:#?}", kind.name);
            world.verified().await.unwrap();
            assert!(events(&world.up(&draft).await.unwrap()).is_empty(), "{}", kind.name);
        }
    });
}

#[test]
fn every_kind_fails_on_what_it_is_for() {
    for kind in KINDS {
        assert!(VIOLATIONS.iter().any(|(name, ..)| *name == kind.name), "nothing violates the gate {}", kind.name);
    }
    runtime().block_on(async {
        let world = World::new("gates_fail", "").await;
        for (name, plant, step, expect) in VIOLATIONS {
            world.reset().await;
            match *plant {
                "wreck" => wreck(&world).await,
                sql => {
                    world
                        .sql(&sql.replace("protected;", &protected(&world)).replace("reader;", &own(&world, READER)))
                        .await
                }
            }
            let example = KINDS.iter().find(|kind| kind.name == *name).unwrap().example;
            let step = if step.is_empty() {
                String::new()
            } else {
                format!("[[phase.step]]\nid = \"plant\"\nkind = \"sql\"\nup = \"{step}\"\ndown = \"-- gone\"\n")
            };
            let draft = world.draft("law", &format!("{STEP}{step}{example}"));
            let before = world.print().await;
            let notices = world.reach(&draft, Way::Up, BACK).await.unwrap();
            let found = findings(&notices);
            assert!(
                found.iter().any(|f| f.what.contains(expect)
                    && f.example.is_some()
                        | ["row_count", "present", "absent", "quiet", "unseen", "no_fallback", "isolation", "latency"]
                            .contains(name)),
                "{name}: {found:#?}"
            );
            assert!(!before.catalog.lines.iter().any(|l| l.contains("app.seen")));
            if step.is_empty() {
                same(name, &before, &world.print().await).unwrap();
            }
            world.verified().await.unwrap();
        }
    });
}

fn findings(notices: &[Notice]) -> Vec<Finding> {
    let failed = events(notices)
        .into_iter()
        .filter_map(|event| if let Event::GateFailed { findings, .. } = event { Some(findings.clone()) } else { None });
    failed.flatten().collect()
}

/// A gate that cannot be measured does not pass, and says why.
#[test]
fn rows_behind_a_policy_are_not_taken_for_none() {
    runtime().block_on(async {
        let world = World::new("gates_hidden", "").await;
        world
            .sql("ALTER TABLE app.trades ENABLE ROW LEVEL SECURITY; ALTER TABLE app.trades FORCE ROW LEVEL SECURITY")
            .await;
        let gate = KINDS.iter().find(|kind| kind.name == "nulls").unwrap().example;
        let notices = world.reach(&world.draft("law", &format!("{STEP}{gate}")), Way::Up, BACK).await.unwrap();
        let found = findings(&notices);
        assert!(
            found.iter().any(|f| f.what.contains("could not be measured") && f.what.contains("BYPASSRLS")),
            "{found:#?}"
        );
    });
}

/// Until somebody waits for the table of trades, or nobody does any more; 30 s at most.
async fn poll(client: &tokio_postgres::Client, waits: bool) {
    let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'app.trades'::regclass AND NOT granted)";
    for _ in 0..3_000 {
        if client.query_one(query, &[]).await.unwrap().get::<_, bool>(0) == waits {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody {} for the lock", if waits { "waited" } else { "gave up waiting" });
}

/// A lock that goes away in time is waited for.
#[test]
fn a_lock_is_no_finding() {
    runtime().block_on(async {
        let world = World::new("gates_locked", "").await;
        let gate = KINDS.iter().find(|kind| kind.name == "nulls").unwrap().example;
        let draft = world.draft("law", &format!("{STEP}{gate}"));
        let other = world.db.client().await;
        other.batch_execute("BEGIN; LOCK TABLE app.trades IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let (up, ()) = tokio::join!(world.up(&draft), async {
            // The lock is let go once somebody has waited for it and given up.
            // The first who waits, and gives up, is the drift guard with its look at the table.
            for waits in [true, false, true, false] {
                poll(&other, waits).await;
            }
            other.batch_execute("ROLLBACK").await.unwrap();
        });
        let notices = up.unwrap();
        assert!(notices.iter().any(|notice| matches!(notice, Notice::LockWait { .. })), "{notices:#?}");
    });
}

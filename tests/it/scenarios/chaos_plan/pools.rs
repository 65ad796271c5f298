//! Scenarios 3, 9 and 13: too many clients, at the pooler and at the server, and what a pooled session leaves behind.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::{Pooler, block_on};
use crate::scenarios::{
    firm::{Firm, ORGANIZATIONS, cell, said, session, try_sql},
    recovery::recovered,
    traffic::{Context, Traffic},
};
use crate::scene::with_plan;

/// The document's spike, against a pool that is small.
const SPIKE: usize = 100;
const POOL: usize = 4;
/// The pool that it is scaled to.
const POOL_SCALED: usize = 20;
/// The document's ten seconds, and its default of 120 s until a client gives up, both shortened alike.
const QUERY: &str = "SELECT pg_sleep(0.3)";
const WAIT_SECONDS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(20);

/// The application's role is not in the pooler's file of users: it asks the server for it.
const USERS: &str = "auth_user = postgres";

/// The row of `SHOW POOLS` that is the application's, a column of it as a number.
fn pool(pooler: &Pooler, role: &str, column: &str) -> usize {
    let rows = pooler.admin("SHOW POOLS");
    let of = |row: &[(String, String)], name: &str| {
        row.iter().find(|(column, _)| column == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    rows.iter().filter(|row| of(row, "user") == role).map(|row| of(row, column).parse::<usize>().unwrap()).sum()
}

#[track_caller]
fn soon(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The spike: so many clients at once, each with one query; what each was told.
fn spike(url: String) -> std::thread::JoinHandle<Vec<Result<(), String>>> {
    std::thread::spawn(move || {
        block_on(async move {
            let mut all = JoinSet::new();
            for _ in 0..SPIKE {
                let url = url.clone();
                all.spawn(async move {
                    let client = session(&url).await?;
                    client.simple_query(QUERY).await.map(|_| ()).map_err(|error| said(&error))
                });
            }
            all.join_all().await
        })
    })
}

#[test]
fn scenario_3_pgbouncer_connection_pool_exhaustion() {
    let firm = Firm::new("chaos_3");
    let settings =
        format!("{USERS}\ndefault_pool_size = {POOL}\nquery_wait_timeout = {WAIT_SECONDS}\nmax_client_conn = 200");
    let pooler = Pooler::start("transaction", &settings);
    // The migration has sessions of its own; the spike is the application's.
    let run = firm.backfilling(10);
    let exhausted = || pool(&pooler, firm.app(), "maxwait") > 0 && pool(&pooler, firm.app(), "sv_active") == POOL;
    let clients = spike(pooler.url_as(firm.app(), firm.name()));
    // Detection: "look for maxwait > 0, sv_active = max_db_connections".
    soon("the pool is exhausted", exhausted);
    assert!(pool(&pooler, firm.app(), "cl_waiting") > POOL, "nobody queues");
    let rows = firm.rows();
    firm.wait_for_rows_after(rows + 500);
    assert!(pool(&pooler, firm.app(), "cl_waiting") > 0, "the pool was free before the backfill was seen to go on");
    // Who waits for longer than query_wait_timeout is told so, and nobody is told anything else.
    let refused: Vec<String> = clients.join().unwrap().into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty() && refused.len() < SPIKE, "{} of {SPIKE} clients were refused", refused.len());
    assert!(refused.iter().all(|error| error.contains("query_wait_timeout")), "{refused:#?}");
    // The same again, and now the recovery: a larger pool. Nobody is refused.
    let clients = spike(pooler.url_as(firm.app(), firm.name()));
    soon("the pool is exhausted", exhausted);
    pooler.admin(&format!("SET default_pool_size = {POOL_SCALED}"));
    let begun = Instant::now();
    soon("nobody waits", || pool(&pooler, firm.app(), "cl_waiting") == 0);
    recovered("scenario 3, application", begun.elapsed());
    let refused: Vec<String> = clients.join().unwrap().into_iter().filter_map(Result::err).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    firm.go();
    let _ = run.wait().expect_code(0);
    firm.every_row_once();
    // No leak: the servers that are left are idle and no more than the pool has.
    soon("no server is in use", || pool(&pooler, firm.app(), "sv_active") == 0);
    assert_eq!(pool(&pooler, firm.app(), "cl_active"), 0);
    assert!(pool(&pooler, firm.app(), "sv_idle") <= POOL_SCALED);
}

/// The same pool for both: the server connections of the whole database are few (`max_db_connections`), and the spike takes them.
#[test]
fn scenario_3_the_migration_is_behind_the_exhausted_pool() {
    let firm = Firm::new("chaos_3_pooled");
    let settings = format!(
        "{USERS}\nmax_db_connections = {POOL}\nquery_wait_timeout = {WAIT_SECONDS}\nmax_client_conn = 200\ndefault_pool_size = 20"
    );
    let pooler = Pooler::start("transaction", &settings);
    let tool =
        with_plan(firm.tool().url(&pooler.url(firm.name())).env("TENANTMIG_DIRECT_URL", firm.url()), &firm.plan());
    let run = firm.backfilling_by(tool, 10);
    let clients = spike(pooler.url_as(firm.app(), firm.name()));
    soon("the pool is exhausted", || pool(&pooler, firm.app(), "maxwait") > 0);
    let told = clients.join().unwrap();
    let refused: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(refused.len() < SPIKE, "the application was not served at all");
    assert!(refused.iter().all(|error| error.contains("query_wait_timeout")), "{refused:#?}");
    // Whether it was served or closed meanwhile, it waits and goes on by itself.
    let (begun, rows) = (Instant::now(), firm.rows());
    firm.no_partial_batch();
    firm.wait_for_rows_after(rows + 500);
    recovered("scenario 3, tenantmig behind the pool", begun.elapsed());
    firm.go();
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    firm.every_row_once();
    firm.verified();
    // Neither a session nor a setting of ours is left in the pool.
    soon("no server is in use", || pool(&pooler, "postgres", "sv_active") == 0);
    assert_eq!(pool(&pooler, "postgres", "cl_active"), 0);
    let sql =
        "DO $$ BEGIN ASSERT current_setting('lock_timeout') = '0' AND current_setting('row_security') = 'on'; END $$";
    try_sql(&pooler.url(firm.name()), sql).unwrap();
}

/// What a client of the pool finds: the tenant of whoever had the server session before, and how many funds it sees.
fn found(url: &str) -> (String, i64) {
    let url = url.to_owned();
    block_on(async move {
        let client = session(&url).await.unwrap();
        let query = "BEGIN; SELECT coalesce(current_setting('app.current_org', true), ''), (SELECT count(*) FROM funds); COMMIT";
        let messages = client.simple_query(query).await.unwrap();
        (cell(&messages, 0).unwrap(), cell(&messages, 1).unwrap().parse().unwrap())
    })
}

/// The detection query as it stands. It reads the setting of the session that asks, once for every session of the server, and so
/// says only whether the session that the pooler gave it is stale; from a session of its own it never finds anything.
fn stale(url: &str) -> i64 {
    let (url, query) = (
        url.to_owned(),
        "SELECT count(stale_org) FROM (SELECT
           datname,
           usename,
           application_name,
           NULLIF(current_setting('app.current_org', true), '') as stale_org
         FROM pg_stat_activity
         WHERE current_setting('app.current_org', true) IS NOT NULL
         AND state = 'idle') AS detection",
    );
    block_on(async move {
        let client = session(&url).await.unwrap();
        cell(&client.simple_query(query).await.unwrap(), 0).unwrap().parse().unwrap()
    })
}

#[test]
fn scenario_9_connection_pool_reuse_with_stale_context() {
    let firm = Firm::new("chaos_9");
    let _ = firm.applying().run().expect_code(0);
    // The document's settings. In transaction mode server_reset_query is not run, whatever it says.
    let pooler =
        Pooler::start("transaction", &format!("{USERS}\ndefault_pool_size = 1\nserver_reset_query = DISCARD ALL"));
    let (url, org) = (pooler.url_as(firm.app(), firm.name()), ORGANIZATIONS[0]);
    // Who may see the states of sessions, of which there is an idle one.
    firm.sql(&format!("GRANT pg_monitor TO {}", firm.app()));
    let at = firm.app_url();
    let _idle = block_on(async move { session(&at).await.unwrap() });
    let third: i64 = firm.one(&format!("SELECT count(*) FROM funds WHERE organization_id = '{org}'"));
    assert_eq!(found(&url), (String::new(), 0), "without a context");
    // SET LOCAL: its own rows within the transaction, and nothing of it behind COMMIT or ROLLBACK.
    for end in ["COMMIT", "ROLLBACK"] {
        let sees = format!("DO $$ BEGIN ASSERT (SELECT count(*) = {third} FROM funds); END $$");
        try_sql(&url, &format!("BEGIN; SET LOCAL app.current_org = '{org}'; {sees}; {end}")).unwrap();
        assert_eq!(found(&url), (String::new(), 0), "after {end}");
        assert_eq!(stale(&url), 0);
    }
    // The negative control: SET for the session is the next client's too, with the rows.
    try_sql(&url, &format!("SET app.current_org = '{org}'")).unwrap();
    assert_eq!(found(&url), (org.to_owned(), third), "the check does not see a leak");
    assert!(stale(&url) > 0);
    assert_eq!(stale(&firm.app_url()), 0);
    // The recovery: DISCARD ALL after each transaction, for which server_reset_query alone is not enough; set at the console, as
    // an edit of the file and a reload would, and the sessions of before are closed.
    let begun = Instant::now();
    pooler.admin("SET server_reset_query_always = 1");
    pooler.admin("RECONNECT");
    soon("the stale session is gone", || found(&url) == (String::new(), 0));
    recovered("scenario 9", begun.elapsed());
    // Now not even SET for a session reaches anybody else.
    try_sql(&url, &format!("SET app.current_org = '{org}'")).unwrap();
    assert_eq!(found(&url), (String::new(), 0));
    assert_eq!(stale(&url), 0);
}

/// A server with room for few, and the role that owns the firm, which has no reserved connection.
fn small_server() -> Firm {
    let firm = Firm::alone(&[("max_connections", "20"), ("max_wal_senders", "0"), ("wal_level", "replica")]);
    firm.sql(
        "CREATE ROLE updog_owner LOGIN BYPASSRLS IN ROLE pg_monitor; GRANT CREATE ON DATABASE postgres TO updog_owner;
         ALTER SCHEMA public OWNER TO updog_owner;
         ALTER TABLE organizations OWNER TO updog_owner; ALTER TABLE funds OWNER TO updog_owner;
         ALTER TABLE portfoliocompanies OWNER TO updog_owner; ALTER TABLE investments OWNER TO updog_owner;
         ALTER TABLE brake OWNER TO updog_owner;
         ALTER FUNCTION check_data_integrity() OWNER TO updog_owner;",
    );
    firm
}

/// More clients than the server has room for.
fn exhausting(firm: &Firm) -> Traffic {
    let traffic = Traffic::start(firm.app_url(), 40, Context::Unset, Duration::from_millis(20));
    // The detection query as it stands, from a connection that is reserved for superusers.
    let full = "SELECT sum(count)::int >= max(max::int) - 5 FROM (SELECT
          state,
          COUNT(*) as count,
          (SELECT setting FROM pg_settings WHERE name = 'max_connections') as max
        FROM pg_stat_activity WHERE backend_type = 'client backend'
        GROUP BY state) AS detection";
    firm.wait_until(full);
    traffic
}

fn owner(firm: &Firm) -> String {
    format!("postgres://updog_owner@127.0.0.1:{}/postgres", firm.port())
}

/// What the clients met is that there was no connection for them, and nothing else.
#[track_caller]
fn only_too_many_clients(traffic: Traffic) {
    let seen = traffic.stop();
    assert!(!seen.took.is_empty(), "nobody was served");
    assert!(seen.errors.iter().any(|error| error.starts_with("53300")), "the server was never full");
    let others: Vec<_> = seen.errors.iter().filter(|error| !error.starts_with("53300")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn scenario_13_connection_pool_exhaustion_before_the_migration() {
    let firm = small_server();
    let traffic = exhausting(&firm);
    let out = firm.applying().url(&owner(&firm)).run().expect_code(75);
    let _ = out.stderr_has("next:").nowhere_has("panicked");
    assert!(!firm.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"), "something was touched");
    only_too_many_clients(traffic);
    let begun = Instant::now();
    // Clients gone, the same command does it; and the application is as before.
    let _ = firm.applying().url(&owner(&firm)).args(["--to", "constraints"]).run().expect_code(0);
    recovered("scenario 13, at the start", begun.elapsed());
    firm.every_row_once();
    try_sql(&firm.app_url(), "INSERT INTO investments (fund_id, amount) VALUES (1, 1)").unwrap();
}

#[test]
fn scenario_13_connection_pool_exhaustion_during_the_migration() {
    let firm = small_server();
    let run = firm.backfilling_by(firm.applying().url(&owner(&firm)), 20);
    let traffic = exhausting(&firm);
    // Beyond the critical limit of connections the backfill does not go on taking them: it leaves, and what is done stays.
    let out = run.wait().expect_code(75).nowhere_has("panicked");
    let _ = out.stderr_has("connections").stderr_has("tenantmig resume");
    firm.no_partial_batch_by_now();
    let rows = firm.rows();
    only_too_many_clients(traffic);
    let begun = Instant::now();
    let again = firm.tool().url(&owner(&firm)).args(["resume"]).spawn();
    firm.wait_for_rows_after(rows);
    recovered("scenario 13, during the run", begun.elapsed());
    firm.go();
    let _ = again.wait().expect_code(0);
    firm.every_row_at_most_once();
    firm.stands("completed");
}

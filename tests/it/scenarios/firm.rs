//! The firm of the chaos plan: its database, the plan that migrates it, and the document's own questions about it.

use std::time::{Duration, Instant};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::harness::{Db, Output, Running, Tool, block_on, cluster, database};
use crate::scene::with_plan;

pub const ORGANIZATIONS: [&str; 3] = [
    "a1111111-1111-1111-1111-111111111111",
    "b2222222-2222-2222-2222-222222222222",
    "c3333333-3333-3333-3333-333333333333",
];
const SCHEMA: &str = include_str!("firm.sql");
const PLAN: &str = include_str!("firm.toml");

/// With the brake on, a batch of 100 funds takes a twenty-fifth of a second: the whole table four.
pub const FUNDS: i64 = 10_000;
const COMPANIES: i64 = 1_000;
const INVESTMENTS: i64 = 2_000;

/// How often something is looked at that a test waits for, and how long at most.
const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the backfill is: rows whose batch has committed.
pub const ROWS: &str = "SELECT coalesce(sum(rows_done), 0)::bigint FROM tenantmig.backfill_ranges";

/// A firm's database, on the shared cluster or on one of its own.
pub struct Firm {
    url: String,
    app: String,
    shared: Option<Db>,
    alone: Option<Cluster>,
}

impl Firm {
    /// On the shared cluster.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN");
        let firm = Self { url: db.url(), app, shared: Some(db), alone: None };
        firm.set_up();
        firm
    }

    /// On a cluster of its own, which the test may stop.
    #[track_caller]
    pub fn alone(settings: &[(&str, &str)]) -> Self {
        let extra_conf = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let bindir = Some(cluster().bindir().to_owned());
        let own = Cluster::start(ClusterOptions { bindir, extra_conf, ..ClusterOptions::default() }).unwrap();
        let firm = Self { url: own.url("postgres"), app: "updog_app".to_owned(), shared: None, alone: Some(own) };
        firm.sql("CREATE ROLE updog_app LOGIN");
        firm.set_up();
        firm
    }

    fn set_up(&self) {
        self.sql(&SCHEMA.replace("updog_app", &self.app));
        self.sql(&format!(
            "INSERT INTO funds (id, manager, name)
             SELECT n, (SELECT slug FROM organizations ORDER BY slug OFFSET n % 3 LIMIT 1), 'fund ' || n FROM generate_series(1, {FUNDS}) n;
             INSERT INTO portfoliocompanies (id, fund_id, name) SELECT n, 1 + n % {FUNDS}, 'company ' || n FROM generate_series(1, {COMPANIES}) n;
             INSERT INTO investments (id, fund_id, company_id, amount)
             SELECT n, 1 + (n % {COMPANIES} + 1) % {FUNDS}, 1 + n % {COMPANIES}, n FROM generate_series(1, {INVESTMENTS}) n;
             SELECT setval(pg_get_serial_sequence(t, 'id'), 1000000) FROM unnest(ARRAY['funds', 'portfoliocompanies', 'investments']) t;"
        ));
        self.sql("VACUUM ANALYZE");
    }

    /// As the superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As the application.
    pub fn app_url(&self) -> String {
        match (&self.shared, &self.alone) {
            (Some(db), _) => db.url_as(&self.app),
            (None, Some(own)) => own.url_as(&self.app, "postgres"),
            (None, None) => unreachable!("a firm is somewhere"),
        }
    }

    /// Its database on the shared cluster.
    pub fn db(&self) -> &Db {
        self.shared.as_ref().expect("a firm on the shared cluster")
    }

    /// The name of the application's role.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        self.shared.as_ref().map_or("postgres", Db::name)
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.alone.as_ref().unwrap_or_else(|| cluster()).port()
    }

    /// Its own server.
    pub fn server(&mut self) -> &mut Cluster {
        self.alone.as_mut().expect("a firm on a cluster of its own")
    }

    /// The migration.
    pub fn plan(&self) -> String {
        PLAN.replace("updog_app", &self.app)
    }

    /// The tool in an empty folder, as the superuser.
    pub fn tool(&self) -> Tool {
        Tool::without_database().url(&self.url)
    }

    /// `apply` with the migration.
    pub fn applying(&self) -> Tool {
        with_plan(self.tool(), &self.plan())
    }

    /// Runs a command by its words, in an empty folder: the plan's file is not there.
    #[track_caller]
    #[must_use = "a run proves nothing until its exit code is asserted"]
    pub fn run(&self, words: &str) -> Output {
        self.tool().args(words.split_whitespace()).run()
    }

    /// Takes row-level security back and leaves the columns, as the chaos plan's rollback script does.
    pub fn rolling_back(&self) -> Tool {
        self.tool().args(["rollback", "--to", "constraints", "--confirm", self.name(), "--accept-exposure"])
    }

    /// The word in `status`.
    #[track_caller]
    pub fn stands(&self, state: &str) {
        let status = self.run("status --json").expect_code(0).json();
        assert_eq!(status["state"], state, "{status:#}");
    }

    /// `verify` finds nothing wrong.
    #[track_caller]
    pub fn verified(&self) {
        let _ = self.run("verify").expect_code(0).stdout_has("0 failed");
    }

    #[track_caller]
    pub fn sql(&self, statements: &str) {
        try_sql(&self.url, statements).unwrap_or_else(|error| panic!("{statements}\n{error}"));
    }

    /// The first column of the one row of `query`.
    #[track_caller]
    pub fn one<T: for<'a> FromSql<'a> + Send + 'static>(&self, query: &str) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.ask(query) {
                Ok(value) => return value,
                // A server that a test has filled: the reserved connections may be those of the questions before, not yet closed.
                Err(error) if error.starts_with("53300") && Instant::now() < end => std::thread::sleep(POLL),
                Err(error) => panic!("{query}\n{error}"),
            }
        }
    }

    pub fn ask<T: for<'a> FromSql<'a> + Send + 'static>(&self, query: &str) -> Result<T, String> {
        let (url, query) = (self.url.clone(), query.to_owned());
        block_on(async move {
            let client = session(&url).await?;
            let row = client.query_one(&query, &[]).await.map_err(|error| said(&error))?;
            row.try_get(0).map_err(|error| error.to_string())
        })
    }

    /// Waits until a query of one boolean says true. The server need not be there yet.
    #[track_caller]
    pub fn wait_until(&self, query: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.ask(query).unwrap_or(false) {
            assert!(Instant::now() < end, "never true: {query}");
            std::thread::sleep(POLL);
        }
    }

    pub fn rows(&self) -> i64 {
        self.one(ROWS)
    }

    /// From now on batches take their time.
    pub fn brake(&self) {
        self.sql("INSERT INTO brake VALUES (true)");
    }

    /// Lets the backfill go as fast as it can.
    pub fn go(&self) {
        self.sql("DELETE FROM brake");
    }

    /// Applies the migration with the brake on, and returns once so much of the funds, in percent, is filled.
    #[track_caller]
    pub fn backfilling(&self, percent: i64) -> Running {
        self.backfilling_by(self.applying(), percent)
    }

    /// The same by a tool that is told how to connect.
    #[track_caller]
    pub fn backfilling_by(&self, tool: Tool, percent: i64) -> Running {
        self.brake();
        let run = tool.spawn();
        self.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
        self.wait_until(&format!("SELECT ({ROWS}) >= {}", FUNDS * percent / 100));
        run
    }

    /// Waits until more rows are filled than so many.
    #[track_caller]
    pub fn wait_for_rows_after(&self, rows: i64) {
        self.wait_until(&format!("SELECT ({ROWS}) > {rows}"));
    }

    /// The detection query of scenario 1 as it stands, but for its first column; and that what is filled is what the ledger
    /// says, to the row, in one snapshot: no batch is half there.
    #[track_caller]
    pub fn no_partial_batch(&self) {
        let agree: bool = self.one(&format!(
            "SELECT total = nulls + filled AND filled = ({ROWS}) FROM (
               SELECT
                 COUNT(*) as total,
                 COUNT(*) FILTER (WHERE organization_id IS NULL) as nulls,
                 COUNT(*) FILTER (WHERE organization_id IS NOT NULL) as filled
               FROM funds) AS detection"
        ));
        assert!(agree, "the rows and the ledger say different things");
    }

    /// The detection query at the end.
    #[track_caller]
    pub fn no_partial_batch_left(&self) {
        assert_eq!(self.one::<i64>("SELECT COUNT(*) FILTER (WHERE organization_id IS NULL) as nulls FROM funds"), 0);
    }

    /// What is filled is at least what the ledger says: the application's triggers fill rows too.
    #[track_caller]
    pub fn no_partial_batch_by_now(&self) {
        let agree: bool = self.one(&format!("SELECT count(organization_id) >= ({ROWS}) FROM funds"));
        assert!(agree, "the ledger says more than the rows");
    }

    /// Every row has its organization, and each fund was written exactly once by tenantmig, however often it began.
    #[track_caller]
    pub fn every_row_once(&self) {
        self.rows_right(&format!("f.id <= {FUNDS} AND f.touched <> 1"));
    }

    /// The same where the application wrote funds while the backfill ran: those it filled, tenantmig left alone.
    #[track_caller]
    pub fn every_row_at_most_once(&self) {
        self.rows_right("f.touched > 1");
    }

    #[track_caller]
    fn rows_right(&self, written_wrong: &str) {
        let wrong: i64 = self.one(&format!(
            "SELECT (SELECT count(*) FROM funds f JOIN organizations o ON o.slug = f.manager
                      WHERE f.organization_id IS DISTINCT FROM o.id OR ({written_wrong}))
                  + (SELECT count(*) FROM portfoliocompanies c JOIN funds f ON f.id = c.fund_id
                      WHERE c.organization_id IS DISTINCT FROM f.organization_id)
                  + (SELECT count(*) FROM investments i JOIN funds f ON f.id = i.fund_id
                      WHERE i.organization_id IS DISTINCT FROM f.organization_id)"
        ));
        assert_eq!(wrong, 0, "rows not written, or written twice");
    }

    /// The row counts of scenario 18, as it takes them.
    pub fn counts(&self) -> String {
        self.one(
            "SELECT string_agg(t || ' ' || n, ', ') FROM (
               SELECT 'funds', COUNT(*) FROM funds
               UNION ALL
               SELECT 'portfoliocompanies', COUNT(*) FROM portfoliocompanies
               UNION ALL
               SELECT 'investments', COUNT(*) FROM investments) AS counts (t, n)",
        )
    }

    /// All rows of the three tables as the application knows them.
    pub fn checksum(&self) -> String {
        let one = |table: &str| -> String {
            self.one(&format!(
                "SELECT md5(string_agg((to_jsonb(t) - 'touched')::text, '' ORDER BY id)) FROM {table} AS t"
            ))
        };
        ["funds", "portfoliocompanies", "investments"].map(one).join(" ")
    }

    /// The integrity checks of scenarios 18 and 20, as they stand: what they find, nothing where all is well.
    pub fn corruption(&self) -> Option<String> {
        let mismatched: i64 = self.one(
            "SELECT count(*) FROM (
               SELECT
                 pc.id,
                 pc.organization_id,
                 f.organization_id as fund_org
               FROM portfoliocompanies pc
               JOIN funds f ON pc.fund_id = f.id
               WHERE pc.organization_id != f.organization_id) AS orphaned",
        );
        let found: Option<String> = self.one(
            "SELECT string_agg(check_name || ': ' || failed_count, ', ')
               FROM (SELECT * FROM check_data_integrity() WHERE failed_count > 0) AS failed",
        );
        found.or((mismatched > 0).then(|| format!("{mismatched} of another organization than their fund")))
    }

    /// How many policies the three tables have, and whether any has row-level security.
    pub fn isolation(&self) -> (i64, bool) {
        let tables = "('funds', 'portfoliocompanies', 'investments')";
        (
            self.one(&format!("SELECT count(*) FROM pg_policies WHERE tablename IN {tables}")),
            self.one(&format!("SELECT bool_or(relrowsecurity) FROM pg_class WHERE relname IN {tables}")),
        )
    }
}

/// A session of the harness's own.
pub async fn session(url: &str) -> Result<Client, String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs statements on a session of their own.
pub fn try_sql(url: &str, statements: &str) -> Result<(), String> {
    let (url, statements) = (url.to_owned(), statements.to_owned());
    block_on(async move { session(&url).await?.batch_execute(&statements).await.map_err(|error| said(&error)) })
}

/// `SQLSTATE: message`.
pub fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => format!("connection: {error}"),
    }
}

/// A column of the first row of an answer.
pub fn cell(messages: &[SimpleQueryMessage], column: usize) -> Option<String> {
    let row = messages.iter().find_map(|it| if let SimpleQueryMessage::Row(row) = it { Some(row) } else { None });
    row.and_then(|row| row.get(column)).map(str::to_owned)
}

//! The stage of the fault tests: a small database, plans over it, and what a user or a DBA can see of it afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use tenantmig::pg::fingerprint::{ColumnName, Fingerprint, TableName};
use tokio_postgres::Client;

use crate::harness::{Db, Output, Tool, block_on, database};

/// Accounts carry the tenant, users point at them. `touched` counts the writes to each row.
pub const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.accounts (id bigint PRIMARY KEY, tenant_id uuid NOT NULL);
    INSERT INTO app.accounts SELECT n, ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM generate_series(1, 5) n;
    CREATE TABLE app.users (
        id bigint PRIMARY KEY, account_id bigint NOT NULL, email text NOT NULL, touched integer NOT NULL DEFAULT 0
    );
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();";

/// The first phase of most plans: the column, filled from the parent.
pub const EXPAND: &str = r#"
[[phase]]
id = "expand"
  [[phase.step]]
  kind = "add_column"
  table = "app.users"
  column = "tenant_id"
  type = "uuid"
  [[phase.step]]
  id = "fill"
  kind = "backfill"
  table = "app.users"
  column = "tenant_id"
  from = { table = "app.accounts", match = { account_id = "id" } }
"#;

/// A second phase that cannot fail by itself.
pub const MARK: &str = r#"
[[phase]]
id = "mark"
  [[phase.step]]
  kind = "add_column"
  table = "app.accounts"
  column = "marked"
  type = "integer"
"#;

/// How often something is looked at that a test waits for, and how long at most.
const POLL: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_secs(20);

/// A database with the schema above and a number of users.
#[derive(Debug)]
pub struct Scene {
    pub db: Db,
}

/// A plan of these phases: locks are waited for 150 ms, three times; batches have 100 rows.
pub fn plan(safety: &str, phases: &[&str]) -> String {
    let mut all = vec![format!("lock_timeout = \"150ms\"\nlock_retries = 2\n{safety}")];
    if safety.contains("lock_") {
        all = vec![safety.to_owned()];
    }
    let head = all.remove(0);
    format!("format = 1\nname = \"faults\"\n[safety]\n{head}\n[backfill]\nbatch_rows = 100\n{}", phases.join("\n"))
}

impl Scene {
    /// The schema with `users` users, each with an account and an address of its own.
    #[track_caller]
    pub fn new(name: &str, users: u32) -> Self {
        let db = database(name);
        db.sql(SCHEMA);
        db.sql(&format!(
            "INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n || '@example.org' FROM generate_series(1, {users}) n;
             ANALYZE app.users"
        ));
        Self { db }
    }

    /// The tool in an empty folder, as the superuser.
    pub fn tool(&self) -> Tool {
        Tool::new(&self.db)
    }

    /// `apply` with a plan in the working directory.
    pub fn applying(&self, plan: &str) -> Tool {
        with_plan(self.tool(), plan)
    }

    /// Applies a plan to its end.
    #[track_caller]
    pub fn apply(&self, plan: &str) -> Output {
        self.applying(plan).run()
    }

    /// Runs a command by its words, in an empty folder: the plan's file is not there.
    #[track_caller]
    pub fn run(&self, words: &str) -> Output {
        self.tool().args(words.split_whitespace()).run()
    }

    /// `status --json`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let status = self.run("status --json").expect_code(0).json();
        assert_eq!(status["v"], 1);
        status
    }

    /// Asserts the word in `status`, and that the ledger's two truths agree.
    #[track_caller]
    pub fn stands(&self, state: &str) {
        let status = self.status();
        assert_eq!(status["state"], state, "{status:#}");
        assert!(status["next"].as_str().is_some_and(|next| next.contains("tenantmig") || next.contains("wait")));
    }

    /// `verify` finds nothing wrong.
    #[track_caller]
    pub fn verified(&self) {
        let _ = self.run("verify").expect_code(0).stdout_has("0 failed");
    }

    /// Everything of the database that a user can tell, the tool's own schema aside.
    #[track_caller]
    pub fn print(&self) -> Fingerprint {
        let url = self.db.url();
        // On a thread of its own: its future is not Send, and the caller may be inside a runtime.
        let take = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                // How often a row was written is not part of what the user has.
                let of = TableName { schema: "app".to_owned(), table: "users".to_owned() };
                let touched = ColumnName { of, column: "touched".to_owned() };
                Fingerprint::take(&client, &["tenantmig".to_owned()], &[touched]).await.unwrap()
            })
        };
        std::thread::spawn(take).join().unwrap()
    }

    /// Asserts that the database is as it was.
    #[track_caller]
    pub fn is_as(&self, before: &Fingerprint) {
        if let Some(diff) = before.diff(&self.print()) {
            panic!("the database is not as it was:\n{diff}");
        }
    }

    /// How many events the ledger has.
    #[track_caller]
    pub fn events(&self) -> i64 {
        self.db.one("SELECT count(*) FROM tenantmig.events")
    }

    /// Asserts that the ledger has, or has not, an event of this kind.
    #[track_caller]
    pub fn has_event(&self, kind: &str) {
        let found: bool = self.db.one(&format!("SELECT EXISTS (SELECT FROM tenantmig.events WHERE kind = '{kind}')"));
        assert!(found, "no event {kind}");
    }

    /// Asserts that no index is invalid: neither a wreck nor a build under way.
    #[track_caller]
    pub fn no_wreck(&self) {
        let wrecks: Option<String> = self.db.one(
            "SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index WHERE NOT (indisvalid AND indisready)",
        );
        assert_eq!(wrecks, None, "an invalid index is left");
    }

    /// Whether a column exists.
    #[track_caller]
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.db.one(&format!(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}' AND NOT attisdropped)"
        ))
    }

    /// Asserts that every user has its account's tenant and was written exactly once.
    #[track_caller]
    pub fn every_row_once(&self) {
        let wrong: i64 = self.db.one(
            "SELECT count(*) FROM app.users u JOIN app.accounts a ON a.id = u.account_id
              WHERE u.tenant_id IS DISTINCT FROM a.tenant_id OR u.touched <> 1",
        );
        assert_eq!(wrong, 0, "rows not written, or written twice");
    }

    /// Waits until a query of one boolean says true.
    #[track_caller]
    pub fn wait_until(&self, query: &str) {
        let end = Instant::now() + POLL_MAX;
        while !self.db.one::<bool>(query) {
            assert!(Instant::now() < end, "never true: {query}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a session of the tool waits for somebody's lock.
    #[track_caller]
    pub fn wait_for_a_waiter(&self) {
        self.wait_until(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name LIKE 'tenantmig worker%' AND wait_event_type = 'Lock')",
        );
    }

    /// A session with an open transaction in which `statement` was run; it ends when it is dropped.
    #[track_caller]
    pub fn holding(&self, statement: &str) -> Client {
        let (url, statement) = (self.db.url(), format!("BEGIN; {statement}"));
        block_on(async move {
            let url = format!("{url}?application_name=the-holder");
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&statement).await.unwrap();
            client
        })
    }
}

/// Puts the plan into the tool's folder and applies it.
pub fn with_plan(tool: Tool, plan: &str) -> Tool {
    let path = tool.file("plan.toml", plan);
    assert!(Path::new(&path).is_file());
    tool.args(["apply", "plan.toml", "--yes"])
}

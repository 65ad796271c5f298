//! plans/alphapulse.toml whole through a transaction pooler with two server connections, beside applications in the same pool.

use tenantmig::demo::{
    alphapulse::OWNER,
    seed::{Scale, seed},
};

use tokio_postgres::NoTls;

use super::{application::Application, is_calm};
use crate::harness::{Db, Output, Pooler, Tool, block_on, database, pg_dump_fits, repo_path};

/// Small, since it goes through two server connections that others use as well.
const SMALL: Scale = Scale { users: 150 };

fn alphapulse(name: &str) -> Db {
    let db = database(name);
    let url = db.url();
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        seed(&client, SMALL).await.unwrap();
    });
    db
}

struct Stage {
    db: Db,
    pooler: Pooler,
    plan: String,
    /// The URL past the pooler.
    direct: Option<String>,
}

impl Stage {
    fn new(name: &str) -> Self {
        Self::through(name, Pooler::start("transaction", "default_pool_size = 2\nmax_client_conn = 50"))
    }

    fn through(name: &str, pooler: Pooler) -> Self {
        Self {
            db: alphapulse(name),
            pooler,
            plan: repo_path("plans/alphapulse.toml").display().to_string(),
            direct: None,
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut tool = Tool::without_database().url(&self.pooler.url_as(OWNER, self.db.name())).args(arguments);
        if let Some(direct) = &self.direct {
            tool = tool.env("TENANTMIG_DIRECT_URL", direct);
        }
        tool.run()
    }

    /// Up, looked at, and back to the start, as every operator goes; applications use the pool meanwhile and see none of our
    /// settings, and the schema is afterwards what it was.
    fn there_and_back(&self) {
        let before = pg_dump_fits().then(|| self.db.pg_dump_schema());
        let application = Application::start(&self.pooler.url_as(OWNER, self.db.name()));
        let _ = self.run(&["apply", &self.plan, "--yes"]).expect_code(0);
        // Under FORCE the owner sees no row without a tenant, so gates are measured as somebody who sees all.
        let all = Tool::without_database().url(&self.pooler.url(self.db.name()));
        let _ = all.args(["verify"]).run().expect_code(0).stdout_has("0 failed");
        let _ = self.run(&["status"]).expect_code(0).stdout_has("completed");
        let _ =
            self.run(&["rollback", "--to", "start", "--confirm", self.db.name(), "--accept-exposure"]).expect_code(0);
        let seen = application.stop();
        assert!(seen.transactions > 50, "the applications had only {} transactions", seen.transactions);
        assert!(seen.leaks.is_empty(), "{:#?}", seen.leaks);
        is_calm(&self.pooler, &self.db);
        assert_eq!(before, pg_dump_fits().then(|| self.db.pg_dump_schema()));
    }
}

#[test]
fn with_a_direct_url_the_whole_plan_goes_there_and_back() {
    let mut stage = Stage::new("pooler_direct");
    stage.direct = Some(stage.db.url_as(OWNER));
    stage.there_and_back();
}

/// Without a direct URL, where the role bounds its waits: that is the way on which CONCURRENTLY goes through the pooler too.
#[test]
fn in_session_mode_the_whole_plan_goes_there_and_back() {
    let stage = Stage::through("pooler_sessions", Pooler::start("session", "default_pool_size = 20"));
    stage.db.sql(&format!("ALTER ROLE {OWNER} IN DATABASE {} SET lock_timeout = '2s'", stage.db.name()));
    stage.there_and_back();
}

#[test]
fn in_session_mode_a_direct_url_is_taken_as_well() {
    let mut stage = Stage::through("pooler_sessions_direct", Pooler::start("session", "default_pool_size = 20"));
    stage.direct = Some(stage.db.url_as(OWNER));
    stage.there_and_back();
}

#[test]
fn without_one_it_is_refused_untouched_until_the_role_bounds_its_waits() {
    let stage = Stage::new("pooler_refused");
    let before = pg_dump_fits().then(|| stage.db.pg_dump_schema());
    for command in [["plan", stage.plan.as_str()].as_slice(), &["apply", &stage.plan, "--yes"]] {
        let out = stage.run(command).expect_code(4).stderr_has("--direct-url").stderr_has("lock_timeout");
        let _ = out.stderr_has("idx_users_tenant_id").stderr_has("nothing was touched");
    }
    assert!(!stage.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
    assert_eq!(before, pg_dump_fits().then(|| stage.db.pg_dump_schema()));

    stage.db.sql(&format!("ALTER ROLE {OWNER} IN DATABASE {} SET lock_timeout = '2s'", stage.db.name()));
    // Sessions of the pool that are older do not have it.
    stage.pooler.admin("RECONNECT");
    stage.there_and_back();
}

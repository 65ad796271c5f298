//! The rollback procedure of memory_chunks: its scenarios 1 to 3. Where it calls alembic, tenantmig stands; its revision is what
//! `status` says. Its checks before and after run as they stand, but that `pg_policies` calls a policy `policyname`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::recovery::recovered;
use crate::harness::{Output, Path, Proxy, Running, Signal, Tool, cluster, database};
use crate::scene::{Scene, with_plan};
use tenantmig::pg::fingerprint::Fingerprint;

const PLAN: &str = include_str!("memory_chunks.toml");
/// Manually executed, if all else fails: the document's appendix as it stands.
const APPENDIX: &str = "
-- Drop partial indexes
DROP INDEX IF EXISTS idx_memory_chunks_embedding_hnsw;
DROP INDEX IF EXISTS idx_memory_chunks_embedding_ivfflat;
DROP INDEX IF EXISTS idx_memory_chunks_user_embedding;

-- Drop RLS policy
DROP POLICY IF EXISTS memory_tenant_isolation ON memory_chunks;

-- Disable RLS
ALTER TABLE memory_chunks DISABLE ROW LEVEL SECURITY;

-- Drop table
DROP TABLE IF EXISTS memory_chunks;

-- Verify
SELECT COUNT(*) FROM information_schema.tables
WHERE table_name = 'memory_chunks';
-- Expected result: 0
";
/// How long the network is gone in scenario 3.
const NETWORK_GONE: Duration = Duration::from_secs(5);

/// A database in which the migration is applied, and what it was before.
struct Stage {
    scene: Scene,
    app: String,
    before: Fingerprint,
}

impl Stage {
    #[track_caller]
    fn new(name: &str) -> Self {
        let db = database(name);
        let app = db.role("relay", "LOGIN");
        db.sql("CREATE TABLE conversations (id bigint PRIMARY KEY); INSERT INTO conversations SELECT generate_series(1, 100)");
        let scene = Scene { db };
        let before = scene.print();
        let _ = with_plan(scene.tool(), &PLAN.replace("relay_app", &app)).run().expect_code(0);
        let stage = Self { scene, app, before };
        stage.is_applied();
        stage
    }

    /// The pre-rollback validation: table, policy, the three indexes beside the key's, and the revision.
    #[track_caller]
    fn is_applied(&self) {
        let seen = self.scene.db.psql(
            "\\d memory_chunks\n\\t on\n
             SELECT policyname, cmd FROM pg_policies WHERE tablename='memory_chunks' AND schemaname='public';
             SELECT indexname FROM pg_indexes WHERE tablename='memory_chunks' ORDER BY 1;",
        );
        let index = ["embedding_hnsw", "embedding_ivfflat", "user_embedding"].map(|i| format!("idx_memory_chunks_{i}"));
        assert!(index.iter().all(|name| seen.contains(name)) && seen.contains("memory_tenant_isolation"), "{seen}");
        self.scene.stands("completed");
    }

    /// The post-rollback validation, of what the application can see; and that the database is to the letter what it was.
    #[track_caller]
    fn is_gone(&self) {
        let seen = self.scene.db.psql(
            "\\t on\n\\a\n
             SELECT COUNT(*) FROM information_schema.tables WHERE table_name='memory_chunks' AND table_schema='public';
             SELECT COUNT(*) FROM pg_policies WHERE tablename='memory_chunks' AND schemaname='public';
             SELECT COUNT(*) FROM pg_indexes WHERE tablename='memory_chunks' AND schemaname='public';",
        );
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "0", "0"]);
        self.scene.is_as(&self.before);
    }

    fn fill(&self) {
        // As the application, under its policy.
        let rows = "BEGIN; SET LOCAL app.user_hash = 'user-1';
            INSERT INTO memory_chunks (user_hash, doc_id, text_cipher, embedding)
            SELECT 'user-1', 'doc ' || n, decode(md5(n::text), 'hex'), ARRAY[n, n + 1, n + 2]::real[] FROM generate_series(1, 10000) n;
            COMMIT";
        self.scene.db.sql_as(&self.app, rows).unwrap();
        let hidden: i64 = self.scene.db.one_as(&self.app, "SELECT count(*) FROM memory_chunks").unwrap();
        assert_eq!(hidden, 0, "the policy is not active");
    }

    fn rolling_back(&self, tool: Tool) -> Tool {
        tool.args(["rollback", "--to", "start", "--confirm", self.scene.db.name(), "--accept-exposure"])
    }

    #[track_caller]
    fn rolled_back(&self) -> Output {
        self.rolling_back(self.scene.tool()).run().expect_code(0).stdout_has("rolled back to `start`")
    }
}

#[test]
fn rollback_scenario_1_immediate_rollback_of_an_empty_table() {
    let stage = Stage::new("procedure_1");
    let _ = stage.scene.run("rollback --to start --yes").expect_code(4).stderr_has("the database's name");
    stage.is_applied();
    let begun = Instant::now();
    let _ = stage.rolled_back();
    recovered("rollback scenario 1", begun.elapsed());
    stage.is_gone();
    stage.scene.stands("rolled back");
}

#[test]
fn rollback_scenario_2_with_data() {
    let stage = Stage::new("procedure_2");
    stage.fill();
    let out = stage.scene.run("rollback --to start --yes").expect_code(4).stderr_has("nothing was changed");
    let _ = out.stderr_has("row-level security off").stderr_has("--confirm");
    assert_eq!(stage.scene.db.one::<i64>("SELECT count(*) FROM memory_chunks"), 10_000);
    let begun = Instant::now();
    let _ = stage.rolled_back();
    recovered("rollback scenario 2", begun.elapsed());
    stage.is_gone();
    assert_eq!(stage.scene.db.one::<i64>("SELECT COUNT(*) FROM conversations"), 100);
    // "Data is lost during rollback": not here, they are put aside for the next apply.
    let kept = "SELECT count(*) FROM tenantmig_aside_undone_public_memory_chunks.memory_chunks";
    assert_eq!(stage.scene.db.one::<i64>(kept), 10_000);
}

/// The network goes when the rollback is about to drop an index: the policy is gone by then, the table is not.
fn cut_off(stage: &Stage) -> (Proxy, Running) {
    let proxy = Proxy::to(cluster().port());
    let reached = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&reached);
    proxy.judge(move |frame| {
        let drops = frame.application.starts_with("tenantmig worker") && frame.text().contains("DROP INDEX");
        if drops {
            told.store(true, Ordering::SeqCst);
        }
        if drops { crate::harness::Verdict::Reset } else { crate::harness::Verdict::Forward }
    });
    let run = stage.rolling_back(stage.scene.tool().url(&proxy.url(stage.scene.db.name()))).spawn();
    let begun = Instant::now();
    while !reached.load(Ordering::SeqCst) {
        assert!(begun.elapsed() < Duration::from_secs(30), "no index was about to be dropped");
        std::thread::sleep(Duration::from_millis(1));
    }
    proxy.set(Path::Refuse);
    proxy.reset();
    proxy.acquit();
    let half: bool = stage.scene.db.one(
        "SELECT NOT EXISTS (SELECT FROM pg_policies WHERE tablename = 'memory_chunks') AND to_regclass('memory_chunks') IS NOT NULL",
    );
    assert!(half, "it was not in the middle of the rollback");
    (proxy, run)
}

#[test]
fn rollback_scenario_3_on_connection_error_it_goes_on_by_itself() {
    let stage = Stage::new("procedure_3");
    stage.fill();
    let (proxy, mut run) = cut_off(&stage);
    run.wait_stderr("the connection was lost");
    std::thread::sleep(NETWORK_GONE);
    proxy.set(Path::Open);
    let begun = Instant::now();
    let _ = run.wait().expect_code(0).stdout_has("rolled back to `start`");
    recovered("rollback scenario 3, goes on by itself", begun.elapsed());
    stage.is_gone();
}

/// The operator's machine is gone with the network: another one takes over.
fn left_half_way(name: &str) -> Stage {
    let stage = Stage::new(name);
    stage.fill();
    let (proxy, mut run) = cut_off(&stage);
    run.signal(Signal::KILL);
    let _ = run.wait();
    drop(proxy);
    stage.scene.wait_until(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')",
    );
    stage.scene.stands("stopped while rolling back");
    stage
}

#[test]
fn rollback_scenario_3_on_connection_error_the_same_command_finishes() {
    let stage = left_half_way("procedure_3_retry");
    let begun = Instant::now();
    let _ = stage.rolled_back();
    recovered("rollback scenario 3, retried", begun.elapsed());
    stage.is_gone();
    stage.scene.stands("rolled back");
}

#[test]
fn rollback_scenario_3_on_connection_error_psql_finishes_by_hand() {
    let stage = left_half_way("procedure_3_hand");
    let script = stage.scene.run("rollback --to start -n --sql").expect_code(0).stdout;
    let begun = Instant::now();
    stage.scene.db.psql(&script);
    recovered("rollback scenario 3, by hand", begun.elapsed());
    stage.is_gone();
    // The ledger does not know it yet; the command finds nothing left to undo, and says so to the ledger.
    let _ = stage.rolled_back();
    stage.is_gone();
    stage.scene.stands("rolled back");
    // The document's own statements do the same to a migration that is whole.
    let stage = Stage::new("procedure_appendix");
    stage.scene.db.psql(APPENDIX);
    stage.is_gone();
    let _ = stage.rolled_back();
    stage.is_gone();
    stage.scene.stands("rolled back");
}

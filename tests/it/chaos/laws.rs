//! What must hold once a run has come to its end, whatever happened on the way.

use std::time::{Duration, Instant};

use serde_json::Value;
use tenantmig::pg::fingerprint::{ColumnName, Fingerprint, TableName};

use crate::harness::Tool;

use super::Way;
use super::application::{FIRST_OWN, Receipts, UPDATED_MAX};
use super::ground::Ground;

const TABLES: [&str; 3] = ["users", "trades", "orders"];
/// The server ends a session a moment after its client.
const SESSIONS_GONE_MAX: Duration = Duration::from_secs(5);

/// What nobody disturbed: the database before and after the plan.
#[derive(Debug)]
pub struct Undisturbed {
    pub start: Fingerprint,
    pub up: Fingerprint,
}

/// A database, and what was done to it.
pub struct Judgement<'a> {
    pub ground: &'a Ground,
    pub database: &'a str,
    pub undisturbed: &'a Undisturbed,
}

impl Judgement<'_> {
    /// Everything that must hold at the end of this way; the first thing that does not.
    pub fn holds(&self, way: Way, receipts: &Receipts) -> Result<(), String> {
        self.nobody_is_left()?;
        self.indexes()?;
        self.receipts(receipts)?;
        self.journal(way)?;
        self.touched(way)?;
        self.told(way)?;
        // The application's own rows are checked; without them the data is the undisturbed run's.
        for table in TABLES {
            self.ground.sql(self.database, &format!("DELETE FROM app.{table} WHERE id >= {FIRST_OWN}"));
        }
        let (was, now) = match way {
            Way::Up => (&self.undisturbed.up, self.print()),
            Way::Down => (&self.undisturbed.start, self.print()),
        };
        was.diff(&now).map_or(Ok(()), |diff| Err(format!("not as an undisturbed run leaves it:\n{diff}")))
    }

    /// What must hold in the middle, when nobody is at work: what is counted is written, and what is written is counted. The
    /// end alone would not tell, since the proof at the end finds every row that a wrong count passed over. Only rows that
    /// the application leaves alone are looked at: an update may move one into a range that is done.
    pub fn holds_half_way(&self) -> Result<(), String> {
        let began = "SELECT count(*) = 3 FROM pg_attribute WHERE attname = 'tenant_id' AND NOT attisdropped
                        AND attrelid IN (to_regclass('app.trades'), to_regclass('app.users'), to_regclass('app.orders'))";
        if !self.ground.try_one::<bool>(self.database, began)? {
            return Ok(());
        }
        self.nobody_is_left()?;
        for table in TABLES {
            self.none(
                "counted, and not written",
                &format!(
                    "SELECT '{table} ' || t.id || ' of range ' || r.number FROM tenantmig.backfill_ranges r
                       JOIN app.{table} t ON r.heap::regclass = t.tableoid AND (t.ctid::text::point)[0] >= r.lo
                        AND (t.ctid::text::point)[0] < r.hi AND get_byte(tidsend(t.ctid), 5) % r.stripes < r.stripes_done
                      WHERE t.tenant_id IS NULL AND t.id > {UPDATED_MAX} AND t.id < {FIRST_OWN} AND r.sweep = 0 AND NOT r.skipping"
                ),
            )?;
        }
        self.counted()
    }

    /// Catalogue and rows. Counters of writes are no part of what a user has.
    pub fn print(&self) -> Fingerprint {
        print(&self.ground.url(self.database))
    }

    /// Nothing was found: no row, or NULL.
    fn none(&self, what: &str, query: &str) -> Result<(), String> {
        let found: Option<String> =
            self.ground.one(self.database, &format!("SELECT string_agg(t, '; ') FROM ({query}) q(t)"));
        found.map_or(Ok(()), |found| Err(format!("{what}: {found}")))
    }

    fn nobody_is_left(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let left = self.none(
                "sessions are left",
                "SELECT string_agg(application_name || ' ' || state || ': ' || query, '; ') FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name LIKE 'tenantmig%'",
            );
            if left.is_ok() || begun.elapsed() > SESSIONS_GONE_MAX {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn indexes(&self) -> Result<(), String> {
        self.none(
            "invalid indexes",
            "SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive)",
        )?;
        let check = "DO $$ DECLARE i regclass; BEGIN
            FOR i IN SELECT c.oid FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE c.relkind = 'i' AND a.amname = 'btree' AND n.nspname IN ('app', 'tenantmig')
            LOOP PERFORM bt_index_check(i, true); END LOOP; END $$";
        super::ground::run(&self.ground.url(self.database), check).map_err(|why| format!("an index is corrupt: {why}"))
    }

    fn receipts(&self, receipts: &Receipts) -> Result<(), String> {
        for (table, ids) in &receipts.inserted {
            let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            self.none(
                &format!("acknowledged rows of {table} are lost"),
                &format!(
                    "SELECT string_agg(w.id::text, ', ') FROM unnest('{{{list}}}'::bigint[]) w(id)
                      WHERE NOT EXISTS (SELECT FROM app.{table} t WHERE t.id = w.id)"
                ),
            )?;
        }
        for ((table, id), (acknowledged, tried)) in &receipts.updated {
            let there: i32 =
                self.ground.one(self.database, &format!("SELECT revision FROM app.{table} WHERE id = {id}"));
            if !(*acknowledged..=*tried).contains(&there) {
                return Err(format!("{table} {id} has revision {there}: {acknowledged} acknowledged, {tried} tried"));
            }
        }
        Ok(())
    }

    /// One run, whose events have no gap, whose units all stand where they should, and a lease that nobody alive holds.
    fn journal(&self, way: Way) -> Result<(), String> {
        self.none(
            "the journal",
            "SELECT 'there are ' || count(*) || ' runs' FROM tenantmig.runs HAVING count(*) <> 1",
        )?;
        self.none(
            "the events have a gap",
            "SELECT string_agg(x, '; ') FROM (SELECT run_id || ': ' || min(number) || ' to ' || max(number) || ', ' || count(*) AS x
               FROM tenantmig.events GROUP BY run_id HAVING min(number) <> 1 OR max(number) <> count(*)) g",
        )?;
        self.none(
            "epochs go back",
            "SELECT string_agg(number::text, ', ') FROM (SELECT number, epoch, lag(epoch) OVER (ORDER BY number) AS before FROM tenantmig.events) e
              WHERE epoch < before",
        )?;
        self.none(
            "something failed that only was interrupted",
            "SELECT string_agg(kind || ' ' || coalesce(unit, '') || ': ' || event::text, '; ') FROM tenantmig.events
              WHERE kind IN ('failed', 'undo_failed', 'gate_failed', 'paused')",
        )?;
        let status = if way == Way::Up { "done" } else { "pending" };
        self.none(
            "units",
            &format!("SELECT string_agg(unit || ' is ' || status, '; ') FROM tenantmig.migration_progress WHERE status <> '{status}'"),
        )?;
        // Where giving it back was struck, the session that renewed it is gone, and a successor need not wait.
        self.none(
            "the lease",
            "SELECT 'held by ' || holder FROM tenantmig.lease WHERE EXISTS (SELECT FROM pg_stat_activity a
              WHERE a.pid = backend_pid AND a.backend_start = lease.backend_start AND holder IS NOT NULL)",
        )
    }

    /// tenantmig wrote each row exactly once, and counted each.
    fn touched(&self, way: Way) -> Result<(), String> {
        for table in TABLES {
            self.none(
                &format!("rows of {table} were not written once"),
                &format!(
                    "SELECT string_agg(id || ': ' || touched, ', ') FROM app.{table}
                      WHERE touched > 1 OR (id < {FIRST_OWN} AND touched <> 1)"
                ),
            )?;
        }
        if way == Way::Up { self.counted() } else { Ok(()) }
    }

    /// The ledger counts as many rows as tenantmig wrote.
    fn counted(&self) -> Result<(), String> {
        for table in TABLES {
            self.none(
                &format!("the ledger's count of {table} is wrong"),
                &format!(
                    "SELECT counted || ' counted, ' || written || ' written' FROM (SELECT
                       (SELECT coalesce(sum(rows_done), 0) FROM tenantmig.backfill_ranges WHERE unit LIKE '%/{table}-%') AS counted,
                       (SELECT sum(touched) FROM app.{table}) AS written) c WHERE counted <> written"
                ),
            )?;
        }
        Ok(())
    }

    /// What the program says of it.
    fn told(&self, way: Way) -> Result<(), String> {
        let tool = || Tool::without_database().url(&self.ground.url(self.database));
        let out = tool().args(["status", "--json"]).run();
        let state = serde_json::from_str::<Value>(&out.stdout).map(|status| status["state"].clone());
        let should = if way == Way::Up { "completed" } else { "rolled back" };
        if !state.as_ref().is_ok_and(|state| state == should) {
            return Err(format!("the state is not `{should}`:\n{out}"));
        }
        let out = tool().args(["verify"]).run();
        if out.code == 0 { Ok(()) } else { Err(format!("verify:\n{out}")) }
    }
}

/// The fingerprint of a database, taken on a runtime of its own: its future is not Send.
pub fn print(url: &str) -> Fingerprint {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let counter = |table: &str, column: &str| ColumnName {
            of: TableName { schema: "app".to_owned(), table: table.to_owned() },
            column: column.to_owned(),
        };
        let heaps = ["users", "trades", "orders", "orders_0", "orders_1"];
        let counters: Vec<_> = heaps.iter().flat_map(|t| [counter(t, "touched"), counter(t, "revision")]).collect();
        Fingerprint::take(&client, &["tenantmig".to_owned()], &counters).await.unwrap()
    })
}

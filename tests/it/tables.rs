//! Backfills of tables of every kind, and of tables that change their shape in the middle: each row gets its parent's value, and
//! no row is written twice.

use std::time::Duration;

use crate::harness::{Output, Signal};
use crate::scene::{Scene, with_plan};

/// Accounts with their tenants, what rows may need, and a trigger function that counts what the tool writes.
const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.accounts (id bigint PRIMARY KEY, tenant_id uuid NOT NULL);
    INSERT INTO app.accounts SELECT n, ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM generate_series(1, 5) n;
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') LIKE 'tenantmig%' THEN NEW.touched := OLD.touched + 1; END IF;
        RETURN NEW; END $$;
    CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') LIKE 'tenantmig%' THEN PERFORM pg_sleep(0.02); END IF;
        RETURN NULL; END $$;";

/// The columns that each table has besides its own.
const COLUMNS: &str = "account_id bigint NOT NULL, touched integer NOT NULL DEFAULT 0, tenant_id uuid";

/// What a table is and what is in it. `{COLUMNS}` stands for the columns above.
struct Shape {
    what: &'static str,
    create: &'static str,
    /// Run one by one afterwards, as VACUUM must be.
    then: &'static [&'static str],
    table: &'static str,
    rows: i64,
}

impl Shape {
    const fn new(what: &'static str, create: &'static str, rows: i64) -> Self {
        Self { what, create, then: &[], table: "app.t", rows }
    }
}

const SHAPES: &[Shape] = &[
    Shape::new(
        "no key, and rows that are alike",
        "CREATE TABLE app.t ({COLUMNS}); INSERT INTO app.t SELECT 1 + n % 5 FROM generate_series(1, 3000) n",
        3_000,
    ),
    Shape::new(
        "a random uuid as key",
        "CREATE TABLE app.t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), {COLUMNS});
         INSERT INTO app.t (account_id) SELECT 1 + n % 5 FROM generate_series(1, 3000) n",
        3_000,
    ),
    Shape::new(
        "a composite key, against the order of the heap",
        "CREATE TABLE app.t (a integer, b integer, {COLUMNS}, PRIMARY KEY (b, a));
         INSERT INTO app.t SELECT n, n * 7919 % 3001, 1 + n % 5 FROM generate_series(1, 3000) n",
        3_000,
    ),
    Shape::new(
        "a text key",
        "CREATE TABLE app.t (code text PRIMARY KEY, {COLUMNS});
         INSERT INTO app.t SELECT chr(33 + n % 90) || 'ß''\"\\' || n, 1 + n % 5 FROM generate_series(1, 3000) n",
        3_000,
    ),
    Shape {
        what: "names in mixed case",
        create: "CREATE SCHEMA \"App Two\"; CREATE TABLE \"App Two\".\"Order.Lines\" (\"Id\" bigint PRIMARY KEY, {COLUMNS});
             INSERT INTO \"App Two\".\"Order.Lines\" SELECT n, 1 + n % 5 FROM generate_series(1, 3000) n",
        then: &[],
        table: "\"App Two\".\"Order.Lines\"",
        rows: 3_000,
    },
    Shape::new(
        "partitions of several levels, without a key",
        "CREATE TABLE app.t (at date NOT NULL, id bigint, {COLUMNS}) PARTITION BY RANGE (at);
         CREATE TABLE app.t1 PARTITION OF app.t FOR VALUES FROM ('2025-01-01') TO ('2025-07-01');
         CREATE TABLE app.t2 PARTITION OF app.t FOR VALUES FROM ('2025-07-01') TO ('2026-01-01') PARTITION BY HASH (id);
         CREATE TABLE app.t2a PARTITION OF app.t2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE app.t2b PARTITION OF app.t2 FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST (account_id);
         CREATE TABLE app.t2b1 PARTITION OF app.t2b FOR VALUES IN (1, 2);
         CREATE TABLE app.t2bx PARTITION OF app.t2b DEFAULT;
         CREATE TABLE app.t3 PARTITION OF app.t FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
         CREATE TABLE app.tx PARTITION OF app.t DEFAULT;
         INSERT INTO app.t SELECT '2025-01-01'::date + n % 500, n, 1 + n % 5 FROM generate_series(1, 9000) n",
        9_000,
    ),
    Shape::new(
        "partitions by the column itself",
        "CREATE TABLE app.t (id bigint, {COLUMNS}) PARTITION BY LIST (tenant_id);
         CREATE TABLE app.t1 PARTITION OF app.t FOR VALUES IN ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003');
         CREATE TABLE app.tx PARTITION OF app.t DEFAULT;
         INSERT INTO app.t SELECT n, 1 + n % 5 FROM generate_series(1, 3000) n",
        3_000,
    ),
    Shape::new(
        "children and a grandchild, the same keys in each",
        "CREATE TABLE app.t (id bigint PRIMARY KEY, {COLUMNS}); CREATE SCHEMA old;
         CREATE TABLE app.\"Child\" (more text) INHERITS (app.t); CREATE TABLE old.grandchild () INHERITS (app.\"Child\"); CREATE TABLE app.empty () INHERITS (app.t);
         INSERT INTO app.t SELECT n, 1 + n % 5 FROM generate_series(1, 1000) n;
         INSERT INTO app.\"Child\" SELECT n, 1 + (n + 1) % 5 FROM generate_series(1, 1000) n;
         INSERT INTO old.grandchild SELECT n, 1 + (n + 2) % 5 FROM generate_series(1, 3000) n;
         CREATE TRIGGER touch BEFORE UPDATE ON app.\"Child\" FOR EACH ROW EXECUTE FUNCTION app.touch();
         CREATE TRIGGER touch BEFORE UPDATE ON old.grandchild FOR EACH ROW EXECUTE FUNCTION app.touch()",
        5_000,
    ),
    Shape::new(
        "values of 100 kB, out of line and in line",
        "CREATE TABLE app.t (id bigint PRIMARY KEY, body text, wide text, {COLUMNS}); ALTER TABLE app.t ALTER body SET STORAGE EXTERNAL;
         INSERT INTO app.t SELECT n, repeat(md5(n::text), 3200), repeat(md5(n::text), 40), 1 + n % 5 FROM generate_series(1, 200) n",
        200,
    ),
    Shape::new("an empty table", "CREATE TABLE app.t (id bigint PRIMARY KEY, {COLUMNS})", 0),
    Shape::new(
        "dropped columns",
        "CREATE TABLE app.t (gone1 text, id bigint PRIMARY KEY, gone2 bigint, {COLUMNS}, gone3 uuid DEFAULT gen_random_uuid());
         INSERT INTO app.t SELECT 'x', n, n, 1 + n % 5 FROM generate_series(1, 3000) n;
         ALTER TABLE app.t DROP gone1; ALTER TABLE app.t DROP gone2, DROP gone3; ALTER TABLE app.t ADD later text DEFAULT 'y'",
        3_000,
    ),
    Shape {
        what: "all rows dead",
        create: "CREATE TABLE app.t (id bigint PRIMARY KEY, {COLUMNS});
             INSERT INTO app.t SELECT n, 1 + n % 5 FROM generate_series(1, 3000) n",
        then: &["DELETE FROM app.t"],
        table: "app.t",
        rows: 0,
    },
    Shape {
        what: "holes of empty pages",
        create: "CREATE TABLE app.t (id bigint PRIMARY KEY, {COLUMNS});
             INSERT INTO app.t SELECT n, 1 + n % 5 FROM generate_series(1, 20000) n",
        then: &["DELETE FROM app.t WHERE id BETWEEN 500 AND 12000 OR id BETWEEN 15000 AND 19990", "VACUUM app.t"],
        table: "app.t",
        rows: 3_508,
    },
];

fn plan(table: &str) -> String {
    format!(
        "format = 1\nname = \"tables\"\n[safety]\nlock_retries = 50\n[[phase]]\nid = \"expand\"\non_failure = \"pause\"\n[[phase.step]]\nid = \"fill\"\nkind = \"backfill\"\n\
         table = '{table}'\ncolumn = \"tenant_id\"\nfrom = {{ table = \"app.accounts\", match = {{ account_id = \"id\" }} }}\n"
    )
}

fn set_up(name: &str, create: &str, table: &str) -> Scene {
    let scene = Scene { db: crate::harness::database(name) };
    scene.db.sql(SCHEMA);
    scene.db.sql(&create.replace("{COLUMNS}", COLUMNS));
    scene.db.sql(&format!("CREATE TRIGGER touch BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION app.touch()"));
    scene
}

/// What is wrong with the table after a run: rows with another value than their parent's, or written twice or never.
fn wrong(scene: &Scene, table: &str, rows: i64, out: &Output) -> Option<String> {
    if out.code != 0 {
        return Some(out.to_string());
    }
    let (there, right): (i64, i64) = (
        scene.db.one(&format!("SELECT count(*) FROM {table}")),
        scene.db.one(&format!(
            "SELECT count(*) FROM {table} t JOIN app.accounts a ON a.id = t.account_id WHERE t.tenant_id = a.tenant_id AND t.touched = 1"
        )),
    );
    let is_right = (there, right) == (rows, rows);
    (!is_right).then(|| format!("{right} of {there} rows are right, {rows} should be:\n{out}"))
}

#[test]
fn tables_of_every_kind_are_filled_once() {
    let mut bad = Vec::new();
    for Shape { what, create, then, table, rows } in SHAPES {
        let scene = set_up("kinds", create, table);
        for statement in *then {
            scene.db.sql(statement);
        }
        let out = with_plan(scene.tool(), &plan(table)).run();
        bad.extend(wrong(&scene, table, *rows, &out).map(|why| format!("{what}: {why}")));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// What happens to a table in the middle of its backfill.
struct Turn {
    what: &'static str,
    create: &'static str,
    /// Statements of somebody else's.
    then: &'static [&'static str],
    rows: i64,
}

const PLAIN: &str = "CREATE TABLE app.t (id bigint PRIMARY KEY, note text, {COLUMNS});
    INSERT INTO app.t SELECT n, md5(n::text), 1 + n % 5 FROM generate_series(1, 20000) n;
    CREATE INDEX by_note ON app.t (note); ANALYZE app.t;
    CREATE TRIGGER slow AFTER UPDATE ON app.t FOR EACH STATEMENT EXECUTE FUNCTION app.slow()";
const PARTED: &str = "CREATE TABLE app.t (id bigint, part integer NOT NULL, {COLUMNS}) PARTITION BY LIST (part);
    CREATE TABLE app.t1 PARTITION OF app.t FOR VALUES IN (1); CREATE TABLE app.t2 PARTITION OF app.t FOR VALUES IN (2);
    INSERT INTO app.t SELECT n, 1 + n % 2, 1 + n % 5 FROM generate_series(1, 20000) n; ANALYZE app.t;
    CREATE TRIGGER slow AFTER UPDATE ON app.t1 FOR EACH STATEMENT EXECUTE FUNCTION app.slow();
    CREATE TRIGGER slow AFTER UPDATE ON app.t2 FOR EACH STATEMENT EXECUTE FUNCTION app.slow()";

const TURNS: &[Turn] = &[
    Turn { what: "clustered", create: PLAIN, then: &["CLUSTER app.t USING by_note"], rows: 20_000 },
    Turn {
        what: "emptied in part and written anew",
        create: PLAIN,
        then: &["DELETE FROM app.t WHERE id % 3 = 0", "VACUUM FULL app.t"],
        rows: 13_334,
    },
    Turn {
        what: "rows moved to later pages",
        create: PLAIN,
        then: &["UPDATE app.t SET note = note || repeat('x', 700) WHERE id % 3 = 0"],
        rows: 20_000,
    },
    Turn {
        what: "a partition attached",
        create: PARTED,
        then: &["CREATE TABLE app.t3 (LIKE app.t INCLUDING DEFAULTS);
             INSERT INTO app.t3 SELECT n, 3, 1 + n % 5 FROM generate_series(1, 2000) n;
             ALTER TABLE app.t ATTACH PARTITION app.t3 FOR VALUES IN (3)"],
        rows: 22_000,
    },
    Turn {
        what: "rows moved to another partition",
        create: PARTED,
        then: &["UPDATE app.t SET part = 3 - part WHERE id % 3 = 0"],
        rows: 20_000,
    },
];

/// As a retention job does every day.
const DROPPED: Turn = Turn { what: "a partition dropped", create: PARTED, then: &["DROP TABLE app.t2"], rows: 10_000 };

/// Waits for the middle: some rows are written and most are not.
#[track_caller]
fn is_in_the_middle(scene: &Scene) {
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until("SELECT count(*) > 1000 FROM app.t WHERE tenant_id IS NOT NULL");
    let left: i64 = scene.db.one("SELECT count(*) FROM app.t WHERE tenant_id IS NULL");
    assert!(left > 2_000, "the middle is over: {left} rows are left");
}

/// With `stop`, the run is stopped first and resumed afterwards; otherwise it goes on meanwhile.
fn turn(turn: &Turn, stop: bool) -> Option<String> {
    let Turn { what, create, then, rows } = turn;
    let scene = set_up("turns", create, "app.t");
    let mut run = with_plan(scene.tool(), &plan("app.t")).timeout(Duration::from_secs(60)).spawn();
    is_in_the_middle(&scene);
    let change = || then.iter().for_each(|statement| scene.db.sql(statement));
    let out = if stop {
        run.signal(Signal::INT);
        let _ = run.wait().expect_code(130);
        change();
        scene.run("resume")
    } else {
        change();
        run.wait()
    };
    wrong(&scene, "app.t", *rows, &out).map(|why| format!("{what} (stopped: {stop}): {why}"))
}

#[test]
fn tables_that_change_their_shape_while_a_backfill_runs_are_filled_once() {
    let bad: Vec<_> = TURNS.iter().filter_map(|it| turn(it, false)).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

#[test]
fn tables_that_change_their_shape_while_a_backfill_is_stopped_are_filled_once() {
    let bad: Vec<_> = TURNS.iter().chain([&DROPPED]).filter_map(|it| turn(it, true)).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

#[test]
fn a_partition_that_is_dropped_while_a_backfill_runs_is_left_out() {
    let bad = turn(&DROPPED, false);
    assert!(bad.is_none(), "{}", bad.unwrap_or_default());
}

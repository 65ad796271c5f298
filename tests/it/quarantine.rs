//! Rows without a tenant: moved aside, never lost, and back again.

use crate::scene::{Scene, plan};

/// Users whose account is not there, trades of theirs, and a trade that itself has no user.
const ORPHANS: &str = "
    CREATE TABLE app.trades (id bigint PRIMARY KEY, user_id bigint REFERENCES app.users ON DELETE CASCADE, was bigint);
    INSERT INTO app.users VALUES (901, 77, 'a@example.org'), (902, 78, 'b@example.org');
    INSERT INTO app.trades SELECT n, 1 + n % 50 FROM generate_series(1, 100) n;
    INSERT INTO app.trades VALUES (901, 901), (902, 901), (903, 902)";

const COLUMNS: &str = r#"
[[phase]]
id = "expand"
  [[phase.step]]
  kind = "add_column"
  table = "app.users"
  column = "tenant_id"
  type = "uuid"
  [[phase.step]]
  kind = "add_column"
  table = "app.trades"
  column = "tenant_id"
  type = "uuid"
"#;

const USERS: &str = r#"
  [[phase.step]]
  kind = "backfill"
  table = "app.users"
  column = "tenant_id"
  from = { table = "app.accounts", match = { account_id = "id" } }
"#;

const TRADES: &str = r#"
  [[phase.step]]
  kind = "backfill"
  table = "app.trades"
  column = "tenant_id"
  from = { table = "app.users", match = { user_id = "id" } }
"#;

const MOVES: [&str; 2] = [
    "[[phase.step]]\nkind = \"quarantine\"\ntable = \"app.trades\"\ncolumn = \"tenant_id\"\nreason = \"their user has none\"\n",
    "[[phase.step]]\nkind = \"quarantine\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\n",
];

fn fills(how: &str) -> String {
    let with = |step: &str| format!("{step}  on_orphan = \"{how}\"\n");
    format!("[[phase]]\nid = \"fill\"\n{}{}", with(USERS), with(TRADES))
}

#[test]
fn rows_that_somebody_points_at_are_not_taken_along() {
    let scene = Scene::new("quarantine_referenced", 100);
    scene.db.sql(ORPHANS);
    let before = scene.print();
    let wrong = plan("", &[COLUMNS, &fills("skip"), "[[phase]]\nid = \"away\"\n", MOVES[1]]);
    let run = scene.apply(&wrong).expect_code(5);
    let _ = run.stdout_has("trades_user_id_fkey of app.trades: 3 rows").stdout_has("by a step before this one");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
    let right = plan("", &[COLUMNS, &fills("skip"), "[[phase]]\nid = \"away\"\n", MOVES[0], MOVES[1]]);
    let _ = scene.apply(&right).expect_code(0);
    let count = |table: &str| scene.db.one::<i64>(&format!("SELECT count(*) FROM app.{table}"));
    assert_eq!(
        [count("users"), count("users_quarantined"), count("trades"), count("trades_quarantined")],
        [100, 2, 100, 3]
    );
    let said: String = scene.db.one("SELECT string_agg(DISTINCT quarantine_reason, '') FROM app.trades_quarantined");
    assert_eq!(said, "their user has none");
    scene.verified();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
}

#[test]
fn a_backfill_quarantines_its_orphans_and_the_way_back_is_exact() {
    let scene = Scene::new("quarantine_backfill", 100);
    scene.db.sql(ORPHANS);
    // Nobody points at a user here, so that its trades may stay where they are.
    scene.db.sql("ALTER TABLE app.trades DROP CONSTRAINT trades_user_id_fkey; DELETE FROM app.trades WHERE id > 900");
    let before = scene.print();
    let text = plan(
        "",
        &[
            COLUMNS,
            &fills("quarantine"),
            "[[phase.step]]\nkind = \"set_not_null\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\n",
        ],
    );
    let _ = scene.apply(&text).expect_code(0);
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.users_quarantined WHERE tenant_id IS NULL"), 2);
    // A trigger that writes what comes back is found out, and the rows stay where they are.
    scene.db.sql(
        "CREATE FUNCTION app.upper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.email := upper(NEW.email); RETURN NEW; END $$;
         CREATE TRIGGER upper BEFORE INSERT ON app.users FOR EACH ROW EXECUTE FUNCTION app.upper()",
    );
    let run = scene.run("rollback --to start --yes").expect_code(6);
    let _ = run.stdout_has("a trigger of app.users changed 2 of the rows");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.users_quarantined"), 2);
    scene.db.sql("DROP TRIGGER upper ON app.users; DROP FUNCTION app.upper");
    let _ = scene.run("resume").expect_code(0);
    scene.is_as(&before);
    scene.verified();
}

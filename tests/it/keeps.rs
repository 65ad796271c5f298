//! What steps take away is kept, and what an undo would have destroyed: whole tables, columns, rows in a table that the plan made.

use crate::scene::{EXPAND, Scene, plan};

const DROP: &str = r#"
[[phase]]
id = "contract"
  [[phase.step]]
  kind = "drop_table"
  table = "app.users"
"#;

const COLUMN: &str = r#"
[[phase]]
id = "contract"
  [[phase.step]]
  kind = "drop_column"
  table = "app.users"
  column = "email"
  meanwhile = "'nobody'"
"#;

const MAKE: &str = r#"
[[phase]]
id = "registry"
  [[phase.step]]
  kind = "create_table"
  table = "app.tenants"
  columns = [
    { name = "id", type = "int" }, { name = "name", type = "text", not_null = true },
    { name = "status", type = "text", not_null = true, default = "'active'" }, { name = "at", type = "timestamptz", default = "clock_timestamp()" },
    { name = "present", type = "boolean", default = "true" },
  ]
  primary_key = ["id"]
  seed = [{ id = 1, name = "First" }, { id = 2, name = "Second" }]
"#;

const ASIDE: &str = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantmig_aside%'";

/// Every row of `app.users` with its place.
const ROWS: &str = "SELECT md5(string_agg(ctid::text || u::text, ',' ORDER BY id)) FROM app.users u";

#[test]
fn a_dropped_table_is_out_of_reach_and_comes_back_untouched() {
    let scene = Scene::new("keeps_table", 500);
    let role = scene.db.role("app", "LOGIN");
    scene.db.sql(&format!(
        "ALTER TABLE app.users ADD FOREIGN KEY (account_id) REFERENCES app.accounts (id); GRANT USAGE ON SCHEMA app TO {role};
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {role};
         GRANT ALL ON app.users, app.accounts TO {role};
         DO $$ BEGIN IF current_setting('server_version_num')::int >= 150000 THEN
             EXECUTE 'CREATE PUBLICATION theirs FOR TABLE app.users (id, email) WHERE (id > 3)'; END IF; END $$"
    ));
    let (dump, rows) = (scene.db.pg_dump_schema(), scene.db.one::<String>(ROWS));
    let _ = scene.apply(&plan("", &[DROP])).expect_code(0);
    let reach = |table: &str| scene.db.sql_as(&role, &format!("SELECT FROM {table}")).unwrap_err();
    assert!(reach("app.users").contains("does not exist"));
    assert!(reach("tenantmig_aside_dropped_app_users.users").contains("permission denied for schema"));
    // What it pointed at can go meanwhile, as with a table that is gone.
    scene
        .db
        .sql_as(&role, "DELETE FROM app.accounts WHERE id = 5; INSERT INTO app.accounts VALUES (5, gen_random_uuid())")
        .unwrap();
    let status = scene.run("status").expect_code(0);
    let _ = status
        .stdout_has("kept    app.users (about 500 rows, ")
        .stdout_has("DROP SCHEMA tenantmig_aside_dropped_app_users CASCADE");
    scene.verified();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!((scene.db.pg_dump_schema(), scene.db.one::<String>(ROWS)), (dump, rows));
    assert_eq!(scene.db.one::<i64>(ASIDE), 0);
}

#[test]
fn what_rests_on_it_is_named_before_anything_is_touched() {
    let scene = Scene::new("keeps_obstacles", 10);
    scene.db.sql(
        "CREATE VIEW app.seen AS SELECT email FROM app.users;
         CREATE TABLE app.posts (user_id bigint REFERENCES app.users (id));
         CREATE FUNCTION app.of(app.users) RETURNS text LANGUAGE sql AS 'SELECT $1.email';
         ALTER TABLE app.posts ENABLE ROW LEVEL SECURITY;
         CREATE SEQUENCE app.nr OWNED BY app.users.touched; CREATE DOMAIN app.sure AS text NOT NULL; CREATE DOMAIN app.phone AS app.sure;
         CREATE TABLE app.log (nr bigint DEFAULT nextval('app.nr'), phone app.phone);
         CREATE POLICY theirs ON app.posts USING (user_id IN (SELECT id FROM app.users));
         CREATE INDEX users_email ON app.users (email)",
    );
    let before = scene.db.pg_dump_schema();
    let mut run = scene.apply(&plan("", &[EXPAND, DROP])).expect_code(65);
    let named = [
        "TM0306",
        "view app.seen rests on it",
        "function app.of",
        "posts_user_id_fkey",
        "policy theirs",
        "app.log rests on it",
    ];
    for what in named {
        run = run.stderr_has(what);
    }
    let run = scene.apply(&plan("", &[COLUMN])).expect_code(65);
    let _ = run.stderr_has("index app.users_email rests on it").stderr_has("view app.seen rests on it");
    let bare = COLUMN.replace("  meanwhile = \"'nobody'\"\n", "");
    let _ = scene.apply(&plan("", &[&bare])).expect_code(65).stderr_has("write `meanwhile`");
    // NOT NULL by its domain.
    let phone = bare.replace("app.users", "app.log").replace("\"email\"", "\"phone\"");
    let _ = scene.apply(&plan("", &[&phone])).expect_code(65).stderr_has("write `meanwhile`");
    assert_eq!(scene.db.pg_dump_schema(), before);
    // An earlier step takes them away: told, and then it can be done, and taken back.
    let clear = "
[[phase]]
id = \"clear\"
  [[phase.step]]
  kind = \"sql\"
  up = \"DROP VIEW app.seen; DROP FUNCTION app.of(app.users); DROP TABLE app.posts, app.log\"
  down = \"\"\"CREATE VIEW app.seen AS SELECT email FROM app.users; CREATE TABLE app.posts (user_id bigint REFERENCES app.users (id))\"\"\"
";
    let run = scene.apply(&plan("", &[clear, DROP])).expect_code(0);
    let _ = run.stderr_has("an earlier step may change that");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert!(scene.has_column("app.users", "email"));
}

#[test]
fn partitions_of_one_name_are_told_before_anything_is_touched() {
    let scene = Scene::new("keeps_names", 1);
    scene.db.sql(
        "DROP TABLE app.users; CREATE SCHEMA old; CREATE TABLE app.users (id int) PARTITION BY RANGE (id);
         CREATE TABLE app.p PARTITION OF app.users FOR VALUES FROM (0) TO (9); CREATE TABLE old.p PARTITION OF app.users DEFAULT",
    );
    let run = scene.apply(&plan("", &[DROP])).expect_code(65);
    let _ = run.stderr_has("2 of its partitions or their indexes have the name p");
    scene.db.sql("ALTER TABLE old.p RENAME TO q");
    let _ = scene.apply(&plan("", &[DROP])).expect_code(0);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!(
        scene.db.one::<i64>("SELECT count(*) FROM pg_class WHERE oid IN ('app.p'::regclass, 'old.q'::regclass)"),
        2
    );
}

#[test]
fn a_dropped_column_comes_back_where_it_was_with_its_values() {
    let scene = Scene::new("keeps_column", 500);
    scene.db.sql("ALTER TABLE app.users DROP CONSTRAINT users_pkey");
    let (dump, rows) = (scene.db.pg_dump_schema(), scene.db.one::<String>(ROWS));
    let _ = scene.apply(&plan("", &[COLUMN])).expect_code(0);
    assert!(!scene.has_column("app.users", "email"));
    let _ = scene.run("status").expect_code(0).stdout_has("ALTER TABLE app.users DROP COLUMN tenantmig_dropped_email");
    // The application goes on without it.
    scene.db.sql("INSERT INTO app.users (id, account_id) VALUES (1000, 1)");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!(scene.db.one::<String>("SELECT email FROM app.users WHERE id = 1000"), "nobody");
    scene.db.sql("DELETE FROM app.users WHERE id = 1000");
    assert_eq!((scene.db.pg_dump_schema(), scene.db.one::<String>(ROWS)), (dump, rows));
    // Once somebody is rid of it for good, no rollback is begun.
    let _ = scene.apply(&plan("", &[COLUMN])).expect_code(0);
    scene.db.sql("ALTER TABLE app.users DROP COLUMN tenantmig_dropped_email");
    let run = scene.run("rollback --to start --yes --allow-data-loss").expect_code(4);
    let _ = run.stderr_has("nothing can bring email back");
}

#[test]
fn rows_that_others_wrote_into_a_made_table_survive_its_undo() {
    let scene = Scene::new("keeps_made", 10);
    let text = plan("", &[MAKE]);
    let before = scene.db.pg_dump_schema();
    // Untouched, it simply goes, however late its rows were made.
    let _ = scene.apply(&text).expect_code(0);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!((scene.db.one::<i64>(ASIDE), scene.db.pg_dump_schema()), (0, before.clone()));
    let dump = "SELECT string_agg(t::text, ',' ORDER BY id) FROM app.tenants t";
    for change in [
        "INSERT INTO app.tenants (id, name) VALUES (3, 'Theirs')",
        "DELETE FROM app.tenants WHERE id = 3; UPDATE app.tenants SET status = 'suspended' WHERE id = 1",
        "UPDATE app.tenants SET status = 'active'; ALTER TABLE app.tenants ADD note text; UPDATE app.tenants SET note = 'x' WHERE id = 2",
    ] {
        let _ = scene.apply(&text).expect_code(0);
        scene.db.sql(change);
        let (schema, rows) = (scene.db.pg_dump_schema(), scene.db.one::<String>(dump));
        let _ = scene.run("rollback --to start --yes").expect_code(0);
        assert_eq!(scene.db.one::<i64>(ASIDE), 1, "{change}");
        assert!(scene.db.one::<bool>("SELECT to_regclass('app.tenants') IS NULL"));
        let _ = scene.run("status").expect_code(0).stdout_has("by the undo of create_table");
        let _ = scene.apply(&text).expect_code(0);
        assert_eq!((scene.db.pg_dump_schema(), scene.db.one::<String>(dump)), (schema, rows), "{change}");
        assert_eq!(scene.db.one::<i64>(ASIDE), 0);
        scene.verified();
    }
    // What was put aside is no longer what the plan means: told, and kept.
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let other = text.replace("name = \"name\", type = \"text\"", "name = \"name\", type = \"varchar(9)\"");
    let _ = scene.apply(&other).expect_code(5).stderr_has("a table without column name");
    assert_eq!(scene.db.one::<i64>(ASIDE), 1);
}

//! What stood in the database before the plan stays, and what the plan replaced comes back.

use crate::scene::{Scene, plan};

/// Each step finds something of its own already there.
const OVER: &str = r#"
[[phase]]
id = "over"
  [[phase.step]]
  kind = "create_table"
  table = "app.tenants"
  columns = [{ name = "id", type = "uuid" }, { name = "name", type = "text", not_null = true }]
  primary_key = ["id"]
  seed = [
    { id = "00000000-0000-0000-0000-000000000001", name = "First" },
    { id = "00000000-0000-0000-0000-000000000002", name = "Second" },
  ]
  [[phase.step]]
  kind = "add_column"
  table = "app.users"
  column = "tenant_id"
  type = "uuid"
  [[phase.step]]
  kind = "backfill"
  table = "app.users"
  column = "tenant_id"
  value = "00000000-0000-0000-0000-000000000001"
  undo = "keep"
  [[phase.step]]
  kind = "create_index"
  table = "app.users"
  columns = ["tenant_id"]
  [[phase.step]]
  kind = "set_not_null"
  table = "app.users"
  column = "tenant_id"
  [[phase.step]]
  kind = "add_foreign_key"
  table = "app.users"
  columns = ["tenant_id"]
  references = { table = "app.tenants", columns = ["id"] }
  [[phase.step]]
  kind = "create_policy"
  table = "app.users"
  name = "tenant_isolation"
  using = "tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
  replace = true
  [[phase.step]]
  kind = "enable_rls"
  table = "app.users"
  [[phase.step]]
  kind = "force_rls"
  table = "app.users"
"#;

const TENANTS: &str = "CREATE TABLE app.tenants (id uuid PRIMARY KEY, name text NOT NULL);
    INSERT INTO app.tenants VALUES ('00000000-0000-0000-0000-000000000001', 'First');";
const COLUMN: &str = "ALTER TABLE app.users ADD COLUMN tenant_id uuid;
    UPDATE app.users SET tenant_id = '00000000-0000-0000-0000-000000000001';";
const INDEX: &str = "CREATE INDEX users_tenant_id_idx ON app.users (tenant_id);";
const NOT_NULL: &str = "ALTER TABLE app.users ALTER tenant_id SET NOT NULL;";
const KEY: &str =
    "ALTER TABLE app.users ADD CONSTRAINT users_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants;";
const POLICY: &str = "CREATE POLICY tenant_isolation ON app.users FOR SELECT TO PUBLIC USING (id > 0);
    COMMENT ON POLICY tenant_isolation ON app.users IS 'from long ago';";
const FLAGS: &str = "ALTER TABLE app.users ENABLE ROW LEVEL SECURITY; ALTER TABLE app.users FORCE ROW LEVEL SECURITY;";

/// Apply, apply again, roll back: the database is as it was, with `prepare` in it.
#[track_caller]
fn stays(name: &str, prepare: &[&str]) {
    let scene = Scene::new(name, 120);
    scene.db.sql(&prepare.concat());
    let before = scene.print();
    let whole = plan("", &[OVER]);
    let _ = scene.apply(&whole).expect_code(0);
    scene.verified();
    let applied = scene.print();
    let _ = scene.apply(&whole).expect_code(0).stdout_has("nothing to do");
    let _ =
        scene.tool().args(["rollback", "--to", "start", "--confirm", scene.db.name(), "--yes"]).run().expect_code(0);
    scene.is_as(&before);
    // And the same way up again.
    let _ = scene.apply(&whole).expect_code(0);
    scene.is_as(&applied);
}

#[test]
fn nothing_there_before_nothing_left_after() {
    stays("none", &[]);
}

#[test]
fn a_table_and_its_seed_row_stay() {
    stays("table", &[TENANTS]);
}

#[test]
fn a_column_with_its_values_stays() {
    stays("column", &[COLUMN]);
}

#[test]
fn an_index_stays() {
    stays("index", &[COLUMN, INDEX]);
}

#[test]
fn a_constraint_and_not_null_stay() {
    stays("constraint", &[TENANTS, COLUMN, NOT_NULL, KEY]);
}

#[test]
fn a_replaced_policy_comes_back_with_its_comment() {
    stays("policy", &[POLICY]);
}

#[test]
fn row_security_flags_stay() {
    stays("flags", &[COLUMN, FLAGS]);
    stays("flag", &["ALTER TABLE app.users ENABLE ROW LEVEL SECURITY;"]);
}

#[test]
fn everything_there_before_stays() {
    stays("all", &[TENANTS, COLUMN, INDEX, NOT_NULL, KEY, POLICY, FLAGS]);
}

#[test]
fn something_else_in_the_place_is_a_conflict_and_is_not_touched() {
    let scene = Scene::new("conflict", 50);
    scene.db.sql("ALTER TABLE app.users ADD COLUMN tenant_id integer DEFAULT 7");
    let before = scene.print();
    let out = scene.apply(&plan("", &[OVER])).expect_code(5).stdout_has("integer");
    let _ = out.stdout_has("something else stands in its place").stdout_has("rolled back cleanly to `start`");
    scene.is_as(&before);
    // Another index under the same name.
    let scene = Scene::new("conflict_index", 50);
    scene.db.sql("CREATE INDEX users_tenant_id_idx ON app.users (email)");
    let before = scene.print();
    let _ = scene.apply(&plan("", &[OVER])).expect_code(5).stdout_has("users_tenant_id_idx");
    scene.is_as(&before);
}

#[test]
fn what_stays_is_not_told_as_undone() {
    let scene = Scene::new("told", 50);
    scene.db.sql("ALTER TABLE app.users ADD COLUMN tenant_id uuid");
    let whole = plan("", &[crate::scene::EXPAND]);
    let _ = scene.apply(&whole).expect_code(0);
    let out = scene.run("rollback --to start --yes").expect_code(0);
    let out = out.stdout_has("nothing to run: it was there before and stays").stdout_has("what was filled in stays");
    assert!(scene.has_column("app.users", "tenant_id"), "{out}");
    scene.every_row_once();
}

#[test]
fn a_child_that_was_not_null_before_its_parent_stays_so() {
    const FAMILY: &str = "CREATE TABLE app.events (id bigint, kind text) PARTITION BY RANGE (id);
        CREATE TABLE app.low PARTITION OF app.events FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
        CREATE TABLE app.lowest PARTITION OF app.low FOR VALUES FROM (0) TO (10);
        CREATE TABLE app.\"High\" PARTITION OF app.events FOR VALUES FROM (100) TO (200);
        ALTER TABLE app.low ALTER kind SET NOT NULL;
        CREATE TABLE app.old (z int) INHERITS (app.users);
        ALTER TABLE app.users ALTER email DROP NOT NULL;
        ALTER TABLE app.old ALTER email SET NOT NULL;";
    let scene = Scene::new("children", 10);
    scene.db.sql(FAMILY);
    let before = scene.print();
    let step = |table: &str, column: &str| {
        format!("[[phase.step]]\nkind = \"set_not_null\"\ntable = \"{table}\"\ncolumn = \"{column}\"\n")
    };
    let phase = format!("[[phase]]\nid = \"whole\"\n{}{}", step("app.events", "kind"), step("app.users", "email"));
    let _ = scene.apply(&plan("", &[&phase])).expect_code(0);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
}

#[test]
fn not_null_that_a_childs_key_would_hold_fast_is_refused() {
    let scene = Scene::new("childs_key", 10);
    scene.db.sql("CREATE TABLE app.a (t int); CREATE TABLE app.b (PRIMARY KEY (t)) INHERITS (app.a)");
    let before = scene.print();
    let step = "[[phase.step]]\nkind = \"set_not_null\"\ntable = \"app.a\"\ncolumn = \"t\"\n";
    let out = scene.apply(&plan("", &[&format!("[[phase]]\nid = \"whole\"\n{step}")])).expect_code(5);
    let _ = out.stdout_has("a primary key with the column in app.b");
    scene.is_as(&before);
}

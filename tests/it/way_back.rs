//! Between a deed and its undo time passes: the undo comes from another host, with other settings, to tables that have changed. What the
//! deed noted must mean the same then.

use crate::scene::{EXPAND, Scene, plan};

fn phase(steps: &[&str]) -> String {
    let steps: String = steps.iter().map(|step| format!("[[phase.step]]\n{step}\n")).collect();
    plan("", &[&format!("[[phase]]\nid = \"one\"\n{steps}")])
}

const COMPOSITE: &str = "kind = \"composite_foreign_key\"\ntable = \"app.users\"\ncolumns = [\"account_id\"]\ncolumn = \"tenant_id\"\n\
    references = { table = \"app.accounts\", columns = [\"id\"] }\nreplace = true";

/// Users have a tenant and a foreign key; rows and keys fit.
fn with_keys(name: &str) -> Scene {
    let scene = Scene::new(name, 20);
    scene.db.sql(
        "ALTER TABLE app.users ADD tenant_id uuid;
         UPDATE app.users u SET tenant_id = a.tenant_id FROM app.accounts a WHERE a.id = u.account_id;
         ALTER TABLE app.users ADD FOREIGN KEY (account_id) REFERENCES app.accounts (id)",
    );
    scene
}

#[test]
fn what_was_noted_under_another_search_path_means_the_same() {
    let drop = "kind = \"drop_table\"\ntable = \"app.users\"";
    let column = "kind = \"drop_column\"\ntable = \"app.users\"\ncolumn = \"email\"\nmeanwhile = \"'x'\"";
    let check = "kind = \"attach_check\"\ntable = \"app.users\"\nname = \"fits\"\ncheck = \"app.fits(email)\"";
    for (name, step) in [("composite", COMPOSITE), ("table", drop), ("column", column), ("check", check)] {
        let scene = with_keys(&format!("back_path_{name}"));
        // Another one of the same name, which the later path finds.
        scene.db.sql("CREATE TABLE public.accounts (id bigint PRIMARY KEY); INSERT INTO public.accounts SELECT generate_series(1, 9)");
        if name == "check" {
            scene.db.sql(
                "CREATE FUNCTION app.fits(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 IS NOT NULL';
                 ALTER TABLE app.users ADD CONSTRAINT fits CHECK (app.fits(email)) NOT VALID",
            );
        }
        let (before, db) = (scene.print(), scene.db.name().to_owned());
        scene.db.sql(&format!("ALTER DATABASE {db} SET search_path = app, public"));
        let _ = scene.apply(&phase(&[step])).expect_code(0);
        scene.db.sql(&format!("ALTER DATABASE {db} RESET search_path"));
        let _ = scene.run("rollback --to start --yes").expect_code(0);
        scene.is_as(&before);
    }
}

#[test]
fn schemas_whose_names_need_quotes() {
    let scene = with_keys("back_quotes");
    scene.db.sql(
        "ALTER SCHEMA app RENAME TO \"My \"\"App\"\"\";
         CREATE STATISTICS \"My \"\"App\"\"\".\"Of Users\" (dependencies) ON email, account_id FROM \"My \"\"App\"\"\".users",
    );
    let before = scene.print();
    let text = phase(&[COMPOSITE, "kind = \"drop_table\"\ntable = \"app.users\""]);
    let _ = scene.apply(&text.replace("\"app.", "\"\\\"My \\\"\\\"App\\\"\\\"\\\".")).expect_code(0);
    // What the way back of the key asks of the table can be asked once the table is there again.
    let run = scene.run("rollback --to start --yes").expect_code(0);
    let _ = run.stderr_has("asked on the way, once what was put aside is back of");
    scene.is_as(&before);
}

#[test]
fn what_a_later_step_put_aside_is_asked_when_it_is_back() {
    let scene = Scene::new("back_aside", 20);
    let drop = "\n[[phase]]\nid = \"contract\"\n[[phase.step]]\nkind = \"drop_table\"\ntable = \"app.users\"\n";
    let copy = "kind = \"copy_rows\"\nfrom = \"app.users\"\ninto = \"app.people\"\nkey = [\"id\"]\n\
        columns = { id = \"row.id\", email = \"row.email\" }";
    scene.db.sql("CREATE TABLE app.people (id bigint PRIMARY KEY, email text)");
    let before = scene.print();
    let text = [phase(&[copy]), drop.to_owned()].concat();
    let _ = scene.apply(&text).expect_code(0);
    let _ = scene.run("verify").expect_code(0).stdout_has("not tried: a later step put app.users aside");
    // Nobody has to agree to what nobody could look at.
    scene.db.sql("UPDATE app.people SET email = 'changed' WHERE id = 3");
    let run = scene.run("rollback --to start --yes").expect_code(4);
    let _ = run.stderr_has("app.people");
    assert!(scene.db.one::<bool>("SELECT to_regclass('app.users') IS NOT NULL AND count(*) = 20 FROM app.people"));
    scene.db.sql("UPDATE app.people p SET email = u.email FROM app.users u WHERE u.id = p.id");
    let _ = scene.run("resume").expect_code(0);
    scene.is_as(&before);
}

#[test]
fn values_of_a_table_that_was_put_aside_are_not_lost_unasked() {
    let scene = Scene::new("back_lost", 20);
    scene.db.sql("ALTER TABLE app.users DROP CONSTRAINT users_pkey");
    let drop = "[[phase]]\nid = \"contract\"\n[[phase.step]]\nkind = \"drop_table\"\ntable = \"app.users\"\n";
    let text = plan("", &[EXPAND, drop]);
    let _ = scene.applying(&text).args(["--to", "expand"]).run().expect_code(0);
    scene.db.sql("UPDATE app.users SET tenant_id = gen_random_uuid() WHERE id <= 7");
    let _ = scene.run("resume").expect_code(0);
    let run = scene.run("rollback --to start --yes").expect_code(4);
    let _ = run.stderr_has("app.users.tenant_id").stderr_has(": 7").stderr_has("--allow-data-loss");
    assert!(scene.has_column("app.users", "tenant_id"));
    let _ = scene.run("rollback --to start --yes --allow-data-loss").expect_code(0);
    assert!(!scene.has_column("app.users", "tenant_id"));
    // A failure takes it back by itself where nothing would be lost.
    let fails = "[[phase.step]]\nkind = \"assert\"\nsql = \"SELECT false\"\n";
    let steps = [EXPAND, drop.trim_start_matches("[[phase]]\nid = \"contract\"\n"), fails].concat();
    let _ = scene.apply(&plan("", &[&steps])).expect_code(5).stderr_has("once what was put aside is back of app.users");
    assert!(!scene.has_column("app.users", "tenant_id"));
}

#[test]
fn a_partitioned_table_comes_back_before_its_rows_are_read() {
    let scene = Scene::new("back_keys", 1);
    scene.db.sql(
        "CREATE TABLE app.events (id bigint, account_id bigint) PARTITION BY RANGE (id);
         CREATE TABLE app.e1 PARTITION OF app.events FOR VALUES FROM (0) TO (10) PARTITION BY LIST (account_id);
         CREATE TABLE app.e11 PARTITION OF app.e1 FOR VALUES IN (1); CREATE TABLE app.e12 PARTITION OF app.e1 DEFAULT;
         CREATE TABLE app.e2 PARTITION OF app.events FOR VALUES FROM (10) TO (20);
         INSERT INTO app.events SELECT n, 1 + n % 5 FROM generate_series(1, 19) n;
         ALTER TABLE app.events ADD CONSTRAINT theirs FOREIGN KEY (account_id) REFERENCES app.accounts (id) ON DELETE CASCADE;
         COMMENT ON CONSTRAINT theirs ON app.events IS 'it''s theirs'",
    );
    let before = scene.print();
    let _ = scene.apply(&phase(&["kind = \"drop_table\"\ntable = \"app.events\""])).expect_code(0);
    // What it points at goes meanwhile: the table comes back all the same, and the validation says which row is alone.
    scene.db.sql("DELETE FROM app.accounts WHERE id = 5");
    let _ = scene.run("rollback --to start --yes").expect_code(6).stderr_has("Key (account_id)=(5) is not present");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.events"), 19);
    scene.db.sql("INSERT INTO app.accounts VALUES (5, '00000000-0000-0000-0000-000000000005')");
    let _ = scene.run("resume").expect_code(0);
    scene.is_as(&before);
}

#[test]
fn partitions_that_went_meanwhile_hold_nothing_up() {
    let scene = Scene::new("back_partitions", 1);
    scene.db.sql(
        "CREATE TABLE app.events (id bigint, note text NOT NULL, tenant int DEFAULT 1) PARTITION BY RANGE (id);
         CREATE TABLE app.e1 PARTITION OF app.events FOR VALUES FROM (0) TO (10);
         CREATE TABLE app.e2 PARTITION OF app.events FOR VALUES FROM (10) TO (20);
         CREATE TABLE app.e3 PARTITION OF app.events FOR VALUES FROM (20) TO (30);
         ALTER TABLE app.e3 ALTER tenant SET DEFAULT 3",
    );
    let text = phase(&[
        "kind = \"set_default\"\ntable = \"app.events\"\ncolumn = \"tenant\"\ndefault = \"current_setting('a.b', true)::int\"",
        "kind = \"drop_column\"\ntable = \"app.events\"\ncolumn = \"note\"\nmeanwhile = \"'?'\"",
    ]);
    let _ = scene.apply(&text).expect_code(0);
    scene.db.sql(
        "DROP TABLE app.e1; ALTER TABLE app.events DETACH PARTITION app.e2; INSERT INTO app.events (id) VALUES (25);
         CREATE TABLE app.e4 PARTITION OF app.events FOR VALUES FROM (30) TO (40)",
    );
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let defaults: String = scene.db.one(
        "SELECT string_agg(format('%s.%s %s', a.attrelid::regclass, a.attname, pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attrelid::regclass::text, a.attname)
           FROM pg_attrdef d JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum) WHERE a.attrelid::regclass::text ~ 'app.e'",
    );
    // The partition that was detached is a table of its own: its default is back, and its column has the other name.
    assert_eq!(
        defaults,
        "app.e2.tenant 1, app.e2.tenantmig_dropped_note '?'::text, app.e3.tenant 3, app.e4.note '?'::text, app.events.tenant 1"
    );
}

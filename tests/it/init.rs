//! `init --from-db` on whole schemas: what it writes, whether that is carried out as it stands, and whom the rows are seen by then.

mod generated;
mod isolation;
mod plan;
mod seeds;

use crate::harness::{Db, Output, Tool, database, repo_path};
use plan::Written;

/// A database with the schema of a file, owned by a plain role, and the application's role, which owns nothing.
struct Scene {
    db: Db,
    owner: String,
    app: String,
}

impl Scene {
    #[track_caller]
    fn new(schema: &str) -> Self {
        let sql = std::fs::read_to_string(repo_path(&format!("tests/fixtures/schemas/{schema}.sql"))).unwrap();
        Self::of(&format!("init_{schema}"), &sql)
    }

    #[track_caller]
    fn of(name: &str, sql: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN NOBYPASSRLS");
        // Who migrates asks as the application whether the tenants are apart.
        let owner = db.role("owner", &format!("LOGIN NOBYPASSRLS IN ROLE {app}"));
        db.sql(&format!(
            "GRANT CREATE, TEMP ON DATABASE {0} TO {owner}; GRANT ALL ON SCHEMA public TO {owner}; SET ROLE {owner};
             {sql}; RESET ROLE; RESET search_path;
             DO $$ DECLARE s text; BEGIN
               FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
                 EXECUTE format('GRANT USAGE ON SCHEMA %I TO {app}', s);
                 EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO {app}', s);
                 EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO {app}', s);
               END LOOP; END $$; ANALYZE",
            db.name()
        ));
        Self { db, owner, app }
    }

    fn tool(&self) -> Tool {
        Tool::without_database().url(&self.db.url_as(&self.owner))
    }

    #[track_caller]
    fn init(&self, flags: &[&str]) -> Output {
        self.tool().args(["init", "--from-db"]).args(flags).run()
    }

    /// The plan that `init` writes without a question.
    #[track_caller]
    fn written(&self) -> Written {
        Written::read(&self.init(&[]).expect_code(0).stdout)
    }

    /// The plan is carried out as it was written: it validates, goes up and down twice, and then up, to stay.
    #[track_caller]
    fn carried_out(&self, written: &Written) {
        // Some 600 units four times; on two busy cores that is minutes.
        const CYCLE_MAX: std::time::Duration = std::time::Duration::from_secs(600);
        let run = |words: &[&str]| {
            let tool = self.tool().timeout(CYCLE_MAX);
            let path = tool.file("plan.toml", &written.text);
            tool.args([words[0].as_ref(), path.as_os_str()]).args(&words[1..]).run()
        };
        let _ = run(&["validate"]).expect_code(0);
        let before = self.db.pg_dump_schema();
        // As the superuser, who sees the rows at each end; it takes the owner's role.
        let cycle = Tool::new(&self.db).timeout(CYCLE_MAX);
        let path = cycle.file("plan.toml", &written.text);
        let _ =
            cycle.args(["cycle".as_ref(), path.as_os_str()]).args(["--yes", "--accept-exposure"]).run().expect_code(0);
        assert_eq!(before, self.db.pg_dump_schema());
        let _ = run(&["apply", "--yes"]).expect_code(0);
    }
}

#[test]
fn a_video_rental_whose_registry_and_staff_point_at_each_other() {
    let scene = Scene::new("pagila");
    let written = scene.written();
    written.has_way("rental.payment", "rental.customer");
    written.has_way("rental.address", "COALESCE");
    written.is_shared("rental.film");
    assert_eq!((written.tables.len(), written.shared.len(), written.column.as_str()), (7, 8, "store_id"));
    assert!(written.roles.iter().eq([&scene.app]));
    scene.carried_out(&written);
    isolation::holds(&scene, &written);
}

#[test]
fn a_trading_company_whose_tenants_have_keys_of_text() {
    let scene = Scene::new("northwind");
    let written = scene.written();
    written.has_way("public.\"OrderNotes\"", "public.orders");
    assert_eq!((written.tables.len(), written.shared.len(), written.column.as_str()), (5, 10, "customer_id"));
    scene.carried_out(&written);
    isolation::holds(&scene, &written);
}

#[test]
fn a_platform_of_web_shops() {
    let scene = Scene::new("webshop");
    let written = scene.written();
    written.has_way("shop.refunds", "COALESCE");
    written.has_way("shop.search_log", "shop.users");
    assert_eq!((written.tables.len(), written.shared.len(), written.column.as_str()), (24, 5, "shop_id"));
    scene.carried_out(&written);
    isolation::holds(&scene, &written);
}

#[test]
fn what_the_rows_contradict_is_asked() {
    let scene = Scene::new("pagila");
    // A film of another store is rented to a customer.
    scene.db.sql(
        "UPDATE rental.rental r SET inventory_id = (SELECT i.inventory_id FROM rental.inventory i, rental.customer c
            WHERE c.customer_id = r.customer_id AND i.store_id <> c.store_id LIMIT 1) WHERE r.rental_id = 7",
    );
    let out = scene.init(&[]).expect_code(3);
    let _ = out
        .stderr_has("question: rental.rental: whose rows are these? for 1 of 300 rows rental.inventory by inventory_id")
        .stderr_has("(row 7: ");
    // The rows below are still found their ways.
    Written::read(&scene.init(&[]).expect_code(3).stdout).has_way("rental.payment", "rental.customer");
    // A customer without a store.
    scene.db.sql("ALTER TABLE rental.staff ALTER store_id DROP NOT NULL; UPDATE rental.staff SET store_id = NULL WHERE staff_id = 2");
    let _ =
        scene.init(&[]).expect_code(3).stderr_has("question: rental.staff: 1 of 6 rows have no tenant by rental.store");
}

#[test]
fn which_table_it_is_and_where_the_plan_goes() {
    let scene = Scene::of(
        "init_root",
        "CREATE TABLE firms (id int PRIMARY KEY); CREATE TABLE agencies (id int PRIMARY KEY);
         CREATE TABLE jobs (id int PRIMARY KEY, firm_id int NOT NULL REFERENCES firms, agency_id int NOT NULL REFERENCES agencies)",
    );
    let _ = scene
        .init(&[])
        .expect_code(3)
        .stderr_has("is this the table of the tenants?")
        .stderr_has("public.firms (its name");
    let _ = scene.init(&["--tenant-table", "jobs.x.y"]).expect_code(64).stderr_has("3 parts");
    let _ = scene.init(&["--tenant-table", "nowhere"]).expect_code(3).stderr_has("no table public.nowhere");
    let _ = scene.init(&["--schema", "nowhere"]).expect_code(4).stderr_has("no table of its own");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("there.toml");
    std::fs::write(&path, "mine").unwrap();
    let path = path.to_str().unwrap();
    let given =
        ["init", "--from-db", "--tenant-table", "firms", "--column", "firm", "--setting", "my.firm", "--out", path];
    let _ = scene.tool().args(given).run().expect_code(4).stderr_has("is there already; nothing was written");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    // `agencies` has rows for nobody: that is asked, and the file is written all the same.
    let out =
        scene.init(&["--tenant-table", "firms", "--column", "firm", "--setting", "my.firm", "--out", path, "--force"]);
    let _ = out.expect_code(3).stdout_has("questions to answer");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("column   = \"firm\"\nsetting  = \"my.firm\""), "{text}");
}

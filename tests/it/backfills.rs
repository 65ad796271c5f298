//! Backfills of tables that are not as most: with children, with a key that comes later, with rows that refuse the write.

use crate::scene::{EXPAND, Scene, plan};

#[test]
fn rows_of_a_child_table_get_their_own_parents_value() {
    for key in ["", "ALTER TABLE app.users ADD PRIMARY KEY (id);"] {
        let scene = Scene::new("children", 200);
        // The same ids and the same places in both tables, but other accounts.
        scene.db.sql(&format!(
            "ALTER TABLE app.users DROP CONSTRAINT users_pkey; {key}
             CREATE TABLE app.old_users () INHERITS (app.users);
             INSERT INTO app.old_users SELECT id, 1 + (account_id + 1) % 5, email FROM ONLY app.users;
             INSERT INTO app.old_users SELECT n, 1 + n % 5, 'old' || n FROM generate_series(1000, 9000) n"
        ));
        let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
        let wrong: i64 = scene.db.one(
            "SELECT count(*) FROM app.users u JOIN app.accounts a ON a.id = u.account_id WHERE u.tenant_id IS DISTINCT FROM a.tenant_id",
        );
        assert_eq!(wrong, 0, "rows with the value of another row, with key: {key:?}");
    }
}

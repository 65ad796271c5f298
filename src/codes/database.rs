//! What the database lacks for a plan, or forbids: asked before anything is touched.

use super::{Meaning, live};

pub(super) const ALL: &[Meaning] = &[
    live(
        "TM0301",
        "the database has not the table that a step is about",
        "a step names app.user, and the table is app.users; or another database is connected to",
        "mend the name; doctor shows to which database the settings lead",
    ),
    live(
        "TM0302",
        "a table has not the column that a step needs, and no earlier step adds it",
        "a backfill by match = { account = \"id\" }, and the column is account_id",
        "mend the name, or add the column in an earlier step",
    ),
    live(
        "TM0303",
        "the role may not change the table, which another one owns",
        "the plan is applied as `deploy`, and `app_owner` owns the table",
        "connect as the owner, or let the owner's role be granted: GRANT app_owner TO deploy",
    ),
    live(
        "TM0304",
        "the server has not the tablespace that a step names",
        "tablespace = \"fast\" in create_index, and \\db in psql does not list it",
        "mend the name, or leave `tablespace` out",
    ),
    live(
        "TM0305",
        "the role may make nothing in the tablespace",
        "the tablespace belongs to another role and nothing was granted",
        "let a superuser type: GRANT CREATE ON TABLESPACE fast TO deploy",
    ),
    live(
        "TM0306",
        "a step cannot be done as the database is now",
        "something that the step would have to take along stands in its way; the message names it",
        "take it away first, or by a sql step with its undo before this one",
    ),
    live(
        "TM0307",
        "a gate asks as the application, and the migrating role cannot be that role",
        "[tenancy] names app_rw, and `deploy` is no member of it",
        "GRANT app_rw TO deploy, or give the application's own connection string: TENANTMIG_APP_URL",
    ),
    live(
        "TM0308",
        "row-level security that stands already hides rows from the migrating role: a backfill would change a part of them, silently",
        "a table of the plan has FORCE ROW LEVEL SECURITY, and `deploy` has not BYPASSRLS",
        "connect as a role with BYPASSRLS (-U or --role), or take FORCE off these tables first",
    ),
    live(
        "TM0309",
        "the server would refuse to fill a column",
        "the column is GENERATED ALWAYS, a rule rewrites the table's UPDATEs, or a partition is a foreign table",
        "do as the message says, or leave the backfill out",
    ),
    live(
        "TM0312",
        "a table is published for logical replication and has no replica identity, so that it takes no UPDATE",
        "a table without a primary key in a publication FOR ALL TABLES",
        "give it a primary key, or: ALTER TABLE … REPLICA IDENTITY FULL",
    ),
    live(
        "TM0313",
        "the query of [throttle] gives no number",
        "[throttle] query = { sql = \"SELECT depth FROM ops.queue\", … }, and the role may not read ops.queue",
        "mend the query: it is one expression, and is asked by the migrating role",
    ),
];

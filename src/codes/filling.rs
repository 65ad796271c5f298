//! TM027x to TM029x: asserts, backfills, SQL of the user's own, and gates over rows; TM045x: copied rows and their gate.

use super::{Meaning, plan};

pub(super) const ALL: &[Meaning] = &[
    plan(
        "TM0270",
        "an assert, or a probe of a step, is not a query of one boolean",
        "[[phase.step]]\nkind = \"assert\"\nsql = \"count(*) = 0\"\n",
        "write it as a query: SELECT count(*) = 0 FROM …",
    ),
    plan(
        "TM0271",
        "an assert that changes something",
        "[[phase.step]]\nkind = \"assert\"\nsql = \"WITH d AS (DELETE FROM app.trades RETURNING 1) SELECT true FROM d\"\n",
        "write a step of the kind sql, with its `down`, for what changes something",
    ),
    plan(
        "TM0272",
        "a backfill that says nothing of where its values come from, or two things",
        "[[phase.step]]\nkind = \"backfill\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\n",
        "write one of value, from and sql",
    ),
    plan(
        "TM0273",
        "`match` names no column, so no row has a parent",
        "[[phase.step]]\nkind = \"backfill\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\nfrom = { table = \"app.accounts\", match = {} }\n",
        "write which column of the row equals which of the parent: match = { account_id = \"id\" }",
    ),
    plan(
        "TM0274",
        "a batch without rows, or with more than one transaction should hold locked",
        "[[phase.step]]\nkind = \"backfill\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\nvalue = \"x\"\nbatch_rows = 0\n",
        "write a number within the limits that the message names, or leave batch_rows out",
    ),
    plan(
        "TM0275",
        "a backfill writes one constant into every row of a column that the plan adds",
        "[[phase]]\nid = \"p\"\n[[phase.step]]\nkind = \"add_column\"\ntable = \"app.users\"\ncolumn = \"plan\"\ntype = \"text\"\n[[phase.step]]\nkind = \"backfill\"\ntable = \"app.users\"\ncolumn = \"plan\"\nvalue = \"free\"\n",
        "write it as the default of the add_column step and leave the backfill out: that writes no row",
    ),
    plan(
        "TM0280",
        "a sql step without its statements, or with them twice",
        "[[phase.step]]\nkind = \"sql\"\ndown = \"-- nothing\"\n",
        "write one of `up` and `up_file`",
    ),
    plan(
        "TM0281",
        "a sql step without a way back, or with two",
        "[[phase.step]]\nkind = \"sql\"\nup = \"ALTER TABLE app.users ADD note text\"\n",
        "write the SQL that undoes it as `down`, or down = false and irreversible = \"why\"",
    ),
    plan(
        "TM0282",
        "`down = false` without a reason, or a reason beside a `down`",
        "[[phase.step]]\nkind = \"sql\"\nup = \"ALTER TABLE app.users ADD note text\"\ndown = false\n",
        "write irreversible = \"why\": whoever reviews the plan reads it, and whoever would roll back",
    ),
    plan(
        "TM0283",
        "a text of SQL without a statement",
        "[[phase.step]]\nkind = \"sql\"\nup = \"\"\ndown = \"-- nothing\"\n",
        "write a statement; where nothing is to be undone, say why in a comment",
    ),
    plan(
        "TM0284",
        "a statement outside a transaction without a probe, or several of them in a step",
        "[[phase.step]]\nkind = \"sql\"\ntransaction = false\nup = \"VACUUM app.users\"\ndown = \"-- nothing\"\n",
        "write a step a statement, each with probe = \"SELECT …\": after a crash only the database knows whether it is done",
    ),
    plan(
        "TM0285",
        "a sql step with a command of its own transaction, or of psql",
        "[[phase.step]]\nkind = \"sql\"\nup = \"BEGIN; ALTER TABLE app.users ADD note text; COMMIT\"\ndown = \"-- nothing\"\n",
        "leave it out: the statements run in one transaction, which commits with the ledger's record",
    ),
    plan(
        "TM0286",
        "a statement that no transaction takes, in a step that runs in one",
        "[[phase.step]]\nkind = \"sql\"\nup = \"VACUUM app.users\"\ndown = \"-- nothing\"\n",
        "make it a step of its own with transaction = false and a probe; for an index use create_index, which also clears a wreck",
    ),
    plan(
        "TM0287",
        "a statement that changes the session beyond the step",
        "[[phase.step]]\nkind = \"sql\"\nup = \"SET ROLE app; ALTER TABLE app.users ADD note text\"\ndown = \"-- nothing\"\n",
        "end with RESET ROLE, write SET LOCAL, or leave it out, as the message says",
    ),
    plan(
        "TM0288",
        "a text that is not a script of SQL statements",
        "[[phase.step]]\nkind = \"sql\"\nup = \"SELECT 'open\"\ndown = \"-- nothing\"\n",
        "close the quote, comment or parenthesis that the message names",
    ),
    plan(
        "TM0290",
        "an invalid_indexes gate without a table",
        "[[phase.gate]]\nkind = \"invalid_indexes\"\ntables = []\n",
        "name the tables whose indexes must be valid",
    ),
    plan(
        "TM0291",
        "an orphans gate that says nothing of what a row must have",
        "[[phase.gate]]\nkind = \"orphans\"\ntable = \"app.orders\"\ncolumn = \"tenant_id\"\n",
        "write parent = { table = …, match = { … } }, or registry",
    ),
    plan(
        "TM0292",
        "registry = true in a plan without [tenancy]",
        "[[phase.gate]]\nkind = \"orphans\"\ntable = \"app.orders\"\ncolumn = \"tenant_id\"\nregistry = true\n",
        "write [tenancy], or name the registry: registry = { table = \"app.tenants\", key = \"id\" }",
    ),
    plan(
        "TM0297",
        "a row_count gate that expects nothing",
        "[[phase.gate]]\nkind = \"row_count\"\ntable = \"app.trades\"\n",
        "write min, max or max_loss_percent",
    ),
    plan(
        "TM0298",
        "a row_count gate that no table can meet",
        "[[phase.gate]]\nkind = \"row_count\"\ntable = \"app.trades\"\nmin = 2\nmax = 1\n",
        "write a min that is at most max, and a loss from 0 to 100 percent",
    ),
    plan(
        "TM0450",
        "rows are copied into the table that they are in",
        "[[phase.step]]\nkind = \"copy_rows\"\nfrom = \"app.messages\"\ninto = \"app.messages\"\ncolumns = { id = \"row.id\" }\nkey = [\"id\"]\n",
        "name another table in `into`; to change rows where they are, write a backfill",
    ),
    plan(
        "TM0451",
        "no column tells which copied row is which",
        "[[phase.step]]\nkind = \"copy_rows\"\nfrom = \"app.old_messages\"\ninto = \"app.messages\"\ncolumns = { id = \"row.id\" }\nkey = []\n",
        "write the columns of the target's primary key, or of another unique index of it",
    ),
    plan(
        "TM0452",
        "a column of the key is not among those that are copied",
        "[[phase.step]]\nkind = \"copy_rows\"\nfrom = \"app.old_messages\"\ninto = \"app.messages\"\ncolumns = { body = \"row.body\" }\nkey = [\"id\"]\n",
        "say where it comes from: columns = { id = \"row.id\", … }",
    ),
    plan(
        "TM0453",
        "the copy's record cannot be called after its two tables",
        "[[phase.step]]\nkind = \"copy_rows\"\nfrom = \"app.messages_of_the_years_before_the_great_move\"\ninto = \"app.messages_of_the_years_since_the_great_move\"\ncolumns = { id = \"row.id\" }\nkey = [\"id\"]\n",
        "write `name`, a shorter one",
    ),
    plan(
        "TM0455",
        "a gate over what is there, or gone, that names nothing",
        "[[phase.gate]]\nkind = \"present\"\n",
        "write tables, indexes or policies",
    ),
];

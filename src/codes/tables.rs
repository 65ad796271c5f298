//! TM038x and TM039x: [[table]] and [[shared]], from which the phases are made.

use super::{Meaning, plan};

pub(super) const ALL: &[Meaning] = &[
    plan(
        "TM0380",
        "nothing says how a table gets its tenant, or two things do",
        "[[table]]\nname = \"app.users\"\ntenant = {}\n",
        "write one of { from = \"…\", match = { … } }, { value = \"…\" }, { sql = \"…\", needs = […] } and \"self\"",
    ),
    plan(
        "TM0381",
        "a key of `tenant` that belongs to another way",
        "[[table]]\nname = \"app.users\"\ntenant = { value = \"a\", match = { account_id = \"id\" } }\n",
        "take it out: match and column belong to from, needs to sql",
    ),
    plan(
        "TM0382",
        "a question of init that nobody has answered yet",
        "[[table]]\nname = \"app.users\"\ntenant = { question = \"by account_id or by team_id?\" }\n",
        "put the answer in its place; the comments above it say what was found",
    ),
    plan(
        "TM0383",
        "nothing says which row of the parent a row belongs to",
        "[[table]]\nname = \"app.users\"\ntenant = { from = \"app.tenants\", match = {} }\n",
        "write which column of the row equals which of the parent: match = { tenant_id = \"id\" }",
    ),
    plan(
        "TM0384",
        "tables wait for each other's tenant in a circle",
        "[[table]]\nname = \"app.a\"\ntenant = { from = \"app.b\", match = { b_id = \"id\" } }\n[[table]]\nname = \"app.b\"\ntenant = { from = \"app.a\", match = { a_id = \"id\" } }\n",
        "give one of them another way: a parent outside the circle, sql, or a value",
    ),
    plan(
        "TM0385",
        "the parent of a table is no [[table]], so nothing gives its rows a tenant",
        "[[table]]\nname = \"app.users\"\ntenant = { from = \"app.accounts\", match = { account_id = \"id\" } }\n",
        "write a [[table]] for it; if it has its tenant already, say in which column: column = \"…\"",
    ),
    plan(
        "TM0386",
        "the parent of a table is shared by all tenants",
        "[[table]]\nname = \"app.users\"\ntenant = { from = \"app.countries\", match = { country = \"code\" } }\n[[shared]]\nname = \"app.countries\"\nreason = \"a lookup table\"\n",
        "name a table that has a tenant, or take the [[shared]] out",
    ),
    plan(
        "TM0387",
        "`needs` names a table that gets no tenant by this plan",
        "[[table]]\nname = \"app.users\"\ntenant = { sql = \"row.team_id\", needs = [\"app.teams\"] }\n",
        "write a [[table]] for it, or take it out of `needs`",
    ),
    plan(
        "TM0388",
        "an expression reads a table that may not have its tenant yet",
        "[[table]]\nname = \"app.users\"\ntenant = { sql = \"(SELECT t.tenant_id FROM app.teams t WHERE t.id = row.team_id)\" }\n[[table]]\nname = \"app.teams\"\ntenant = { from = \"app.tenants\", match = { owner_id = \"id\" } }\n",
        "name it in `needs`, so that it comes before",
    ),
    plan(
        "TM0389",
        "a [[table]] in a plan without [tenancy]",
        "[[table]]\nname = \"app.users\"\ntenant = { value = \"a\" }\n",
        "write [tenancy] with registry, column and setting",
    ),
    plan(
        "TM0390",
        "two [[table]], or two [[shared]], are the same table",
        "[[table]]\nname = \"app.users\"\ntenant = { value = \"a\" }\n[[table]]\nname = \"app.users\"\ntenant = { value = \"a\" }\n",
        "take one out",
    ),
    plan(
        "TM0391",
        "a table has tenants by one entry and belongs to none by another",
        "[[table]]\nname = \"app.users\"\ntenant = { value = \"a\" }\n[[shared]]\nname = \"app.users\"\nreason = \"everybody's\"\n",
        "take the [[table]] or the [[shared]] out",
    ),
    plan(
        "TM0392",
        "tenant = \"self\" of another table than the registry, or another way of the registry",
        "[[table]]\nname = \"app.users\"\ntenant = \"self\"\n",
        "write how the table's rows get to the registry; of the registry itself the key is the tenant",
    ),
    plan(
        "TM0393",
        "a key of a [[table]] that has no meaning for what the table is",
        "[[table]]\nname = \"app.users\"\ntenant = { value = \"a\" }\non_orphan = \"skip\"\n",
        "take it out",
    ),
    plan(
        "TM0394",
        "nothing says why a table belongs to no tenant",
        "[[shared]]\nname = \"app.countries\"\nreason = \"\"\n",
        "write why, for whoever reads the plan",
    ),
    plan(
        "TM0395",
        "rows that are skipped have no tenant, and NOT NULL would refuse them",
        "[[table]]\nname = \"app.users\"\ntenant = { from = \"app.tenants\", match = { owner_id = \"id\" } }\non_orphan = \"skip\"\n",
        "write not_null = false as well, or on_orphan = \"quarantine\", which keeps them beside",
    ),
];

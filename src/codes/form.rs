//! TM01xx: the form of a plan.

use super::{Meaning, plan};

pub(super) const ALL: &[Meaning] = &[
    plan(
        "TM0101",
        "the file is not TOML",
        "name = \"move\n",
        "mend the place that is marked; a quote or a bracket is missing most often",
    ),
    plan(
        "TM0102",
        "a key that this table does not have",
        "[[phase.step]]\nkind = \"analyze\"\ntabels = [\"app.users\"]\n",
        "write the key as the message suggests, or take it out; no key is ignored, since a misspelt one would be",
    ),
    plan(
        "TM0103",
        "a value that its key does not take: of another type, out of its range, or not a word that is known",
        "[safety]\nlock_timeout = \"0s\"\n",
        "write a value as the help beside the message says",
    ),
    plan(
        "TM0104",
        "something is missing: a key, a phase, or the whole plan",
        "[[phase.step]]\ntable = \"app.users\"\n",
        "write it; the message names the key and where it belongs",
    ),
    plan(
        "TM0105",
        "a kind of step or gate that does not exist",
        "[[phase.step]]\nkind = \"add_colum\"\n",
        "write one of the kinds that the README lists",
    ),
    plan(
        "TM0106",
        "two phases, steps of a phase, or probes have one name",
        "[[phase.step]]\nid = \"it\"\nkind = \"analyze\"\ntables = [\"app.a\"]\n[[phase.step]]\nid = \"it\"\nkind = \"analyze\"\ntables = [\"app.b\"]\n",
        "rename one: the ledger and rollback --to know phases by name",
    ),
    plan(
        "TM0107",
        "a phase is named that the plan does not have",
        "[[phase]]\nid = \"backfill\"\nafter = \"expnd\"\n[[phase.step]]\nkind = \"analyze\"\ntables = [\"app.a\"]\n",
        "write the id of a phase of this plan; with [[table]] those are printed by plan --expand",
    ),
    plan(
        "TM0108",
        "phases wait for each other in a circle",
        "[[phase]]\nid = \"a\"\nafter = \"b\"\n[[phase.step]]\nkind = \"analyze\"\ntables = [\"app.a\"]\n[[phase]]\nid = \"b\"\nafter = \"a\"\n[[phase.step]]\nkind = \"analyze\"\ntables = [\"app.b\"]\n",
        "take one `after` of the circle out",
    ),
    plan(
        "TM0109",
        "a file that the plan names cannot be read",
        "[[phase.step]]\nkind = \"sql\"\nup_file = \"no-such-file.sql\"\ndown = \"-- nothing\"\n",
        "mend the path, which is taken from the folder of the plan",
    ),
    plan(
        "TM0110",
        "the plan is of a format that this version does not read",
        "format = 99\nname = \"move\"\n",
        "use a newer tenantmig, or write the format that the message names",
    ),
    plan(
        "TM0111",
        "[tenancy] asks for something that only a context function can do",
        "[tenancy]\nregistry = { table = \"app.tenants\", key = \"id\", type = \"uuid\" }\ncolumn = \"tenant_id\"\nsetting = \"app.tenant_id\"\non_unset = \"error\"\n",
        "write function = \"app.current_tenant\" in [tenancy]: it raises the error, and a fallback ends by replacing it without a lock",
    ),
];

//! Schemas and what is inferred from them: a table of cases, without a server.

use super::{
    sample::{facts, q},
    *,
};

/// What the rows say where a case does not: every way agrees and is complete; each row is used by one tenant only.
fn usual(measure: &Measure) -> Counted {
    let counts = if measure.about.ends_with("users") { vec![100, 100, 0, 3] } else { vec![100] };
    Counted::Counts { counts, example: None }
}

/// Infers to the end; `says` answers for a count by what it is about.
#[track_caller]
fn drafted(facts: &Facts, wishes: &Wishes, says: &[(&str, &[i64])]) -> Draft {
    let mut answers = Answers::new();
    for _ in 0..ROUNDS_MAX {
        match infer(facts, wishes, &answers) {
            Next::Done(draft) => return *draft,
            Next::NoRoot(why) => panic!("no root: {why:?}"),
            Next::Count(measures) => {
                for measure in measures {
                    let said = says.iter().find(|(about, _)| measure.about == *about);
                    let counted = said.map_or_else(
                        || usual(&measure),
                        |(_, counts)| Counted::Counts { counts: counts.to_vec(), example: Some("7".to_owned()) },
                    );
                    assert!(answers.insert(measure.stmt.as_str().to_owned(), counted).is_none(), "asked twice");
                }
            }
        }
    }
    panic!("no end")
}

fn lines(draft: &Draft) -> Vec<String> {
    let way = |entry: &Entry| match &entry.way {
        Way::Registry => "self".to_owned(),
        Way::Parent { table, columns } => {
            let by: Vec<String> = columns.iter().map(|(c, p)| format!("{c}={p}")).collect();
            format!("{} {}", table.name, by.join(" "))
        }
        Way::Sql { text, needs } => {
            format!("sql {text} needs {}", needs.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(","))
        }
        Way::Value(value) => format!("value {value}"),
        Way::Question(text) => format!("? {text}"),
    };
    let entries = draft.entries.iter().map(|entry| format!("{}: {}", entry.table.name, way(entry)));
    entries.chain(draft.shared.iter().map(|s| format!("{}: shared", s.table.name))).collect()
}

/// One case: the schema, the counts that are not the usual ones, and a part of each line of the draft, in order.
#[track_caller]
fn check(schema: &str, says: &[(&str, &[i64])], expect: &[&str]) -> Draft {
    let draft = drafted(&facts(schema), &Wishes::default(), says);
    let lines = lines(&draft);
    assert!(
        lines.len() == expect.len() && lines.iter().zip(expect).all(|(line, part)| line.contains(part)),
        "{lines:#?}\nexpected\n{expect:#?}"
    );
    draft
}

const SHOP: &str = "shops: id*\nusers: id*; shop_id -> shops; email! text\norders: id*; user_id -> users; placed_at timestamp with time zone; index placed_at\n";

#[test]
fn the_nearest_way_over_columns_that_are_never_null() {
    let draft = check(SHOP, &[], &["shops: self", "users: shops shop_id=id", "orders: users user_id=id"]);
    assert_eq!(draft.column.as_str(), "tenant_id");
    assert_eq!(draft.entries[1].unique, [vec![sample::id("email")]]);
    assert_eq!(draft.entries[2].index, Some(vec![vec![sample::id("tenant_id"), sample::id("placed_at")]]));
    // The shorter way may be NULL.
    check(
        &format!("{SHOP}items: id*; shop_id? -> shops; order_id -> orders"),
        &[],
        &["", "", "", "items: orders order_id=id"],
    );
}

#[test]
fn a_second_way_is_a_gate_where_it_agrees_and_a_question_where_not() {
    let schema = format!("{SHOP}notes: id*; order_id -> orders; author_id -> users");
    let draft = check(&schema, &[], &["", "", "notes: users author_id=id", ""]);
    assert_eq!((draft.gates.len(), draft.gates[0].parent.clone(), draft.gates[0].optional), (1, q("orders"), false));
    // rows, lacking each, lacking all, other than the first
    let says: (&str, &[i64]) = ("public.notes: ways", &[50, 0, 0, 0, 4]);
    let draft = check(
        &schema,
        &[says],
        &[
            "",
            "",
            "notes: ? whose rows are these? for 4 of 50 rows public.orders by order_id leads to another tenant than public.users by author_id (row 7)",
            "",
        ],
    );
    assert!(draft.gates.is_empty());
}

#[test]
fn rows_without_a_parent() {
    let schema = format!("{SHOP}items: id*; order_id? -> orders; user_id? -> users");
    // Every row has the second way.
    check(&schema, &[("public.items: ways", &[10, 4, 0, 0, 0])], &["", "", "", "items: orders order_id=id"]);
    // Each has one of them.
    check(
        &schema,
        &[("public.items: ways", &[10, 4, 5, 0, 0])],
        &[
            "",
            "",
            "",
            "items: sql COALESCE((SELECT p.tenant_id FROM public.users p WHERE p.id = row.user_id), (SELECT p.tenant_id FROM public.orders p WHERE p.id = row.order_id)) needs orders,users",
        ],
    );
    // Some have none.
    check(&schema, &[("public.items: ways", &[10, 4, 5, 2, 0])], &["", "", "", "items: ? 2 of 10 rows have no tenant"]);
}

#[test]
fn what_tenants_point_at_is_theirs_or_everybodys() {
    let schema = format!(
        "{SHOP}addresses: id*; city_id -> cities; line text\ncities: id*; name text\nbills: id*; user_id -> users; address_id -> addresses\nphones: id*; address_id -> addresses"
    );
    let says: &[(&str, &[i64])] = &[("public.cities: users", &[20, 18, 12, 3])];
    check(
        &schema,
        says,
        &[
            "shops: self",
            "users: shops",
            "bills: users",
            "orders: users",
            "addresses: sql (SELECT p.tenant_id FROM public.bills p WHERE p.address_id = row.id LIMIT 1) needs bills",
            "phones: addresses address_id=id",
            "cities: shared",
        ],
    );
    let unsure: &[(&str, &[i64])] =
        &[("public.addresses: users", &[100, 90, 0, 3]), ("public.cities: users", &[9, 9, 0, 3])];
    check(
        &schema,
        unsure,
        &[
            "",
            "",
            "",
            "",
            "addresses: ? each row one tenant's, or shared? 90 of 100 rows are used",
            "phones: addresses",
            "cities: shared",
        ],
    );
}

#[test]
fn a_circle_of_foreign_keys_is_cut_at_the_registry() {
    check(
        "stores: id*; manager_id? -> staff\nstaff: id*; store_id -> stores; boss_id? -> staff",
        &[],
        &["stores: self", "staff: stores store_id=id"],
    );
    let draft = check(
        "companies: id*\nstores: id*; company_id -> companies; manager_id? -> staff\nstaff: id*; store_id -> stores; boss_id? -> staff",
        &[],
        &["companies: self", "stores: companies company_id=id", "staff: stores store_id=id"],
    );
    assert_eq!((draft.gates.len(), draft.gates[0].optional), (1, true), "a store's manager is of the same company");
}

#[test]
fn join_tables_take_one_side_and_check_the_other() {
    let draft = check(
        &format!(
            "{SHOP}tags: id*; shop_id -> shops; name text; unique shop_id name\nuser_tags: user_id* -> users; tag_id* -> tags"
        ),
        &[],
        &["shops", "tags: shops", "users: shops", "orders", "user_tags: tags tag_id=id"],
    );
    assert_eq!(draft.gates.len(), 1);
    assert!(draft.entries[1].unique.is_empty(), "a key with the shop in it stays");
    assert!(draft.entries[1].remarks[0].contains("shop_id decides the tenant"));
    assert_eq!(draft.entries[4].composite.len(), 2);
}

#[test]
fn a_column_that_many_tables_share_is_adopted() {
    let draft = check(
        "organizations: id* uuid\nfunds: id*; organization_id uuid -> organizations; index organization_id\ndeals: id*; organization_id? uuid -> organizations; fund_id -> funds\nlogs: id*; organization_id uuid; text text",
        &[],
        &["", "funds: organizations", "deals: funds fund_id=id", "logs: organizations organization_id=id"],
    );
    assert_eq!(draft.column.as_str(), "organization_id");
    assert_eq!(draft.entries[1].index, Some(Vec::new()));
}

#[test]
fn a_column_of_two_types_is_not_adopted_and_a_bounded_one_stays_as_it_is() {
    let schema = "orgs: id*\na: id*; org_id -> orgs\nb: id*; org_id integer -> orgs";
    assert_eq!(check(schema, &[], &["", "", ""]).column.as_str(), "tenant_id");
    let bounded = "orgs: id* character varying(5)\na: id*; org_id character varying(5) -> orgs";
    let one = check(bounded, &[], &["", ""]);
    assert_eq!((one.column.as_str(), one.root.r#type.as_str()), ("tenant_id", "character varying"));
    let two = check(&format!("{bounded}\nb: id*; org_id character varying(5) -> orgs"), &[], &["", "", ""]);
    assert_eq!((two.column.as_str(), two.root.r#type.as_str()), ("org_id", "character varying(5)"));
}

#[test]
fn names_suggest_what_no_foreign_key_says_and_the_rows_decide() {
    let schema = format!(
        "{SHOP}logins: id*; user_id; at timestamp with time zone\nsettings: name* text\nevents: id*; subject_type text; subject_id"
    );
    check(
        &schema,
        &[],
        &["", "", "orders", "logins: users user_id=id", "events: ? subject_type and subject_id", "settings: shared"],
    );
    check(
        &schema,
        &[("public.logins: ways", &[9, 2, 2])],
        &[
            "",
            "",
            "",
            "logins: ? 2 of 9 rows have no tenant by public.users by user_id, which no foreign key says (row 7)",
            "",
            "",
        ],
    );
}

#[test]
fn the_registry_is_proposed_or_asked_for() {
    // Customers belong to shops.
    check("shops: id*\ncustomers: id*; shop_id -> shops", &[], &["shops: self", "customers: shops"]);
    // Two that stand side by side.
    let draft = drafted(
        &facts("firms: id*\nagencies: id*\njobs: id*; firm_id -> firms; agency_id -> agencies"),
        &Wishes::default(),
        &[],
    );
    assert!(lines(&draft)[0].contains("? is this the table of the tenants?"), "{:?}", lines(&draft));
    let given = Wishes { tenant_table: Some(q("agencies")), ..Wishes::default() };
    let draft =
        drafted(&facts("firms: id*\nagencies: id*\njobs: id*; firm_id -> firms; agency_id -> agencies"), &given, &[]);
    assert_eq!(lines(&draft)[0], "agencies: self");
    let nowhere = Wishes { tenant_table: Some(q("c")), ..Wishes::default() };
    let none = infer(&facts("a: x* timestamp with time zone"), &nowhere, &Answers::new());
    assert!(matches!(none, Next::NoRoot(_)));
}

/// No table has the tenants by its name.
const DESK: &str = "users: id*; email! text\ntickets: id*; user_id -> users; state_id -> states\nstates: id*; name! text\nalembic_version: version_num* text";

#[test]
fn a_database_of_one_tenant_gets_a_registry_and_a_constant() {
    let first = "value 00000000-0000-0000-0000-000000000001";
    let ways = |root: &'static str| {
        [root, "tickets: value 0000", "users: value 0000", "alembic_version: shared", "states: shared"]
    };
    let draft = check(DESK, &[], &ways("tenants: ? is this database one tenant's today?"));
    assert_eq!((draft.questions().count(), draft.made.is_some(), draft.entries[1].composite.len()), (1, true, 1));
    assert!(lines(&draft)[0].contains("public.users (its name says nothing; 1 of 3 other tables lead to it)"));
    assert!(lines(&draft)[1].contains(first));
    let wishes = Wishes { new_registry: Some(q("app.firms")), ..Wishes::default() };
    let draft = drafted(&facts(DESK), &wishes, &[]);
    assert_eq!((draft.questions().count(), lines(&draft)[0].as_str()), (0, "firms: self"));
    let taken = Wishes { new_registry: Some(q("users")), ..Wishes::default() };
    assert!(matches!(infer(&facts(DESK), &taken, &Answers::new()), Next::NoRoot(_)));
    let elsewhere = facts(&format!("{DESK}\nlogs: id*; tenant_id text"));
    assert_eq!(drafted(&elsewhere, &wishes, &[]).column.as_str(), "tenant_ref");
}

#[test]
fn a_registry_to_which_no_way_leads_has_one_row_that_is_meant() {
    let schema = format!("{DESK}\norganizations: id* uuid");
    // The example of `drafted` is 7.
    check(
        &schema,
        &[("public.organizations: rows", &[1])],
        &["organizations: self", "tickets: value 7", "users: value 7", "alembic_version", "states"],
    );
    let asked = "organizations: ? no way leads to public.organizations";
    let draft = check(&schema, &[("public.organizations: rows", &[3])], &[asked, "tickets: value 7", "users", "", ""]);
    assert!(lines(&draft)[0].contains("init --tenant-table public.organizations --tenant-value 7"));
    let given = Wishes { tenant_table: Some(q("organizations")), value: Some("9".to_owned()), ..Wishes::default() };
    let draft = drafted(&facts(&schema), &given, &[("public.organizations: rows", &[1])]);
    assert_eq!((draft.questions().count(), lines(&draft)[1].as_str()), (0, "tickets: value 7"));
}

#[test]
fn a_table_that_no_way_leads_on_from_takes_the_value_that_is_given() {
    let schema = format!("{SHOP}logs: id*; line text");
    check(&schema, &[], &["shops", "users: shops", "orders", "logs: shared"]);
    let given = Wishes { value: Some("7".to_owned()), ..Wishes::default() };
    let draft = drafted(&facts(&schema), &given, &[("public.shops: rows", &[1])]);
    assert_eq!(lines(&draft)[3], "logs: value 7");
}

#[test]
fn a_key_between_tenants_takes_the_tenant_where_the_rows_are_known_to_agree() {
    let schema = format!("{SHOP}notes: id*; order_id -> orders; author_id -> users");
    let draft = check(&schema, &[], &["", "", "", ""]);
    assert_eq!((draft.entries[2].composite.len(), draft.entries[3].composite.len()), (2, 1));
    let mut odd = facts(&schema);
    let notes = odd.tables.iter_mut().find(|table| table.name == q("notes")).unwrap();
    notes.references[0].fixed = Some("it is MATCH FULL".to_owned());
    notes.references[1].valid = false;
    let draft = drafted(&odd, &Wishes::default(), &[]);
    let entry = draft.entries.iter().find(|entry| entry.table == q("notes")).unwrap();
    assert!(entry.composite.is_empty());
    assert!(entry.remarks.iter().any(|r| r.ends_with("over order_id is left without the tenant: it is MATCH FULL")));
    assert!(
        entry.remarks.iter().any(|r| r.ends_with("over author_id is left without the tenant: it is not validated"))
    );
    let mut parted = facts(&schema);
    parted.tables.iter_mut().find(|table| table.name == q("notes")).unwrap().shape = Shape::Partitioned { below: 2 };
    let draft = drafted(&parted, &Wishes::default(), &[]);
    assert!(draft.entries.iter().all(|entry| entry.table != q("notes") || entry.composite.is_empty()));
}

#[test]
fn what_is_written_is_toml_and_always_the_same() {
    let schema = "\"My \\Shop\": id* character varying(5)\n\"Größe.x\": id*; \"s\" character varying(5) -> \"My \\Shop\"; shopId? character varying(5) -> \"My \\Shop\"";
    let schema = schema.replace("\"My \\Shop\"", "tenants").replace("\"s\"", "s");
    let mut facts = facts(&schema.replace("\"Größe.x\"", "sized"));
    facts.tables[0].name = crate::sql::QName::new(sample::id("public"), sample::id("Größe \"x\".y"));
    let draft = drafted(&facts, &Wishes::default(), &[]);
    let header = Header { name: "sample".to_owned(), database: "a \"b\"\nc".to_owned(), hazards: Vec::new() };
    let text = write(&header, &draft);
    assert_eq!(text, write(&header, &drafted(&facts, &Wishes::default(), &[])));
    let read: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let tables = read["table"].as_array().unwrap();
    assert_eq!(tables[1]["name"].as_str(), Some("public.\"Größe \"\"x\"\".y\""));
    let gate = &read["gate"].as_array().unwrap()[0];
    assert_eq!(gate["parent"]["match"]["\"shopId\""].as_str(), Some("id"));
    assert_eq!(read["tenancy"]["registry"]["type"].as_str(), Some("character varying"), "a cast must not cut");
}

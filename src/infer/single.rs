//! A database that is one tenant's today: no way leads from its rows to a table of tenants, because every row is the same one's.
//! The plan then gives every table that tenant as a constant, which writes no row; the registry is one that stands there, or is made.

use crate::{
    sql,
    sql::{Ident, Literal, QName, Stmt},
};

use super::{
    draft::Made,
    facts::{Facts, Role, Shape, Table},
    measure::{Answers, Counted, Measure},
    root::Candidate,
    session::Wishes,
};

/// The first tenant of a registry that the plan makes: the same in every environment that the plan is carried out in.
pub const FIRST: &str = "00000000-0000-0000-0000-000000000001";
/// The name of such a registry, where the user gives none.
const REGISTRY: &str = "tenants";
/// The key of such a registry.
const KEY: (&str, &str) = ("id", "uuid");

/// The tenant to whom every row belongs that no way leads on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Single {
    pub value: String,
    /// What a person has to confirm.
    pub question: Option<String>,
    pub why: Vec<String>,
}

/// Why there is no single tenant, or what has to be counted before.
#[derive(Debug)]
pub(super) enum Open {
    Count(Measure),
    Not(Vec<String>),
}

/// The row of a registry to which everything belongs: the user's, or its only one; of several the first, with a question.
pub(super) fn row_of(facts: &Facts, root: usize, wishes: &Wishes, answers: &Answers) -> Result<Single, Open> {
    let table = &facts.tables[root];
    let Some(key) = table.key() else { return Err(Open::Not(vec![format!("{} has no key", table.name)])) };
    let measure = rows(table, &key.name, wishes.value.as_deref());
    let (rows, first) = match answers.get(measure.stmt.as_str()) {
        None => return Err(Open::Count(measure)),
        Some(Counted::Unknown(why)) => return Err(Open::Not(vec![format!("{} not read: {why}", measure.about)])),
        Some(Counted::Counts { counts, example }) => (counts.first().copied().unwrap_or(0), example.clone()),
    };
    let name = &table.name;
    match (rows, first, &wishes.value) {
        (0, _, Some(value)) => Err(Open::Not(vec![format!("{name} has no row whose {} is {value}", key.name)])),
        (_, Some(value), Some(_)) => Ok(Single { value, question: None, why: Vec::new() }),
        (1, Some(value), None) => {
            let why =
                format!("no way leads to it, and it has one row, {value}: every row that is there belongs to that one");
            Ok(Single { value, question: None, why: vec![why] })
        }
        (rows, Some(value), None) => {
            let question = format!(
                "no way leads to {name}, so the schema does not say whose a row is. If the database is one tenant's today, say which of \
                 the {rows} rows that is: init --tenant-table {name} --tenant-value {value}, say (or \"self\" here, for just that one, \
                 which the tables below have now). If its tenants are in no table yet: init --new-registry {}",
                proposed(facts)
            );
            Ok(Single { value, question: Some(question), why: Vec::new() })
        }
        (_, None, _) => {
            let way = format!(
                "insert the tenant to whom everything belongs, or make a table: --new-registry {}",
                proposed(facts)
            );
            Err(Open::Not(vec![format!("no way leads to {name}, and it has no row"), way]))
        }
    }
}

/// How many rows the registry has, or how many of this key, and the first.
fn rows(table: &Table, key: &Ident, wanted: Option<&str>) -> Measure {
    let condition = match wanted {
        Some(value) => sql!("lower({}::text) = lower({})", key, Literal::new(value)),
        None => Stmt::raw("true"),
    };
    Measure {
        about: format!("{}: rows", table.name),
        stmt: sql!("SELECT ARRAY[count(*)]::bigint[], min({}::text) FROM {} WHERE {}", key, table.name, condition),
        sampled: false,
    }
}

/// The name of the registry that the plan makes: in the schema of most tables.
fn proposed(facts: &Facts) -> QName {
    let mut schemas: Vec<(usize, &Ident)> = Vec::new();
    for table in &facts.tables {
        match schemas.iter_mut().find(|(_, schema)| **schema == table.name.schema) {
            Some((count, _)) => *count += 1,
            None => schemas.push((1, &table.name.schema)),
        }
    }
    // Of equals the first by name: the order of the tables.
    let most = schemas.iter().rev().max_by_key(|(count, _)| *count).map(|(_, schema)| (*schema).clone());
    QName::new(most.unwrap_or_else(|| Ident::derived(&["public"])), Ident::derived(&[REGISTRY]))
}

/// A registry that does not exist yet, and its one tenant: the facts as if it stood there, its place, and what makes it.
pub(super) fn made(
    facts: &Facts,
    wishes: &Wishes,
    instead: Option<&[Candidate]>,
) -> Result<(Facts, usize, Single, Made), Vec<String>> {
    let name = wishes.new_registry.clone().unwrap_or_else(|| proposed(facts));
    let taken = facts.tables.iter().map(|t| &t.name).chain(facts.others.iter().map(|o| &o.name)).any(|n| *n == name);
    if taken {
        return Err(vec![format!(
            "{name} is there already, so no registry can be made of that name: --new-registry TABLE gives another"
        )]);
    }
    let mut out = facts.clone();
    out.tables.push(table(&name));
    let value = wishes.value.clone().unwrap_or_else(|| FIRST.to_owned());
    let question = instead.map(|candidates| {
        let each: Vec<String> = candidates.iter().map(|c| format!("{} ({})", c.table, c.reason)).collect();
        let meant = if each.is_empty() { String::new() } else { format!("; what may be meant: {}", each.join("; ")) };
        format!(
            "is this database one tenant's today? No table has the tenants by its name, so this plan makes {name}, and every row that \
             is there belongs to its first row, {value}. If so, write tenant = \"self\" here, or: init --new-registry {name}. If a \
             table has the tenants: init --tenant-table TABLE{meant}"
        )
    });
    let why = vec![format!("made in the phase `{}`: no table of this database has the tenants", Made::PHASE)];
    let readers = facts.roles.iter().filter(|role| reads(role)).map(|role| role.name.clone()).collect();
    let root = out.tables.len() - 1;
    let made = Made { first: value.clone(), called: facts.database.clone(), readers };
    Ok((out, root, Single { value, question, why }, made))
}

/// The column for the tenant: one that is there and means something else would be adopted.
pub(super) fn column(facts: &Facts, wishes: &Wishes) -> (Ident, String) {
    if let Some(wanted) = &wishes.column {
        return (wanted.clone(), "given by --column".to_owned());
    }
    let usual = Ident::derived(&["tenant_id"]);
    if facts.tables.iter().any(|table| table.column(&usual).is_some()) {
        return (
            Ident::derived(&["tenant_ref"]),
            format!("a table has a column {usual} already, which means something else"),
        );
    }
    (usual, "no table has a column of that name yet".to_owned())
}

/// The application's roles, as [tenancy] names them.
fn reads(role: &Role) -> bool {
    role.owns == 0 && !role.exempt && (role.reads > 0 || role.writes > 0)
}

fn table(name: &QName) -> Table {
    let key = Ident::derived(&[KEY.0]);
    let column = super::facts::Column {
        name: key.clone(),
        r#type: KEY.1.to_owned(),
        not_null: true,
        default: None,
        generated: false,
        identity: false,
    };
    Table {
        name: name.clone(),
        shape: Shape::Plain,
        rows: Some(0),
        bytes: 0,
        owner: key.clone(),
        columns: vec![column],
        primary: vec![key],
        indexes: Vec::new(),
        references: Vec::new(),
        rls: false,
        forced: false,
        policies: Vec::new(),
    }
}

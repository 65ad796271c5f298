//! Hops that no foreign key says and that the name and type of a column suggest: `user_id bigint` beside a table `users`.
//! They are believed only once the rows agree.

use crate::sql::Ident;

use super::{
    edge::{Edge, Says},
    facts::{Column, Facts, Table},
    graph::Reach,
    names::singular,
};

/// Hops of tables that no foreign key leads on from, to tables that have a way.
pub(super) fn implied(facts: &Facts, reach: &Reach, root: usize, column: &Ident) -> Vec<Edge> {
    let mut out = Vec::new();
    for (child, table) in facts.tables.iter().enumerate().filter(|(at, _)| !reach.has(*at)) {
        for own in table.columns.iter().filter(|own| !own.generated && table.primary != [own.name.clone()]) {
            let fits = |parent: &usize| suggests(own, &facts.tables[*parent], *parent == root, column);
            // The nearest first: reach's order.
            let Some(&parent) = reach.order.iter().find(|parent| **parent != child && fits(parent)) else { continue };
            let Some(key) = facts.tables[parent].key() else { continue };
            let columns = vec![(own.name.clone(), key.name.clone())];
            out.push(Edge { child, parent, columns, nullable: !own.not_null, says: Says::Name });
        }
    }
    out
}

fn suggests(own: &Column, parent: &Table, is_root: bool, column: &Ident) -> bool {
    let Some(key) = parent.key() else { return false };
    if !alike(&own.r#type, &key.r#type) {
        return false;
    }
    let name = own.name.as_str().to_lowercase();
    let (one, key) = (singular(parent.name.name.as_str()), key.name.as_str().to_lowercase());
    let spelt = [format!("{one}_{key}"), format!("{one}{key}"), format!("{one}_id"), format!("{one}id")];
    (is_root && own.name == *column) || spelt.contains(&name) || (name == key && key != "id" && key != "code")
}

fn alike(a: &str, b: &str) -> bool {
    const WHOLE: &[&str] = &["bigint", "integer", "smallint"];
    const TEXT: &[&str] = &["text", "character varying"];
    let base = |ty: &str| ty.split('(').next().unwrap_or(ty).to_owned();
    let (a, b) = (base(a), base(b));
    a == b || [WHOLE, TEXT].iter().any(|kin| kin.contains(&a.as_str()) && kin.contains(&b.as_str()))
}

/// A pair of columns that points at rows of several tables: `subject_type` and `subject_id`.
pub(super) fn polymorphic(table: &Table) -> Option<String> {
    table.columns.iter().find_map(|column| {
        let stem = column.name.as_str().strip_suffix("_id")?;
        let kind = table.columns.iter().find(|other| other.name.as_str().strip_suffix("_type") == Some(stem))?;
        Some(format!("{} and {}", kind.name, column.name))
    })
}

//! A table's way to its tenant: the key `tenant` of a `[[table]]`.

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeValue, Deserializer},
};

use crate::{
    diag::{Diag, Diags},
    plan::{
        mend::Node,
        section::{self, Table},
        wording::a,
    },
    sql::{Expr, Ident, QName, Scalar, words},
};

/// How a row gets its tenant.
#[derive(Debug)]
pub enum Way<'i> {
    /// The same for every row that is there.
    Value { value: String, place: Range<usize> },
    /// The tenant of the row of another table whose columns equal these.
    Parent { table: Spanned<QName>, on: Node<'i>, column: Option<Spanned<Ident>> },
    /// An expression over `row`; the tables of `needs` have their tenant before.
    Sql { sql: Spanned<String>, needs: Vec<Spanned<QName>> },
    /// The table is the registry: its key is the tenant.
    Registry { place: Range<usize> },
}

/// `tenant` as a table. The values are judged one by one, so that what is wrong with several is told at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    from: Option<Spanned<QName>>,
    r#match: Option<BTreeMap<Ident, Ident>>,
    column: Option<Spanned<Ident>>,
    value: Option<Spanned<Scalar>>,
    sql: Option<Spanned<Expr>>,
    needs: Option<Spanned<Vec<Spanned<QName>>>>,
    question: Option<Spanned<String>>,
}

const FORMS: &str =
    "write one of: { from = \"…\", match = { … } }, { value = \"…\" }, { sql = \"…\", needs = […] }, \"self\"";

/// Reads the value of `tenant`; `None` where it is no way, which has been told.
pub fn way<'i>(table: &QName, value: &Node<'i>, diags: &mut Diags) -> Option<Way<'i>> {
    match value.get_ref() {
        DeValue::String(word) if word == "self" => Some(Way::Registry { place: value.span() }),
        DeValue::Table(keys) => written(table, &Spanned::new(value.span(), keys.clone()), diags),
        DeValue::String(word) => {
            diags.push(
                Diag::error("TM0380", value.span(), format!("`{word}` is no way to a tenant"))
                    .help(format!("\"self\" is the only word; {FORMS}")),
            );
            None
        }
        other @ (DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)) => {
            let message = format!("wrong type: `tenant` is a table or \"self\", not {}", a(other));
            diags.push(Diag::error("TM0103", value.span(), message).help(FORMS));
            None
        }
    }
}

fn written<'i>(table: &QName, keys: &Table<'i>, diags: &mut Diags) -> Option<Way<'i>> {
    let form = section::read(keys.clone(), diags, |t| Form::deserialize(Deserializer::from(t)))?;
    let place = |key: &str| keys.get_ref().get(key).map(Spanned::span);
    let ways: Vec<&str> =
        ["from", "value", "sql", "question"].into_iter().filter(|key| keys.get_ref().contains_key(*key)).collect();
    match ways.as_slice() {
        [] => {
            let message = format!("nothing says how {table} gets its tenant");
            diags.push(Diag::error("TM0380", keys.span(), message).help(FORMS));
            return None;
        }
        [_] => {}
        [.., last] => {
            let message = format!("{table} gets its tenant by {} at once", ways.join(" and "));
            diags.push(Diag::error("TM0380", place(last)?, message).help("write one of them"));
            return None;
        }
    }
    let mut fits = true;
    for (key, of) in [("match", "from"), ("column", "from"), ("needs", "sql")] {
        if let Some(at) = place(key).filter(|_| !keys.get_ref().contains_key(of)) {
            diags.push(Diag::error("TM0381", at, format!("`{key}` has no meaning without `{of}`")).help("take it out"));
            fits = false;
        }
    }
    if let Some(question) = &form.question {
        let message = format!("how {table} gets its tenant is not decided: {}", one_line(question.get_ref()));
        diags.push(Diag::error("TM0382", question.span(), message).help(format!("put the answer here: {FORMS}")));
        return None;
    }
    let way = one(table, form, keys, diags);
    way.filter(|_| fits)
}

/// The way of the only key that is there.
fn one<'i>(table: &QName, form: Form, keys: &Table<'i>, diags: &mut Diags) -> Option<Way<'i>> {
    if let Some(from) = form.from {
        let Some(on) = keys.get_ref().get("match").filter(|_| form.r#match.is_some_and(|on| !on.is_empty())) else {
            let message = format!("`match` does not say which row of {} a row of {table} belongs to", from.get_ref());
            diags.push(
                Diag::error("TM0383", keys.get_ref().get("match").map_or(keys.span(), Spanned::span), message)
                    .help("write which column of the row equals which of the parent: match = { user_id = \"id\" }"),
            );
            return None;
        };
        return Some(Way::Parent { table: from, on: on.clone(), column: form.column });
    }
    if let Some(value) = form.value {
        return Some(Way::Value { place: value.span(), value: value.into_inner().0.0 });
    }
    let (place, sql) = form.sql.map(|sql| (sql.span(), sql.into_inner()))?;
    Some(Way::Sql {
        sql: Spanned::new(place, scalar(&sql)),
        needs: form.needs.map(Spanned::into_inner).unwrap_or_default(),
    })
}

/// A query as the scalar subquery that an expression takes; an expression as it is.
fn scalar(sql: &Expr) -> String {
    let query =
        words(sql.as_str()).first().is_some_and(|word| ["SELECT", "WITH", "VALUES", "TABLE"].contains(&&**word));
    let bare = sql.as_str().trim_start();
    if query && !bare.starts_with('(') { format!("({})", sql.as_str()) } else { sql.as_str().to_owned() }
}

/// A question may stand on several lines; a finding is one.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_a_scalar_subquery_and_an_expression_stays() {
        let check = |sql: &str, expect: &str| assert_eq!(scalar(&Expr::parse(sql).unwrap()), expect);
        check("SELECT t.a FROM t WHERE t.id = row.id", "(SELECT t.a FROM t WHERE t.id = row.id)");
        check("with x as (select 1) select * from x", "(with x as (select 1) select * from x)");
        check("/* why */ SELECT 1", "(/* why */ SELECT 1)");
        check("(SELECT 1)", "(SELECT 1)");
        check("app.tenant_of(row.email)", "app.tenant_of(row.email)");
        check("row.selected", "row.selected");
    }
}

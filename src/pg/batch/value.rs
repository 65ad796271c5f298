//! Where a row's value comes from, as SQL.

use tokio_postgres::{Client, types::Type};

use super::Fault;
use crate::{
    pg::Class,
    sql,
    sql::{Ident, List, QName, Stmt},
    unit::{BackfillSpec, BackfillValue},
};

/// The value of a row that is called `row`.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Constant(Stmt),
    /// The value in the parent's row, the parent's table, and how the two belong together.
    Parent {
        value: Stmt,
        table: QName,
        on: Stmt,
    },
    Expr(Stmt),
}

impl Value {
    /// The type of the column gives constants their type. Of a parent, the columns that are matched must be unique, or a
    /// child would have several.
    pub(super) async fn of(client: &Client, spec: &BackfillSpec) -> Result<Self, Fault> {
        match &spec.value {
            BackfillValue::Constant(text) => {
                let ty = column_type(client, &spec.table, &spec.column).await?;
                Ok(Self::Constant(sql!("CAST({} AS {})", text, ty)))
            }
            BackfillValue::Expr(expr) => Ok(Self::Expr(sql!("({})", expr))),
            BackfillValue::Copy(_) => Err(Fault::new(Class::Fatal, "a copy fills no column")),
            BackfillValue::Parent { table, column, on } => {
                let columns: Vec<&str> = on.iter().map(|(_, parent)| parent.as_str()).collect();
                if !unique(client, table, &columns).await? {
                    let message = format!(
                        "{table} ({}) is not unique, so a row of {} could have several parents",
                        columns.join(", "),
                        spec.table
                    );
                    return Err(Fault::new(Class::Fatal, message));
                }
                let on = on.iter().map(|(child, parent)| sql!("parent.{} = row.{}", parent, child)).collect::<Vec<_>>();
                Ok(Self::Parent {
                    value: sql!("parent.{}", column),
                    table: table.clone(),
                    on: sql!("{}", List(&on, " AND ")),
                })
            }
        }
    }

    /// The expression.
    pub(super) fn expression(&self) -> &Stmt {
        match self {
            Self::Constant(value) | Self::Expr(value) | Self::Parent { value, .. } => value,
        }
    }

    /// What is joined to `row` to find it.
    pub(super) fn join(&self) -> Stmt {
        match self {
            Self::Constant(_) | Self::Expr(_) => Stmt::raw(""),
            Self::Parent { table, on, .. } => sql!("LEFT JOIN {} AS parent ON {}", table, on),
        }
    }
}

pub(super) async fn column_type(client: &Client, table: &QName, column: &Ident) -> Result<Stmt, Fault> {
    let query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped";
    let row =
        client.query_typed_opt(query, &[(&table.to_string(), Type::TEXT), (&column.as_str(), Type::TEXT)]).await?;
    let row = row.ok_or_else(|| Fault::new(Class::Fatal, format!("{table} has no column {column}")))?;
    Ok(Stmt::raw(row.try_get::<_, String>(0)?))
}

async fn unique(client: &Client, table: &QName, columns: &[&str]) -> Result<bool, Fault> {
    let query =
        "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND (SELECT array_agg(a.attname::text) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k) <@ $2)";
    let row = client.query_typed_one(query, &[(&table.to_string(), Type::TEXT), (&columns, Type::TEXT_ARRAY)]).await?;
    Ok(row.try_get(0)?)
}

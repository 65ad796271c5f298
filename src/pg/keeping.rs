//! The SQL of keeping a column's values and of writing them back, in batches along the key.
//!
//! In batches, and not by one INSERT … SELECT: that would hold one snapshot for as long as the table is read, against which
//! nothing is vacuumed, and a crash would lose all of it. Each batch is a moment; what is written meanwhile a trigger follows,
//! so that the batches need not agree on one point in time.

use tokio_postgres::{Client, types::Type};

use super::{Class, Fault};
use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt, private},
    steps::add_column::keep,
    unit::KeepSpec,
};

/// Rows of the table that one batch looks at: a fraction of a second, and so few row locks when they are written back.
const BATCH_ROWS: u32 = 10_000;

/// What one batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The key of its last row, as text; `None` when there was none left.
    pub last: Option<Vec<String>>,
    pub seen: i64,
    /// Kept, or written back.
    pub done: i64,
    /// Written back nowhere: the row is gone.
    pub gone: i64,
    /// Left alone: the row has another value by now.
    pub other: i64,
}

/// The table of a preimage and the columns by which its rows are found again.
#[derive(Debug, Clone)]
pub struct Place {
    pub kept: QName,
    pub key: Vec<Ident>,
    /// The types of the key's columns.
    pub types: Vec<Stmt>,
}

/// The columns by which the rows of a column's table are found again; `None` where there are none.
pub async fn key(client: &Client, spec: &KeepSpec) -> Result<Option<Vec<Ident>>, Fault> {
    let query = keep::key(&spec.table, &spec.column);
    let Some(row) = client.query_typed_opt(query.as_str(), &[]).await? else { return Ok(None) };
    let names: Vec<String> = row.try_get(0)?;
    let names = names.into_iter().map(|name| Ident::new(name).map_err(|e| Fault::new(Class::Fatal, e.to_string())));
    names.collect::<Result<_, _>>().map(Some)
}

/// Whether the column is there.
pub async fn is_there(client: &Client, spec: &KeepSpec) -> Result<bool, Fault> {
    let query = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped)";
    let (table, column) = (spec.table.to_string(), spec.column.as_str());
    Ok(client.query_typed_one(query, &[(&table, Type::TEXT), (&column, Type::TEXT)]).await?.try_get(0)?)
}

/// Whether it can be asked of each row what would come again: the parent's column, or a function of the expression, may be gone
/// already (any error of class 42, "syntax error or access rule violation", but for a privilege that is missing).
pub async fn can_ask(client: &Client, spec: &KeepSpec) -> Result<bool, Fault> {
    let probe = sql!("SELECT FROM {} AS row WHERE {} LIMIT 0", spec.table, keep::differs(spec));
    match client.query_typed(probe.as_str(), &[]).await.map_err(Fault::from) {
        Ok(_) => Ok(true),
        Err(fault) if fault.sqlstate.as_deref().is_some_and(is_gone) => Ok(false),
        Err(fault) => Err(fault.in_statement(probe.as_str())),
    }
}

fn is_gone(sqlstate: &str) -> bool {
    const SCHEMA: &str = "3F000";
    const PRIVILEGE: &str = "42501";
    sqlstate == SCHEMA || sqlstate.starts_with("42") && sqlstate != PRIVILEGE
}

/// Makes the table for the values, nobody's but ours, and the trigger that follows what is written from now on. The values are
/// compared as text: the function has no search_path that would find every type's operators, and must not fail anybody's write.
pub async fn make(
    client: &Client,
    spec: &KeepSpec,
    kept: &QName,
    follower: &QName,
    key: &[Ident],
) -> Result<(), Fault> {
    let KeepSpec { table, column, .. } = spec;
    let names: Vec<Ident> = names(key.len());
    let of = |of: &str| key.iter().map(|k| sql!("{}.{}", Stmt::raw(of), k)).collect::<Vec<_>>();
    let columns: Vec<Stmt> = key.iter().zip(&names).map(|(k, name)| sql!("row.{} AS {}", k, name)).collect();
    let (new, old) = (of("NEW"), of("OLD"));
    let trigger = keep::trigger(column);
    let stmts = [
        sql!("CREATE TABLE {} AS SELECT {}, row.{} AS value FROM {} AS row WITH NO DATA", kept, List(&columns, ", "), column, table),
        sql!("ALTER TABLE {} ADD PRIMARY KEY ({})", kept, List(&names, ", ")),
        private(kept),
        sql!(
            "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $follow$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.{}::text IS NOT DISTINCT FROM OLD.{}::text AND ROW({})::text = ROW({})::text THEN RETURN NULL; END IF;
    END IF;
    INSERT INTO {} VALUES ({}, NEW.{}) ON CONFLICT ({}) DO UPDATE SET value = EXCLUDED.value;
    RETURN NULL;
END $follow$",
            follower,
            column,
            column,
            List(&new, ", "),
            List(&old, ", "),
            kept,
            List(&new, ", "),
            column,
            List(&names, ", ")
        ),
        sql!("REVOKE ALL ON FUNCTION {}() FROM PUBLIC", follower),
        keep::unfollow(table, column),
        sql!(
            "CREATE TRIGGER {} AFTER INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()",
            trigger,
            table,
            follower
        ),
    ];
    for stmt in &stmts {
        let done = client.batch_execute(stmt.as_str()).await;
        done.map_err(|error| Fault::from(error).in_statement(stmt.as_str()))?;
    }
    Ok(())
}

fn names(columns: usize) -> Vec<Ident> {
    (1..=columns).map(|n| Ident::derived(&[&format!("k{n}")])).collect()
}

impl Place {
    /// Where the values are, as the server has it.
    pub async fn of(client: &Client, kept: QName, key: Vec<Ident>) -> Result<Self, Fault> {
        let query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum BETWEEN 1 AND $2 ORDER BY attnum";
        let count = i16::try_from(key.len()).unwrap_or(i16::MAX);
        let rows = client.query_typed(query, &[(&kept.to_string(), Type::TEXT), (&count, Type::INT2)]).await?;
        let types =
            rows.iter().map(|row| Ok(Stmt::raw(row.try_get::<_, String>(0)?))).collect::<Result<Vec<_>, Fault>>()?;
        if types.len() != key.len() {
            return Err(Fault::new(Class::Fatal, format!("{kept}, which has kept values, is not there")));
        }
        Ok(Self { kept, key, types })
    }

    /// Whether the table's rows can be found by this key: it may have been made anew with other columns, or another type.
    pub async fn fits(&self, client: &Client, spec: &KeepSpec) -> Result<bool, Fault> {
        let query = "SELECT count(*) = cardinality($3) FROM unnest($3) WITH ORDINALITY AS k (name, n)
                       JOIN pg_attribute t ON t.attrelid = to_regclass($1) AND t.attname = k.name AND NOT t.attisdropped
                       JOIN pg_attribute v ON v.attrelid = to_regclass($2) AND v.attnum = k.n
                        AND v.atttypid = t.atttypid AND v.attcollation = t.attcollation";
        let names: Vec<&str> = self.key.iter().map(Ident::as_str).collect();
        let (table, kept) = (spec.table.to_string(), self.kept.to_string());
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
            [(&table, Type::TEXT), (&kept, Type::TEXT), (&names, Type::TEXT_ARRAY)];
        Ok(client.query_typed_one(query, &params).await?.try_get(0)?)
    }

    /// Until the transaction ends: the operators of a key's type may be in a schema of an extension's that is not searched, and
    /// they are found by that alone.
    async fn see_operators(&self, client: &Client) -> Result<(), Fault> {
        let widen = "SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), more.names), true)
                       FROM (SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') AS names
                               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                               JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid) JOIN pg_namespace n ON n.oid = b.typnamespace
                              WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND n.nspname <> 'pg_catalog') AS more";
        client.query_typed(widen, &[(&self.kept.to_string(), Type::TEXT)]).await?;
        Ok(())
    }

    fn beyond(&self, columns: &[Stmt], last: Option<&[String]>) -> Stmt {
        let Some(last) = last else { return Stmt::raw("true") };
        let typed = |(text, ty): (&String, &Stmt)| sql!("CAST({} AS {})", Literal::new(text.clone()), ty);
        let bound: Vec<Stmt> = last.iter().zip(&self.types).map(typed).collect();
        sql!("({}) > ({})", List(columns, ", "), List(&bound, ", "))
    }

    /// Keeps what differs among the next rows along the key. A row that the trigger has followed already stays as it is.
    pub async fn keep(
        &self,
        client: &Client,
        spec: &KeepSpec,
        which: &Stmt,
        last: Option<&[String]>,
    ) -> Result<Batch, Fault> {
        let key: Vec<Stmt> = self.key.iter().map(|k| sql!("row.{}", k)).collect();
        let names = names(key.len());
        let here: Vec<Stmt> = key.iter().zip(&names).map(|(k, name)| sql!("{} AS {}", k, name)).collect();
        let pairs: Vec<Stmt> = key.iter().zip(&names).map(|(k, name)| sql!("{} = part.{}", k, name)).collect();
        let statement = sql!(
            "WITH part AS MATERIALIZED (SELECT {} FROM {} AS row WHERE {} ORDER BY {} LIMIT {}),
                  put AS (INSERT INTO {} SELECT {}, row.{} FROM {} AS row JOIN part ON {} WHERE {} ON CONFLICT DO NOTHING RETURNING 1)
             SELECT (SELECT count(*) FROM part), (SELECT count(*) FROM put), 0::bigint, 0::bigint, ({})",
            List(&here, ", "),
            spec.table,
            self.beyond(&key, last),
            List(&key, ", "),
            BATCH_ROWS,
            self.kept,
            List(&key, ", "),
            spec.column,
            spec.table,
            List(&pairs, " AND "),
            which,
            last_of(&names)
        );
        self.see_operators(client).await?;
        batch(client, &statement).await
    }

    /// Writes the next values along the key back, where the row has none of its own yet.
    pub async fn restore(&self, client: &Client, spec: &KeepSpec, last: Option<&[String]>) -> Result<Batch, Fault> {
        let names = names(self.key.len());
        let here: Vec<Stmt> = names.iter().map(|name| sql!("{}", name)).collect();
        let pairs: Vec<Stmt> = self.key.iter().zip(&names).map(|(k, name)| sql!("row.{} = part.{}", k, name)).collect();
        let (column, ty) = (&spec.column, &spec.ty);
        let fresh = match &spec.fresh {
            Some(fresh) => sql!("row.{}::text IS NOT DISTINCT FROM CAST(({}) AS {})::text", column, fresh, ty),
            None => sql!("row.{} IS NULL", column),
        };
        let same = sql!("row.{}::text IS NOT DISTINCT FROM part.value::text", column);
        let statement = sql!(
            "WITH part AS MATERIALIZED (SELECT * FROM {} WHERE {} ORDER BY {} LIMIT {}),
                  here AS MATERIALIZED (SELECT part.*, row.tableoid AS heap, row.ctid AS at, {} AS same, {} AS fresh FROM part JOIN {} AS row ON {}),
                  put AS (UPDATE {} AS row SET {} = here.value FROM here WHERE row.tableoid = here.heap AND row.ctid = here.at
                             AND here.fresh AND NOT here.same RETURNING 1)
             SELECT (SELECT count(*) FROM part), (SELECT count(*) FROM put),
                    (SELECT count(*) FROM part) - (SELECT count(*) FROM here),
                    (SELECT count(*) FROM here WHERE NOT fresh AND NOT same), ({})",
            self.kept,
            self.beyond(&here, last),
            List(&names, ", "),
            BATCH_ROWS,
            same,
            fresh,
            spec.table,
            List(&pairs, " AND "),
            spec.table,
            column,
            last_of(&names)
        );
        self.see_operators(client).await?;
        batch(client, &statement).await
    }
}

fn last_of(names: &[Ident]) -> Stmt {
    let text: Vec<Stmt> = names.iter().map(|name| sql!("{}::text", name)).collect();
    let down: Vec<Stmt> = names.iter().map(|name| sql!("{} DESC", name)).collect();
    sql!("SELECT ARRAY[{}] FROM part ORDER BY {} LIMIT 1", List(&text, ", "), List(&down, ", "))
}

async fn batch(client: &Client, statement: &Stmt) -> Result<Batch, Fault> {
    let row = client.query_typed_one(statement.as_str(), &[]).await;
    let row = row.map_err(|error| Fault::from(error).in_statement(statement.as_str()))?;
    Ok(Batch {
        seen: row.try_get(0)?,
        done: row.try_get(1)?,
        gone: row.try_get(2)?,
        other: row.try_get(3)?,
        last: row.try_get(4)?,
    })
}

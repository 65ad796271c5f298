//! What the database lacks for a plan, asked before anything is touched.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Row, types::Type};

use super::Fault;
use crate::{
    sql::{Ident, QName},
    steps::Object,
};

/// Something that a step needs and the database or the role has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// There is no such table; `near` is the most similar name that exists.
    Table { near: Option<String> },
    /// The table has no such column.
    Column { near: Option<String> },
    /// The role neither owns the table nor belongs to its owner.
    Ownership { owner: String, role: String },
    /// There is no such tablespace.
    Tablespace { near: Option<String> },
    /// The role may make nothing in the tablespace.
    Room { role: String },
}

/// Tables as the catalogue has them, asked for all at once: a plan of thousands of steps is about hundreds of tables.
#[derive(Debug, Default)]
pub struct Tables(BTreeMap<(String, String), Table>);

#[derive(Debug)]
struct Table {
    owner: String,
    is_ours: bool,
    role: String,
    columns: Vec<String>,
}

impl Tables {
    /// Asks for these.
    pub async fn read(client: &Client, tables: &[QName]) -> Result<Self, Fault> {
        let query = "SELECT n.nspname::text, c.relname::text, c.relowner::regrole::text, pg_has_role(c.relowner, 'USAGE'), current_user::text,
                ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE (n.nspname::text, c.relname::text) IN (SELECT s, t FROM unnest($1, $2) AS u (s, t)) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')";
        let (schemas, names): (Vec<&str>, Vec<&str>) =
            tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
        let rows = client.query_typed(query, &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)]).await?;
        let table = |row: &Row| {
            let table = Table {
                owner: row.try_get(2)?,
                is_ours: row.try_get(3)?,
                role: row.try_get(4)?,
                columns: row.try_get(5)?,
            };
            Ok(((row.try_get(0)?, row.try_get(1)?), table))
        };
        Ok(Self(rows.iter().map(table).collect::<Result<_, Fault>>()?))
    }

    fn get(&self, table: &QName) -> Option<&Table> {
        self.0.get(&(table.schema.as_str().to_owned(), table.name.as_str().to_owned()))
    }
}

/// What is lacking for `object`, whose table is among `tables`. `owned`: the step changes the table's definition, which only its owner may.
pub async fn lacks(client: &Client, tables: &Tables, object: &Object, owned: bool) -> Result<Option<Lack>, Fault> {
    let (table, column) = match object {
        Object::Table(table) => (table, None),
        Object::Column(table, column) => (table, Some(column)),
        Object::Tablespace(name) => return lacking_tablespace(client, name).await,
        // No thing in the database.
        Object::Activity(_) => return Ok(None),
    };
    let Some(found) = tables.get(table) else {
        return Ok(Some(Lack::Table { near: near_table(client, table).await? }));
    };
    if owned && !found.is_ours {
        return Ok(Some(Lack::Ownership { owner: found.owner.clone(), role: found.role.clone() }));
    }
    let missing = column.filter(|column| !found.columns.iter().any(|name| name == column.as_str()));
    Ok(missing.map(|column| Lack::Column { near: nearest(column.as_str(), found.columns.clone()) }))
}

/// In the database's own tablespace anybody may make an index.
async fn lacking_tablespace(client: &Client, name: &Ident) -> Result<Option<Lack>, Fault> {
    let query = "SELECT s.spcname::text, s.oid = d.dattablespace OR has_tablespace_privilege(s.oid, 'CREATE'), current_user::text
                   FROM pg_tablespace s, pg_database d WHERE d.datname = current_database()";
    let mut names = Vec::new();
    for row in client.query_typed(query, &[]).await? {
        let known: String = row.try_get(0)?;
        if known == name.as_str() {
            let role = row.try_get(2)?;
            return Ok(if row.try_get(1)? { None } else { Some(Lack::Room { role }) });
        }
        names.push(known);
    }
    Ok(Some(Lack::Tablespace { near: nearest(name.as_str(), names) }))
}

async fn near_table(client: &Client, table: &QName) -> Result<Option<String>, Fault> {
    let query =
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let rows = client.query_typed(query, &[]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(nearest(&table.to_string(), names))
}

fn nearest(word: &str, names: Vec<String>) -> Option<String> {
    const MEANT_MIN: f64 = 0.8; // Jaro-Winkler
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(word, &name), name));
    scored.filter(|(score, _)| *score >= MEANT_MIN).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Which of `tables` hide rows from this session by row-level security. A batch or a gate on such a table would see a part
/// only (PostgreSQL raises 42501 instead, because every session of ours sets row_security = off). A batch writes the partitions
/// and children of a `written` table by their own names, where their own flags count and not the parent's.
pub async fn rls_hides(client: &Client, tables: &[QName], written: &[QName]) -> Result<Vec<String>, Fault> {
    let names = |of: &[QName]| of.iter().map(QName::to_string).collect::<Vec<_>>();
    let query = "WITH RECURSIVE tree AS (SELECT to_regclass(t)::oid AS oid FROM unnest($2) t
             UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
        SELECT t FROM unnest($1) t WHERE to_regclass(t) IS NOT NULL AND row_security_active(to_regclass(t)::oid)
        UNION
        SELECT format('%I.%I', n.nspname, c.relname)
          FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND row_security_active(c.oid)
         ORDER BY 1";
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&names(tables), Type::TEXT_ARRAY), (&names(written), Type::TEXT_ARRAY)];
    let rows = client.query_typed(query, &params).await?;
    rows.iter().map(|row| row.try_get(0).map_err(Fault::from)).collect()
}

/// The table, or partitions and children of it, of which the server refuses every UPDATE (55000): published with updates, and
/// without a replica identity by which a subscriber would find the row.
pub async fn without_identity(client: &Client, table: &QName) -> Result<Vec<String>, Fault> {
    let query = "WITH RECURSIVE heap AS (SELECT to_regclass($1)::oid AS oid
             UNION SELECT i.inhrelid FROM pg_inherits i JOIN heap ON heap.oid = i.inhparent),
           above AS (SELECT oid AS heap, oid AS at FROM heap
             UNION SELECT above.heap, i.inhparent FROM above JOIN pg_class c ON c.oid = above.at AND c.relispartition JOIN pg_inherits i ON i.inhrelid = above.at)
         SELECT DISTINCT above.heap::regclass::text FROM above JOIN pg_class a ON a.oid = above.at JOIN pg_namespace n ON n.oid = a.relnamespace
           JOIN pg_publication_tables t ON (t.schemaname, t.tablename) = (n.nspname, a.relname) JOIN pg_publication p ON p.pubname = t.pubname AND p.pubupdate
           JOIN pg_class c ON c.oid = above.heap
          WHERE c.relkind = 'r' AND (c.relreplident = 'n' OR (c.relreplident = 'd'
                 AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))) ORDER BY 1";
    let rows = client.query_typed(query, &[(&table.to_string(), Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

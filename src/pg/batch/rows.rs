//! Rows one by one, where a batch cannot be done as a whole.

use tokio_postgres::{Client, types::Type};

use super::{Batches, Deed, Fault, Part};
use crate::{
    engine::ranges::Range,
    sql,
    sql::{Ident, List, Literal, Stmt},
};

impl Batches {
    /// The addresses of the rows that are due in the range's next stripe, in their order. Whether there is a value for them
    /// is not asked, since it may be what takes long.
    pub async fn due(&self, client: &Client, range: &Range) -> Result<Vec<String>, Fault> {
        let query = sql!(
            "SELECT row.ctid::text FROM {} AS row WHERE {}{} AND {} ORDER BY row.ctid",
            if self.through_root { sql!("{}", self.table) } else { sql!("ONLY {}", Stmt::raw(range.heap.clone())) },
            match &self.deed {
                Deed::Fill { column, .. } => sql!("row.{} IS NULL", column),
                Deed::Copy(copy) => copy.due(),
            },
            self.only,
            self.rows(range, &Part::Stripe)
        );
        let rows = client.query_typed(query.as_str(), &[]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// How a person finds the row at this address: by its primary key where there is one. `None` when it is gone.
    pub async fn name(&self, client: &Client, heap: &str, address: &str) -> Result<Option<String>, Fault> {
        let query = "SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
                       JOIN pg_attribute a ON a.attnum = k.attnum WHERE i.indrelid = $1::text::regclass AND a.attrelid = i.indrelid AND i.indisprimary AND k.n <= i.indnkeyatts";
        let names: Option<Vec<String>> = client.query_typed_one(query, &[(&heap, Type::TEXT)]).await?.try_get(0)?;
        let columns: Vec<Ident> =
            names.unwrap_or_default().into_iter().filter_map(|name| Ident::new(name).ok()).collect();
        let values = columns.iter().map(|column| sql!("row.{}::text", column)).collect::<Vec<_>>();
        let query = sql!(
            "SELECT ARRAY[{}]::text[] FROM {} AS row WHERE row.ctid = {}::tid",
            List(&values, ", "),
            Stmt::raw(heap),
            Literal::new(address)
        );
        let Some(row) = client.query_typed_opt(query.as_str(), &[]).await? else { return Ok(None) };
        let values: Vec<Option<String>> = row.try_get(0)?;
        if columns.is_empty() {
            return Ok(Some(format!("ctid = {address}")));
        }
        let named = columns.iter().zip(values).map(|(c, v)| format!("{c} = {}", v.unwrap_or_default()));
        Ok(Some(named.collect::<Vec<_>>().join(", ")))
    }
}

//! The SQL of a backfill's batches: heaps walked by block ranges, the rows of a batch, and the closing proof.
//!
//! A range is written in several interleaved batches (stripes), each a transaction of its own: every k-th row of each page. The
//! first touch after a commit prunes the dead versions of the batch before, so the next versions fit into the same page: HOT,
//! without index entries, with half the WAL and little growth.

mod copy;
mod heaps;
mod proof;
mod rows;
mod value;
mod work;

use tokio_postgres::Client;

use super::Fault;
use crate::{
    sql::{Ident, QName, Stmt},
    unit::{BackfillSpec, CopySpec},
};

pub use heaps::{Fill, Growth};
pub use proof::Proof;
pub use work::{Part, Work};

/// A backfill's statements, made once for a table.
#[derive(Debug, Clone)]
pub struct Batches {
    table: QName,
    deed: Deed,
    only: Stmt,
    /// Written through the root: the column decides the partition, so rows move between them.
    through_root: bool,
    /// Whether block ranges can be scanned (from 14 on); before that the row addresses are listed.
    ranges_scanned: bool,
}

/// What is done with the rows.
#[derive(Debug, Clone)]
enum Deed {
    Fill { column: Ident, value: value::Value },
    Copy(Box<copy::Copy>),
}

impl Batches {
    /// Looks at the table and prepares its statements.
    pub async fn new(client: &Client, spec: &BackfillSpec, server_version_num: i32) -> Result<Self, Fault> {
        let only = spec.only.as_ref().map_or(Stmt::raw(""), |only| crate::sql!(" AND ({})", only));
        let (deed, through_root) = match CopySpec::of(spec) {
            Some(copy) => (Deed::Copy(Box::new(copy::Copy::of(client, spec, copy).await?)), false),
            None => {
                let (column, value) = (spec.column.clone(), value::Value::of(client, spec).await?);
                (Deed::Fill { column, value }, heaps::moves_rows(client, spec).await?)
            }
        };
        let ranges_scanned = server_version_num >= 140_000;
        Ok(Self { table: spec.table.clone(), deed, only, through_root, ranges_scanned })
    }

    /// Whether a range pays to be written in stripes: they are for new versions of rows, of which a copy makes none.
    pub fn takes_stripes(&self) -> bool {
        matches!(self.deed, Deed::Fill { .. })
    }
}

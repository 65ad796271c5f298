//! What is asked of the catalogue for some units, and the answers: a handful of queries, however many units there are.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::facts::{Found, Named, Settings, columns, heaps, indexed, settings, sizes};
use crate::{
    disk::Heap,
    pg::Fault,
    sql::{Ident, QName},
    unit::{BackfillSpec, BackfillValue, CopySpec, Growth, Hold, Op, Unit},
};

/// The catalogue's answers.
#[derive(Debug)]
pub struct Known {
    heaps: BTreeMap<String, Vec<Heap>>,
    columns: BTreeMap<Named, Found>,
    indexed: BTreeSet<Named>,
    sizes: BTreeMap<String, u64>,
    pub(super) settings: Settings,
}

/// The questions.
#[derive(Debug, Default)]
struct Wanted {
    tables: BTreeSet<String>,
    columns: BTreeSet<Named>,
    indexed: BTreeSet<Named>,
    sizes: BTreeSet<String>,
}

fn named(table: &QName, column: &Ident) -> Named {
    (table.to_string(), column.as_str().to_owned())
}

/// The column whose width says how wide the values of a backfill are.
pub(super) fn source(spec: &BackfillSpec) -> (&QName, &Ident) {
    match &spec.value {
        BackfillValue::Parent { table, column, .. } => (table, column),
        BackfillValue::Constant(_) | BackfillValue::Expr(_) | BackfillValue::Copy(_) => (&spec.table, &spec.column),
    }
}

impl Wanted {
    fn of(&mut self, unit: &Unit) {
        match (&unit.grows, &unit.up) {
            (Growth::Unknown, _) => {}
            (Growth::Index(shape), _) => {
                self.tables.insert(shape.table.to_string());
                self.columns.extend(shape.columns.iter().map(|column| named(&shape.table, column)));
                self.sizes.insert(shape.table.sibling(shape.name.clone()).to_string());
            }
            (Growth::Little, Op::Backfill(spec)) => {
                self.tables.insert(spec.table.to_string());
                self.tables.extend(CopySpec::of(spec).map(|copy| copy.into.to_string()));
                let (table, column) = source(spec);
                self.columns.insert(named(table, column));
                self.indexed.insert(named(&spec.table, &spec.column));
            }
            (Growth::Little, Op::Tx(_)) if unit.lock.hold == Hold::Rewrite => {
                self.tables.extend(unit.lock.on.iter().map(QName::to_string));
            }
            (
                Growth::Little,
                Op::Tx(_) | Op::Autocommit { .. } | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_),
            ) => {}
        }
    }
}

impl Known {
    /// Asks, in the open transaction of `client`.
    pub(super) async fn read(client: &Client, units: &[&Unit]) -> Result<Self, Fault> {
        let mut wanted = Wanted::default();
        units.iter().for_each(|unit| wanted.of(unit));
        let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>();
        let pairs = |set: BTreeSet<Named>| set.into_iter().collect::<Vec<_>>();
        Ok(Self {
            heaps: heaps(client, &list(wanted.tables)).await?,
            columns: columns(client, &pairs(wanted.columns)).await?,
            indexed: indexed(client, &pairs(wanted.indexed)).await?,
            sizes: sizes(client, &list(wanted.sizes)).await?,
            settings: settings(client).await?,
        })
    }

    /// Of one column alone.
    pub(super) async fn of_column(client: &Client, table: &QName, column: &Ident) -> Result<Self, Fault> {
        Ok(Self {
            heaps: heaps(client, &[table.to_string()]).await?,
            columns: columns(client, &[named(table, column)]).await?,
            indexed: BTreeSet::new(),
            sizes: BTreeMap::new(),
            settings: settings(client).await?,
        })
    }

    /// The heaps of a table; none where it is not there.
    pub(super) fn heaps(&self, table: &QName) -> &[Heap] {
        self.heaps.get(&table.to_string()).map_or(&[], Vec::as_slice)
    }

    /// What is known of a column.
    pub(super) fn column(&self, table: &QName, column: &Ident) -> Option<Found> {
        self.columns.get(&named(table, column)).cloned()
    }

    /// Whether an index has the column.
    pub(super) fn is_indexed(&self, table: &QName, column: &Ident) -> bool {
        self.indexed.contains(&named(table, column))
    }

    /// Bytes of what stands under the name.
    pub(super) fn size(&self, name: &QName) -> u64 {
        self.sizes.get(&name.to_string()).copied().unwrap_or(0)
    }
}

//! The queries of the catalogue fingerprint, by what they read.

mod code;
mod columns;
mod constraints;
mod database;
mod indexes;
mod objects;
mod query;
mod relations;
mod types;

pub(super) use query::Facts;

/// Every query; the order is of no matter, since the lines are sorted.
pub(super) const ALL: &[&[Facts]] = &[
    objects::FACTS,
    relations::FACTS,
    columns::FACTS,
    constraints::FACTS,
    indexes::FACTS,
    code::FACTS,
    types::FACTS,
    database::FACTS,
];

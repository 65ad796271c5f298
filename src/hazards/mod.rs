//! What in a live schema bites when it becomes multi-tenant: one file a family of hazards, and this table. A row is a query;
//! who has a session asks it (`pg::survey`), and gets a [`Hazard`] for each row of the answer. A new hazard is one more row.

mod found;
mod functions;
mod keys;
mod kind;
mod lost_indexes;
mod moment;
mod policies;
mod replication;
mod roles;
mod scope;
mod statements;
mod tables;
mod triggers;
mod views;

pub use found::{Hazard, Survey, Unmeasured};
pub use kind::{Kind, Needs, Query, Server, Severity};
pub use moment::{Lacking, faults, lacking};
pub use roles::becomes;
pub use scope::{Scope, Way};

/// Every kind, by family, in the order of their codes.
pub const FAMILIES: &[&[Kind]] = &[
    triggers::KINDS,
    views::KINDS,
    replication::KINDS,
    keys::KINDS,
    functions::KINDS,
    roles::KINDS,
    statements::KINDS,
    tables::KINDS,
    policies::KINDS,
    moment::KINDS,
    lost_indexes::KINDS,
];

/// Every kind.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    FAMILIES.iter().copied().flatten()
}

//! The normalised fingerprint of a database: two databases that a user cannot tell apart have the same, and any difference
//! is a line that a DBA can read.
//!
//! **Covered**, outside the excluded and the system's schemas: schemas; tables, partitions, views, materialised views, foreign
//! tables, sequences (kind, persistence, access method, options, row security, replica identity, partition key and bound,
//! parents, view text); columns by their position among the live ones; constraints; indexes with their state; extended
//! statistics; policies; triggers; rules; functions, procedures, aggregates; types, domains, enums; event triggers; extensions;
//! publications; foreign servers; settings of this database and of roles in it; default privileges; and of each its owner,
//! grants, comment and security labels. Operators, operator classes and families, casts, transforms, collations, conversions,
//! access methods, text search objects, foreign-data wrappers and languages: that they exist and, where the list of objects
//! has them, owner, grants and comment, not their definition. The rows of each table, as a count and a checksum.
//!
//! **Not covered**: what is put aside (schemas `tenantmig_aside_…`); what is shared by the cluster (roles and memberships, tablespaces, grants on settings), subscriptions and
//! user mappings (an ordinary role may not read them), large objects, the database's name, encoding and locale; the value a
//! sequence stands at; OIDs, attribute numbers, sizes and statistics, which differ without anyone noticing.

mod catalog;
mod columns;
mod data;
mod diff;
mod error;
mod facts;
mod print;
mod snapshot;
mod touched;

pub use catalog::{CatalogPrint, catalog};
pub use columns::{Columns, columns};
pub use data::{ColumnName, DataPrint, TableData, TableName, data};
pub use diff::diff;
pub use error::FingerprintError;
pub use print::Fingerprint;
pub use touched::{FORMAT, Touched, TouchedTable, touched};

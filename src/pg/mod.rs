//! The only user of tokio-postgres: connections, sessions, statements, the catalogue.

mod audit;
pub mod batch;
mod blockers;
pub mod connect;
mod due;
mod estimate;
mod fault;
pub mod fingerprint;
pub mod isolation;
pub mod keeping;
pub mod kept;
pub mod latency;
mod partitions;
mod preflight;
mod probe;
mod role;
pub mod room;
pub mod schema;
pub mod settings;
pub mod signals;
mod survey;
mod transaction;
mod unfillable;
pub mod workers;

pub use audit::{Audited, audit};
pub use blockers::{InTheWay, blockers, deadlock_timeout, in_the_way, old_transactions};
pub use due::{Errand, ErrandKind, due};
pub use estimate::{rows_estimated, rows_of_each};
pub use fault::{Class, Fault};
pub use partitions::partitions;
pub use preflight::{Lack, Tables, lacks, rls_hides, without_identity};
pub use probe::probe;
pub use role::{Role, owners, role};
pub use survey::survey;
pub use transaction::{Bounds, Turn, in_transaction};
pub use unfillable::{Unfillable, unfillable};

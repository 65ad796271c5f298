//! Latency: what a query of the application costs under the policies, what it cost without them, and when that is too much.
//! Pure; `pg::latency` measures.
//!
//! Three runs of the same query are compared. *Now*: as the application's role, as one of several tenants, under the policies.
//! *Reference*: without policies, by turns with the first, so that what else the machine does falls on both alike. *Before*: kept
//! when the run of the plan began; it tells what the plan itself took away, an index for instance, and counts by the rows
//! that are read, since hours lie between and a machine's times drift. Rows that are read do not.

mod judge;
mod run;
mod shape;
mod spec;

pub use judge::{NOBODY, judge, worse};
pub use run::{Baseline, Measurement, Run, Sample, Times};
pub use shape::{Scan, Shape, Skew};
pub use spec::{Budget, Gauge, REPEAT, Spec};

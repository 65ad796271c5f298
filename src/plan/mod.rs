//! A plan: its types, how it is read, what is wrong with it, and its fingerprint. Pure.

mod approval;
mod bytes;
mod canary;
mod constants;
mod deals;
mod disk;
mod document;
mod expand;
mod explicit;
mod fallback;
mod fingerprint;
mod limits;
mod mend;
mod observed;
mod order;
mod parse;
mod probes;
mod section;
mod shadow;
mod site;
mod throttle;
mod tuning;
mod types;
mod wording;

pub use approval::Approvals;
pub use bytes::Bytes;
pub use deals::Deals;
pub use disk::{Disk, FreeCommand, Reserve};
pub use expand::Shared;
pub use explicit::{Explicit, explicit};
pub use fallback::Fallback;
pub use fingerprint::Fingerprint;
pub use parse::{ReadFile, parse};
pub use probes::Latency;
pub use shadow::Shadow;
pub use site::Site;
pub use throttle::{OnCritical, Pacing, SynchronousCommit, Throttle, Tuning, UserSignal};
pub use tuning::{HOLD_CHARS_MAX, TARGET_BATCH, WORKERS};
pub use types::{
    BackfillDefaults, Backup, Capture, Lowering, Millis, OnDiskFull, OnFailure, OnUnset, Phase, Plan, PlanGate,
    PlanStep, Registry, Safety, ServerFacts, Tenancy,
};

//! A plan: its types, how it is read, what is wrong with it, and its fingerprint. Pure.

mod document;
mod fingerprint;
mod mend;
mod order;
mod parse;
mod section;
mod site;
mod types;
mod wording;

pub use fingerprint::Fingerprint;
pub use parse::{ReadFile, parse};
pub use site::Site;
pub use types::{
    BackfillDefaults, Lowering, Millis, OnFailure, Phase, Plan, PlanGate, PlanStep, Registry, Safety, ServerFacts,
    Tenancy,
};

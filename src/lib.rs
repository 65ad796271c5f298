//! tenantmig takes a live, single-tenant PostgreSQL database to multi-tenant Row-Level Security, and back.
//!
//! The layers, lowest first; imports run downward only. ARCHITECTURE.md has the map.

// L0: vocabulary
pub mod activity;
pub mod codes;
pub mod diag;
pub mod isolation;
pub mod latency;
pub mod sql;
pub mod unit;
// L1: a plan and what it is made of, pure
pub mod audit;
pub mod checks;
pub mod hazards;
pub mod plan;
pub mod steps;
// L2: the machine, pure
pub mod disk;
pub mod engine;
pub mod infer;
pub mod pace;
// L3: the database
pub mod ledger;
pub mod pg;
// L4: the shell
pub mod driver;
pub mod evidence;
pub mod report;
// L5: what a person meets
pub mod cli;
pub mod demo;
pub mod exit;

//! The one test binary that needs a PostgreSQL server: one cluster for the run, a database a test, in parallel.
//!
//! A new file of tests is one `mod` line here; see `harness` for what it can use.
//! TENANTMIG_TEST_PG_BINDIR runs all of it on another major version; TENANTMIG_TEST_KEEP keeps the databases of
//! failed and passed tests for as long as the process lives (the cluster goes with it).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

mod alphapulse;
mod apply;
mod approvals;
mod audit;
mod backfill_faults;
mod backfills;
mod backup;
mod batch;
mod before;
mod break_glass;
mod capture;
mod chaos;
mod connect;
mod connect_peer;
mod connect_tls;
mod connections;
mod contention;
mod contexts;
mod copies;
mod corrupted;
mod cycle;
mod disk;
mod disk_estimate;
mod drift;
mod evidence;
mod exit_codes;
mod exposure;
mod failover;
mod failures;
mod fallback;
mod faults;
mod fingerprint;
mod force_rls;
mod guards;
mod harness;
mod harness_test;
mod hazards;
mod indexes;
mod init;
mod isolation;
mod keeps;
mod keys;
mod late;
mod latency;
mod laws;
mod leakless;
mod ledger;
mod locks;
mod lossless;
mod pause;
mod pooler;
mod put_off;
mod quarantine;
mod race;
mod real_schemas;
mod replica_lag;
mod resume;
mod scenarios;
mod scene;
mod shadow;
mod signal_matrix;
mod signals;
mod stuck;
mod systems;
mod tables;
mod takeover;
mod tenants;
mod terminal;
mod throttle;
mod watch;
mod way_back;

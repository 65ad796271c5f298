//! tenantmig takes a live, single-tenant PostgreSQL database to multi-tenant Row-Level Security, and back.

pub mod demo;
pub mod pg;

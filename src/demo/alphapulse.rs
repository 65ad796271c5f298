//! AlphaPulse, the application of the demo: its roles, its tables, and whose tenant a user is.

use uuid::Uuid;

/// The owner of database and tables, as which tenantmig connects: a plain role.
pub const OWNER: &str = "alphapulse";
/// The role of the application, which owns nothing.
pub const APP: &str = "alphapulse_app";
/// The plan, as the repository has it.
pub const PLAN: &str = include_str!("../../plans/alphapulse.toml");

/// The application's tables that get a tenant, parents first.
pub const TABLES: [&str; 7] =
    ["users", "trades", "positions", "orders", "portfolio_snapshots", "risk_metrics", "agent_signals"];

/// One of the tenants that the plan creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// The key in the registry.
    pub id: Uuid,
    /// The domain of its users' e-mail addresses.
    pub domain: &'static str,
    /// What people call it.
    pub name: &'static str,
}

/// The tenants. Users with any other domain than these belong to the first.
pub const TENANTS: [Tenant; 3] = [
    Tenant { id: Uuid::from_u128(1), domain: "alphapulse.example", name: "Default Tenant" },
    Tenant { id: Uuid::from_u128(2), domain: "northwind.example", name: "Northwind Capital" },
    Tenant { id: Uuid::from_u128(3), domain: "borealis.example", name: "Borealis Partners" },
];

/// The tenant of a seeded user: of each ten, five are the default tenant's, three Northwind's and two Borealis'.
pub fn tenant_of(user: i64) -> &'static Tenant {
    match user.rem_euclid(10) {
        0..=4 => &TENANTS[0],
        5..=7 => &TENANTS[1],
        _ => &TENANTS[2],
    }
}

//! Funds, their companies and what was invested: one firm's platform takes in others. Every row that is there is the first
//! firm's, so no row is written; isolation means that a firm sees its own funds and nothing of another's.

use super::{System, Write};

pub const SYSTEM: System = System {
    name: "portfolio",
    title: "Portfolio: a platform of one firm takes in others",
    meaning: "an organization sees its own funds, companies and investments",
    plan: include_str!("../../../plans/portfolio.toml"),
    schema: include_str!("portfolio.sql"),
    owner: "updog",
    app: "updog_app",
    setting: "app.current_org",
    column: "organization_id",
    tenants: [
        "a1111111-1111-1111-1111-111111111111",
        "b2222222-2222-2222-2222-222222222222",
        "c3333333-3333-3333-3333-333333333333",
    ],
    kept: &["funds", "portfoliocompanies", "investments"],
    isolated: &["funds", "portfoliocompanies", "investments"],
    old: &[
        Write {
            table: "funds",
            key: "reference",
            sql: "INSERT INTO funds (reference, name) VALUES ($1, 'Fund of today ' || $2)",
        },
        Write {
            table: "investments",
            key: "reference",
            sql: "INSERT INTO investments (reference, fund_id, amount) VALUES ($1, 1 + $2 % 100, 17)",
        },
    ],
    new: &[Write {
        table: "funds",
        key: "reference",
        sql: "INSERT INTO funds (reference, name, organization_id) VALUES ($1, 'Fund of tomorrow ' || $2, current_org_id())",
    }],
};

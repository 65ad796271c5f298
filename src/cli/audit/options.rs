//! The options of `audit`, as clap reads them.

use std::path::PathBuf;

use clap::Args;

use crate::sql::{Ident, QName};

/// `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Take the tenancy from this plan: column, setting, function, roles, registry and what is shared; its [[probe]]s that expect
    /// an answer are asked
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["column", "setting", "function", "registry"])]
    pub plan: Option<PathBuf>,
    /// The tenant column [default: what the policies compare most often]
    #[arg(long, value_name = "NAME", value_parser = Ident::parse)]
    pub column: Option<Ident>,
    /// The setting that carries the tenant [default: what the policies read most often]
    #[arg(long, value_name = "NAME")]
    pub setting: Option<String>,
    /// The function that returns the session's tenant [default: what the policies call most often, if any]
    #[arg(long, value_name = "SCHEMA.NAME", value_parser = QName::parse)]
    pub function: Option<QName>,
    /// A role as which the application works; may be given several times [default: who logs in and has rights on tenants' tables]
    #[arg(long = "app-role", value_name = "NAME", value_parser = Ident::parse)]
    pub roles: Vec<Ident>,
    /// The table of the tenants [default: what the tenant columns reference]
    #[arg(long, value_name = "SCHEMA.TABLE", value_parser = QName::parse)]
    pub registry: Option<QName>,
    /// Findings that are accepted, each with a reason and a day on which that ends
    #[arg(long, value_name = "FILE")]
    pub waivers: Option<PathBuf>,
}

//! The options of `init`, as clap reads them.

use std::path::PathBuf;

use clap::Args;

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// From the catalogue of the database that is connected to; it is only read
    #[arg(long, required = true)]
    pub from_db: bool,
    /// The table of the tenants; proposed with reasons where it is left out
    #[arg(long, value_name = "TABLE")]
    pub tenant_table: Option<String>,
    /// No table has the tenants yet: the plan makes this one, and every row that is there belongs to its first tenant
    #[arg(long, value_name = "TABLE", conflicts_with = "tenant_table")]
    pub new_registry: Option<String>,
    /// The key of the tenant to whom the rows belong from which no way leads to the tenants' table; every row, where none does
    #[arg(long, value_name = "KEY")]
    pub tenant_value: Option<String>,
    /// Write the plan here instead of to standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Only tables of this schema; may be given several times
    #[arg(long, value_name = "NAME")]
    pub schema: Vec<String>,
    /// The column for the tenant; tenant_id, or the one that the tables have already
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// The setting by which the application names the tenant [default: app.tenant_id]
    #[arg(long, value_name = "NAME")]
    pub setting: Option<String>,
    /// The plan's name; the database's where it is left out
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

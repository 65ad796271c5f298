//! One table whose rows belong to tenants, and as whom it is looked at.

use serde::{Deserialize, Serialize};

use super::Context;
use crate::sql::{Ident, QName};

/// What is known of a protected table before it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub table: QName,
    /// The column that carries the tenant.
    pub column: Ident,
    /// The setting by which the application names the tenant.
    pub setting: String,
    /// The application's runtime roles.
    pub roles: Vec<Ident>,
    /// Roles that see every tenant's rows: what a tenant has is counted as one of them, where the migrating role may not see it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<Ident>,
    /// Where tenants are found that a table's own rows do not tell: a table and its key.
    pub registry: (QName, Ident),
    /// Whether the owner must be bound too.
    pub force: bool,
    /// Whether a session without a tenant is refused with 42501, and not only shown nothing.
    #[serde(default)]
    pub strict: bool,
    /// The tenant that a session is which has not said one, while old applications still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Whether its policies have conditions beyond the tenant, which may hide a tenant's own rows.
    #[serde(default)]
    pub extra: bool,
}

impl Spec {
    /// Whether a session in this context is `tenant` because it has not said one.
    pub fn falls_to(&self, context: Context, tenant: &str) -> bool {
        let unset = match context {
            Context::None | Context::Empty => true,
            Context::Garbage | Context::Phantom | Context::Real => false,
        };
        // One uuid is written in several ways.
        let same = |fallback: &String| match (uuid::Uuid::parse_str(fallback), uuid::Uuid::parse_str(tenant)) {
            (Ok(a), Ok(b)) => a == b,
            (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => fallback == tenant,
        };
        unset && self.fallback.as_ref().is_some_and(same)
    }
}

//! The section [fallback]: who still goes on as the tenant of `[tenancy] fallback`, noted and waited for before that ends.

use serde::{Deserialize, Serialize};

use super::types::Millis;
use crate::sql::QName;

/// What the phase `fallback`, in front of `strict`, waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// For so long nobody may have fallen back; with "0s" nobody is noted and nothing waited for.
    pub quiet_for: Millis,
    /// How long that is waited for before the run pauses.
    pub quiet_wait: Millis,
    /// The table of the notes; beside the registry where it is left out.
    pub log: Option<QName>,
}

impl Default for Fallback {
    fn default() -> Self {
        // A session that is in use says something in ten minutes; the last old release is often replaced over night.
        Self { quiet_for: Millis(600_000), quiet_wait: Millis(24 * 3_600_000), log: None }
    }
}

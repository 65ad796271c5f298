//! The section [shadow]: a phase between `constrain` and `enforce` that hides nothing and notes what enforcement would change.

use serde::{Deserialize, Serialize};

use super::types::Millis;
use crate::sql::QName;

/// What that phase waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// For so long nothing may have been noted before the tables are enforced.
    pub r#for: Millis,
    /// How long that is waited for before the run pauses.
    #[serde(default = "a_day")]
    pub wait: Millis,
    /// The table of the notes; beside the registry where it is left out.
    pub log: Option<QName>,
    /// Whether reads with a tenant that met rows of others count as well.
    #[serde(default)]
    pub others: bool,
}

/// As long as the old application is waited for in [capture]: its last release is often replaced over night.
fn a_day() -> Millis {
    Millis(24 * 3_600_000)
}

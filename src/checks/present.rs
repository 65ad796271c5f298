//! The given tables, indexes and policies are there.
//!
//! Reads the catalogue only. An index is there when it is valid.

pub mod objects;

use objects::{Objects, Policy};
use serde::Deserialize;

use super::{CheckKind, Gate};
use crate::{plan::Site, sql::QName};

/// A check of the kind `present`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Present {
    #[serde(default)]
    pub tables: Vec<QName>,
    #[serde(default)]
    pub indexes: Vec<QName>,
    #[serde(default)]
    pub policies: Vec<Policy>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind   = "present"
tables  = ["app.trades"]
indexes = ["app.trades_pkey"]
"#;

impl CheckKind for Present {
    fn check(&mut self, site: &mut Site<'_>) {
        self.objects().check(site);
    }

    fn lower(&self) -> Gate {
        self.objects().gate(true)
    }
}

impl Present {
    fn objects(&self) -> Objects<'_> {
        Objects { tables: &self.tables, indexes: &self.indexes, policies: &self.policies }
    }
}

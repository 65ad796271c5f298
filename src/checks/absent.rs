//! The given tables, indexes and policies are gone.
//!
//! Reads the catalogue only. Of an index not even a wreck may be left.

use serde::Deserialize;

use super::{
    CheckKind, Gate,
    present::objects::{Objects, Policy},
};
use crate::{plan::Site, sql::QName};

/// A check of the kind `absent`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    #[serde(default)]
    pub tables: Vec<QName>,
    #[serde(default)]
    pub indexes: Vec<QName>,
    #[serde(default)]
    pub policies: Vec<Policy>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind   = "absent"
tables   = ["app.gone"]
policies = [{ table = "app.trades", name = "gone" }]
"#;

impl CheckKind for Absent {
    fn check(&mut self, site: &mut Site<'_>) {
        self.objects().check(site);
    }

    fn lower(&self) -> Gate {
        self.objects().gate(false)
    }
}

impl Absent {
    fn objects(&self) -> Objects<'_> {
        Objects { tables: &self.tables, indexes: &self.indexes, policies: &self.policies }
    }
}

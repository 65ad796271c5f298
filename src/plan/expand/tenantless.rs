//! One `[[shared]]`: a table that belongs to no tenant.

use std::ops::Range;

use serde::Deserialize;
use toml::{Spanned, de::Deserializer};

use crate::{
    diag::{Diag, Diags},
    plan::section::{self, Table},
    sql::QName,
};

/// A table that every tenant reads, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    pub name: QName,
    pub reason: String,
    /// Of the name.
    pub named: Range<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: Spanned<QName>,
    reason: Spanned<String>,
}

/// Reads one.
pub fn shared(table: Table<'_>, diags: &mut Diags) -> Option<Shared> {
    let form = section::read(table, diags, |t| Form::deserialize(Deserializer::from(t)))?;
    if form.reason.get_ref().trim().is_empty() {
        diags.push(
            Diag::error(
                "TM0394",
                form.reason.span(),
                format!("nothing says why {} belongs to no tenant", form.name.get_ref()),
            )
            .help("write why, for whoever reads the plan: reason = \"a lookup table, the same for everybody\""),
        );
    }
    Some(Shared { named: form.name.span(), name: form.name.into_inner(), reason: form.reason.into_inner() })
}

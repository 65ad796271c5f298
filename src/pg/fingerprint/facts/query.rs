//! What a query of the catalogue fingerprint looks like.

/// A query that returns finished lines.
///
/// All follow one pattern: a sub-select that names each object (`head`), and a lateral VALUES list of `(property, value)`
/// pairs; a NULL value yields no line
/// (`format('%I', NULL)` raises an error, so what may be NULL goes through `quote_ident`). `$1` is the array of the OIDs of the schemas in scope.
#[derive(Debug)]
pub(crate) struct Facts {
    /// What it reads, for error messages.
    pub about: &'static str,
    /// The first `server_version_num` whose catalogue has the columns it names.
    pub since: i32,
    /// One text column: the lines.
    pub sql: &'static str,
}

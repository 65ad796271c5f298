//! What can go wrong while a fingerprint is taken.

use tokio_postgres::error::SqlState;

/// A fingerprint could not be taken. A table whose rows may not be read is not an error but a fact of its own
/// ([`super::TableData::Unreadable`]), so that one protected table does not hide the other two thousand.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// A statement of the fingerprint failed.
    #[error(
        "cannot fingerprint {what}: {}; when another session is changing the schema, take the fingerprint again after it",
        message(.source)
    )]
    Query {
        /// What was being read, in words: "the snapshot", "columns", `rows of "app"."users"`.
        what: String,
        /// The driver's error, which carries the SQLSTATE.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl FingerprintError {
    pub(super) fn query(what: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let what = what.into();
        move |source| Self::Query { what, source }
    }

    /// The SQLSTATE when the server answered, `None` when the connection failed.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Query { source, .. } => source.code(),
        }
    }
}

/// The server's own words and SQLSTATE, which the driver's Display reduces to "db error".
pub(super) fn message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => error.to_string(),
    }
}

//! What the server or the connection said when a statement failed, sorted by what can be done about it.
//!
//! Source: PostgreSQL documentation, appendix A "Error Codes"; connection losses as tokio-postgres reports them.

use tokio_postgres::error::SqlState;

/// What can be done about a fault. Retries are decided by this and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Trying again later may help: a lock not had, a deadlock, a serialisation failure, no connection free.
    Transient,
    /// The connection is gone. What was under way may have happened or not: ask, never assume.
    Ambiguous,
    /// The role may not do this.
    Privilege,
    /// The statement ran into its deadline, or was cancelled.
    Cancelled,
    /// The disk or the memory of the server is full.
    Resources,
    /// The same statement will fail again.
    Fatal,
}

/// PgBouncer's words: nothing came free in time, `max_client_conn` is reached, the server refused it a moment ago.
const NO_CONNECTION_FREE: [&str; 3] = ["query_wait_timeout", "no more connections", "server_login_retry"];

/// A failed statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Fault {
    pub class: Class,
    pub sqlstate: Option<String>,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The statement that failed, where one of several was run.
    pub statement: Option<String>,
}

impl Fault {
    /// A fault that no server reported.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, sqlstate: None, message: message.into(), detail: None, hint: None, statement: None }
    }

    /// With the statement that failed.
    pub fn in_statement(mut self, statement: &str) -> Self {
        self.statement = Some(statement.to_owned());
        self
    }

    /// Whether the server gave this code.
    pub fn is(&self, state: &SqlState) -> bool {
        self.sqlstate.as_deref() == Some(state.code())
    }

    /// Whether a table or column that the statement names is not there.
    pub fn is_missing(&self) -> bool {
        self.is(&SqlState::UNDEFINED_TABLE) || self.is(&SqlState::UNDEFINED_COLUMN)
    }

    /// Whether a disk of the server's was full.
    pub fn is_disk_full(&self) -> bool {
        self.is(&SqlState::DISK_FULL)
    }

    /// Whether a pooler had no server connection to give. PgBouncer says nearly everything with 08P01, in English.
    pub fn is_pool_exhausted(&self) -> bool {
        self.is(&SqlState::PROTOCOL_VIOLATION) && NO_CONNECTION_FREE.iter().any(|part| self.message.contains(part))
    }

    fn text(&self) -> String {
        let state = self.sqlstate.as_ref().map_or(String::new(), |s| format!(" ({s})"));
        let detail = self.detail.as_ref().map_or(String::new(), |d| format!("; {d}"));
        format!("{}{detail}{state}", self.message)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            let class = if lost(&error) { Class::Ambiguous } else { Class::Fatal };
            return Self::new(class, chain(&error));
        };
        Self {
            class: class(db.code()),
            sqlstate: Some(db.code().code().to_owned()),
            message: db.message().to_owned(),
            detail: db.detail().map(str::to_owned),
            hint: db.hint().map(str::to_owned),
            statement: None,
        }
    }
}

fn lost(error: &tokio_postgres::Error) -> bool {
    let io = std::error::Error::source(error).is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some());
    error.is_closed() || io
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let part = inner.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = inner.source();
    }
    text
}

/// The class of an SQLSTATE.
fn class(state: &SqlState) -> Class {
    const TRANSIENT: [&SqlState; 5] = [
        &SqlState::LOCK_NOT_AVAILABLE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::TOO_MANY_CONNECTIONS,
        &SqlState::CANNOT_CONNECT_NOW,
    ];
    if TRANSIENT.contains(&state) {
        return Class::Transient;
    }
    if *state == SqlState::QUERY_CANCELED {
        return Class::Cancelled;
    }
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        return Class::Privilege;
    }
    match state.code().get(..2) {
        Some("08") => Class::Ambiguous,
        Some("57") => Class::Ambiguous, // admin shutdown, crash shutdown: the session is gone
        // idle_in_transaction_session_timeout, transaction_timeout: likewise
        Some("25") if ["25P03", "25P04"].contains(&state.code()) => Class::Ambiguous,
        Some("53") => Class::Resources,
        Some(_) | None => Class::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_can_be_done() {
        let check = |code: &str, want: Class| assert_eq!(class(&SqlState::from_code(code)), want, "{code}");
        check("55P03", Class::Transient);
        check("40P01", Class::Transient);
        check("57014", Class::Cancelled);
        check("57P01", Class::Ambiguous);
        check("08006", Class::Ambiguous);
        check("25P03", Class::Ambiguous);
        check("25P02", Class::Fatal);
        check("42501", Class::Privilege);
        check("53100", Class::Resources);
        check("23505", Class::Fatal);
    }
}

//! What the database said to one question.

use serde::Serialize;

/// The server's answer to a statement of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// So many rows were seen, inserted, changed or deleted; of them so many of another tenant than the context's.
    Rows { rows: i64, foreign: i64 },
    /// No row in the part of a large table that was read.
    Glance(String),
    /// An error.
    Refused(Refusal),
    /// It was not asked, and why: there is nothing to try it on, or it does not apply.
    Unasked(String),
    /// It was to be asked and could not be.
    Unmeasured(String),
}

/// An error of the server's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub sqlstate: String,
    pub message: String,
    /// Whether a domain spoke, of the value alone: a class 23 error too, and before any policy is asked.
    #[serde(skip)]
    pub of_a_domain: bool,
}

impl Answer {
    /// Rows, none of them another tenant's.
    pub fn rows(rows: i64) -> Self {
        Self::Rows { rows, foreign: 0 }
    }

    /// An error with this code.
    pub fn refused(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::Refused(Refusal { sqlstate: sqlstate.to_owned(), message: message.into(), of_a_domain: false })
    }
}

impl Refusal {
    /// As people are told.
    pub fn told(&self) -> String {
        format!("{} ({})", self.message, self.sqlstate)
    }

    /// What the context raised: it is not set, or no value of its type.
    pub fn is_noise(&self) -> bool {
        self.of_a_domain || self.sqlstate == "42704" || self.sqlstate.starts_with("22")
    }

    /// A constraint or an index spoke, and so the row had passed the policies, which are asked before.
    pub fn is_past_the_policies(&self) -> bool {
        !self.of_a_domain && self.sqlstate.starts_with("23")
    }

    /// Denied.
    pub fn is_denied(&self) -> bool {
        self.sqlstate == "42501"
    }
}

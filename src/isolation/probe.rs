//! The probes, by number.

use serde::{Serialize, Serializer};

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    Role,
    NoContext,
    EmptyContext,
    Garbage,
    Phantom,
    RealTenant,
    Plant,
    Move,
    BlindWrite,
    Owner,
    Prepared,
    SwitchedOff,
    WaysAround,
    ForeignParent,
    Plan,
    Canary,
    SharedBackend,
    SessionSetting,
    Residue,
    StartupOption,
}

impl Probe {
    pub const ALL: [Self; 20] = [
        Self::Role,
        Self::NoContext,
        Self::EmptyContext,
        Self::Garbage,
        Self::Phantom,
        Self::RealTenant,
        Self::Plant,
        Self::Move,
        Self::BlindWrite,
        Self::Owner,
        Self::Prepared,
        Self::SwitchedOff,
        Self::WaysAround,
        Self::ForeignParent,
        Self::Plan,
        Self::Canary,
        Self::SharedBackend,
        Self::SessionSetting,
        Self::Residue,
        Self::StartupOption,
    ];

    /// `P4`; through a pooler `B2`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Role => "P0",
            Self::NoContext => "P1",
            Self::EmptyContext => "P2",
            Self::Garbage => "P3",
            Self::Phantom => "P4",
            Self::RealTenant => "P5",
            Self::Plant => "P6",
            Self::Move => "P7",
            Self::BlindWrite => "P8",
            Self::Owner => "P9",
            Self::Prepared => "P10",
            Self::SwitchedOff => "P11",
            Self::WaysAround => "P12",
            Self::ForeignParent => "P13",
            Self::Plan => "P14",
            Self::Canary => "B1",
            Self::SharedBackend => "B2",
            Self::SessionSetting => "B3",
            Self::Residue => "B4",
            Self::StartupOption => "B5",
        }
    }

    /// What is asked.
    pub fn title(self) -> &'static str {
        match self {
            Self::Role => "what the role is",
            Self::NoContext => "rows without a tenant",
            Self::EmptyContext => "rows with '' for a tenant",
            Self::Garbage => "rows with a value that is no tenant",
            Self::Phantom => "rows of a tenant that does not exist",
            Self::RealTenant => "rows of a real tenant",
            Self::Plant => "a row planted in another tenant",
            Self::Move => "a row moved into another tenant",
            Self::BlindWrite => "another tenant's row changed or deleted",
            Self::Owner => "rows as the owner, without a tenant",
            Self::Prepared => "a prepared statement after the tenant has changed",
            Self::SwitchedOff => "row_security = off",
            Self::WaysAround => "views, functions and partitions",
            Self::ForeignParent => "a row that points at another tenant's parent",
            Self::Plan => "how the server reads a tenant's rows",
            Self::Canary => "short connections without a tenant",
            Self::SharedBackend => "a backend that another client has used",
            Self::SessionSetting => "a tenant set for the session",
            Self::Residue => "what a session leaves behind",
            Self::StartupOption => "a tenant in the connection's options",
        }
    }

    /// What must come out.
    pub fn expectation(self) -> &'static str {
        match self {
            Self::Role => "no superuser, no BYPASSRLS, not the owner; row_security_active; no tenant set by default",
            Self::NoContext | Self::EmptyContext => "no row; in strict mode 42501",
            Self::Garbage => "no row, or 22P02",
            Self::Phantom | Self::Owner | Self::WaysAround => "no row",
            Self::RealTenant => "its rows, all of them and no others",
            Self::Plant | Self::Move => "42501",
            Self::BlindWrite => "0 rows",
            Self::Prepared => "its rows, then none, then none",
            Self::SwitchedOff => "an error",
            Self::ForeignParent => "23503",
            Self::Plan => "the tenant is computed once a query, and found by an index",
            Self::Canary => "never a tenant",
            Self::SharedBackend => "nothing of the other client's tenant",
            Self::SessionSetting => "the pooler takes it away",
            Self::Residue => "nothing",
            Self::StartupOption => "refused, or without effect",
        }
    }
}

impl Serialize for Probe {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}

//! One kind of hazard: its code, how bad it is, the query that finds it, why it matters and what helps.

use serde::Serialize;

use crate::sql::{Ident, Stmt};

/// How bad a hazard is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A tenant reads or changes another one's rows, by what the application does every day.
    Critical,
    /// The application, a job or the migration itself fails.
    Break,
    /// A tenant reads or changes another one's rows, by a way that must be looked for.
    High,
    /// Isolation holds, and costs more time than it need.
    Slow,
    /// It matters under a condition that the evidence names.
    Medium,
    /// Worth knowing.
    Low,
}

impl Severity {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Break => "break",
            Self::High => "high",
            Self::Slow => "slow",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Stable: `TM04xx`, never given to another kind.
    pub code: &'static str,
    pub severity: Severity,
    /// The kind in a few words, as a headline.
    pub title: &'static str,
    /// What goes wrong.
    pub why: &'static str,
    /// What helps, where the query's row has no statement for it.
    pub fix: &'static str,
    pub needs: Needs,
    pub query: Query,
}

/// What a query can only ask with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The catalogue, which every role reads.
    Catalog,
    /// What other sessions are doing: pg_read_all_stats.
    Activity,
    /// Which statements were run: the extension pg_stat_statements, and pg_read_all_stats.
    Statements,
}

/// A query of four columns: `object text` (what is meant, as DDL names it), `what text` (what is wrong with it), `evidence
/// text` (by what that is seen, or NULL), `fix text` (a statement that helps, or NULL: then the kind's words are told).
///
/// It reads only, under `search_path = pg_catalog`, so that names print qualified, and sees the scope as parameters:
///
/// | | | |
/// |---|---|---|
/// | `$1` | `oid[]` | the tables whose rows get a tenant, with their partitions and children |
/// | `$2` | `oid[]` | those of them that a backfill writes |
/// | `$3` | `oid[]` | those of them that rows are moved out of (quarantine) |
/// | `$4` | `oid[]` | the application's roles; 0, which is PUBLIC, where none is known |
/// | `$5` | `oid[]` | tables that the plan knows otherwise: shared ones, the registry, what it reads |
/// | `$6` | `text` | the tenant column, or NULL |
/// | `$7` | `text` | its type, or NULL |
/// | `$8` | `text` | the setting that carries the tenant, or NULL |
/// | `$9` | `jsonb` | ways to the tenant: `[{"table": "app.trades", "columns": ["user_id"]}]` |
/// | `$10` | `text` | the context function, qualified, or NULL |
/// | `$11` | `int8` | after so many milliseconds a transaction is old |
/// | `$12` | `jsonb` | what the plan deals with by itself: `[{"what": "unique_key", "table": "app.users", "columns": ["email"]}]` |
#[derive(Debug, Clone, Copy)]
pub enum Query {
    Text(&'static str),
    /// One that depends on the server.
    Built(fn(&Server) -> Stmt),
}

/// What a query depends on beyond its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As in `server_version_num`: 150018.
    pub version_num: u32,
    /// The schema of pg_stat_statements; where there is none, nobody asks a query that needs it.
    pub statements: Option<Ident>,
}

impl Kind {
    /// The query for this server.
    pub fn query(&self, server: &Server) -> Stmt {
        match self.query {
            Query::Text(text) => Stmt::raw(text),
            Query::Built(build) => build(server),
        }
    }
}

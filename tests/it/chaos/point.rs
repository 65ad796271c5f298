//! Where in a run a fault strikes: an event of the journal or a statement, and the moment of it.

use super::Way;

/// A statement that is no event's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    TakeLease,
    NewRun,
    Claim,
    Batch,
    /// CREATE INDEX CONCURRENTLY.
    Build,
    /// DROP INDEX CONCURRENTLY.
    Drop,
    /// A statement of the plan's own, outside a transaction.
    Outside,
    /// DDL inside the transaction of its event.
    Inside,
    Heartbeat,
    GiveLease,
}

impl Mark {
    /// Each with how many of its occurrences are struck: which are sure to come.
    pub fn all(way: Way) -> &'static [(Self, &'static [u32])] {
        match way {
            Way::Up => &[
                (Self::TakeLease, &[1]),
                (Self::NewRun, &[1]),
                (Self::Claim, &[1, 2]),
                (Self::Batch, &[1, 3, 6]),
                (Self::Build, &[1, 2]),
                (Self::Outside, &[1]),
                (Self::Inside, &[1, 4]),
                (Self::Heartbeat, &[1]),
                (Self::GiveLease, &[1]),
            ],
            Way::Down => &[
                (Self::TakeLease, &[1]),
                (Self::Drop, &[1, 2]),
                (Self::Outside, &[1]),
                (Self::Inside, &[1, 4]),
                (Self::Heartbeat, &[1]),
                (Self::GiveLease, &[1]),
            ],
        }
    }

    /// Whether a message of the client carries it.
    pub fn is(self, text: &str) -> bool {
        match self {
            Self::TakeLease => text.contains(".lease SET epoch = ") && text.contains("acquired_at = "),
            Self::NewRun => text.contains("INSERT INTO tenantmig.runs"),
            Self::Claim => text.contains("INSERT INTO tenantmig.backfill_ranges"),
            Self::Batch => text.contains("tenantmig_open AS MATERIALIZED"),
            Self::Build => text.starts_with("CREATE") && text.contains("INDEX CONCURRENTLY"),
            Self::Drop => text.starts_with("DROP INDEX CONCURRENTLY"),
            Self::Outside => text.contains("VIEW app.volume AS") || text.contains("VIEW IF EXISTS app.volume"),
            Self::Inside => text.starts_with("ALTER TABLE"),
            Self::Heartbeat => text.contains(".lease SET heartbeat_at = clock_timestamp()"),
            Self::GiveLease => text.contains(".lease SET holder = NULL"),
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::TakeLease => "take the lease",
            Self::NewRun => "record the run",
            Self::Claim => "claim of a range",
            Self::Batch => "batch",
            Self::Build => "CREATE INDEX CONCURRENTLY",
            Self::Drop => "DROP INDEX CONCURRENTLY",
            Self::Outside => "statement outside a transaction",
            Self::Inside => "DDL in its transaction",
            Self::Heartbeat => "heartbeat",
            Self::GiveLease => "give the lease back",
        }
    }
}

/// What is struck.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Its kind, and its unit or gate.
    Event { kind: String, what: String },
    /// The n-th statement of this mark.
    Statement(Mark, u32),
    /// The n-th event from now on, whichever it is.
    Some(u32),
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// The event's INSERT has not reached the server.
    Unwritten,
    /// It is written; the COMMIT has not reached the server.
    Uncommitted,
    /// It is committed; the answer has not reached us.
    Unacknowledged,
    /// We know that it is committed, and the next message has not reached the server.
    Acknowledged,
    /// The statement has not reached the server.
    Unsent,
    /// The server is at it.
    UnderWay,
    /// It is done; the answer has not reached us.
    Unanswered,
}

impl Moment {
    pub const OF_EVENTS: [Self; 4] = [Self::Unwritten, Self::Uncommitted, Self::Unacknowledged, Self::Acknowledged];
    pub const OF_STATEMENTS: [Self; 3] = [Self::Unsent, Self::UnderWay, Self::Unanswered];

    pub fn words(self) -> &'static str {
        match self {
            Self::Unwritten => "before its INSERT",
            Self::Uncommitted => "before its COMMIT",
            Self::Unacknowledged => "committed, not acknowledged",
            Self::Acknowledged => "acknowledged",
            Self::Unsent => "not yet sent",
            Self::UnderWay => "under way",
            Self::Unanswered => "done, not answered",
        }
    }
}

/// A place in a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    pub subject: Subject,
    pub moment: Moment,
}

impl Point {
    /// The row of the table.
    pub fn row(&self) -> String {
        let what = match &self.subject {
            Subject::Event { kind, .. } => kind.replace('_', " "),
            Subject::Statement(mark, _) => mark.words().to_owned(),
            Subject::Some(_) => "some event".to_owned(),
        };
        format!("{what}: {}", self.moment.words())
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subject {
            Subject::Event { kind, what } => write!(f, "{kind} {what}, {}", self.moment.words()),
            Subject::Statement(mark, nth) => write!(f, "{} {nth}, {}", mark.words(), self.moment.words()),
            Subject::Some(nth) => write!(f, "event {nth} from then, {}", self.moment.words()),
        }
    }
}

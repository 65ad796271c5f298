//! Who is measured.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A way to fill the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contestant {
    /// One UPDATE of the whole table: what the others are compared with.
    Big,
    /// CREATE TABLE AS with indexes: the limit of a rewrite.
    Ctas,
    /// A migration of Alembic with the usual loop.
    Alembic,
    /// A loop by hand, along the key.
    Psql,
    /// This program.
    Tenantmig {
        workers: u8,
        /// With the triggers that keep new and moved rows in step.
        capture: bool,
    },
}

impl Contestant {
    /// In the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Big,
        Self::Ctas,
        Self::Alembic,
        Self::Psql,
        Self::Tenantmig { workers: 1, capture: false },
        Self::Tenantmig { workers: 2, capture: false },
        Self::Tenantmig { workers: 1, capture: true },
        Self::Tenantmig { workers: 2, capture: true },
    ];

    /// Those that are tried under traffic: the rewrite takes no live writes, Alembic's loop is like psql's, and the triggers do
    /// not fire there.
    pub fn meets_traffic(self) -> bool {
        match self {
            Self::Big | Self::Psql | Self::Tenantmig { capture: false, .. } => true,
            Self::Ctas | Self::Alembic | Self::Tenantmig { capture: true, .. } => false,
        }
    }

    /// In words, for the picture.
    pub fn title(self) -> String {
        match self {
            Self::Big => "one big UPDATE".to_owned(),
            Self::Ctas => "CREATE TABLE AS".to_owned(),
            Self::Alembic => "Alembic, LIMIT 1,000".to_owned(),
            Self::Psql => "psql loop, 1,000 keys".to_owned(),
            Self::Tenantmig { workers: 1, .. } => "tenantmig, 1 worker".to_owned(),
            Self::Tenantmig { workers, .. } => format!("tenantmig, {workers} workers"),
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Big => f.write_str("big"),
            Self::Ctas => f.write_str("ctas"),
            Self::Alembic => f.write_str("alembic"),
            Self::Psql => f.write_str("psql"),
            Self::Tenantmig { workers, capture: false } => write!(f, "tenantmig-{workers}"),
            Self::Tenantmig { workers, capture: true } => write!(f, "tenantmig-{workers}-capture"),
        }
    }
}

impl FromStr for Contestant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|c| c.to_string() == text).ok_or_else(|| {
            format!("none of {}", Self::ALL.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        })
    }
}

impl Serialize for Contestant {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Contestant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

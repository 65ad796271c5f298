//! How it is known how much of the server's disk is free: the section `[disk]`.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::{bytes::Bytes, limits::Place};
use crate::diag::{Diag, Diags};

/// Where to ask, and what is to stay free. With neither a command nor a limit the free space is unknown, and nothing is guessed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// A program that prints how many bytes are free.
    pub free: Option<FreeCommand>,
    /// The most that each tablespace may hold.
    pub limit: Option<Bytes>,
    /// The same of single tablespaces, by name.
    pub limits: BTreeMap<String, Bytes>,
    /// What no step may use up.
    pub reserve: Reserve,
    /// The place of the WAL, as the command knows it: a tablespace's name where it shares that disk. Left out, WAL is shown
    /// and not counted.
    pub wal: Option<String>,
}

/// A program with its arguments, run without a shell on the host of tenantmig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreeCommand {
    /// `{tablespace}` in an argument is replaced by the tablespace's name.
    pub command: Vec<String>,
}

/// Bytes that stay free, or a share: of the limit where there is one, else of what is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    Percent(u8),
    Bytes(Bytes),
}

impl Default for Reserve {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl Reserve {
    /// The bytes of `whole`.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            // Divided first: a product may not fit.
            Self::Percent(percent) => whole / 100 * u64::from(percent),
            Self::Bytes(bytes) => bytes.0,
        }
    }
}

impl fmt::Display for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

impl std::str::FromStr for Reserve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a share nor an amount of bytes; write it like \"10%\" or \"5GB\"");
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent) if percent < 100 => Ok(Self::Percent(percent)),
                Ok(_) | Err(_) => Err(format!("`{text}` is not a share from 0% to 99%")),
            },
            None => text.parse().map(Self::Bytes).map_err(|_: String| wrong()),
        }
    }
}

impl Serialize for Reserve {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Percent(percent) => to.collect_str(&format_args!("{percent}%")),
            Self::Bytes(bytes) => bytes.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Reserve {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Share;
        impl Visitor<'_> for Share {
            type Value = Reserve;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as \"10%\" or an amount such as \"5GB\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Reserve, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Share)
    }
}

impl Disk {
    /// The most that this tablespace may hold, where the plan says it.
    pub fn limit_of(&self, tablespace: &str) -> Option<Bytes> {
        self.limits.get(tablespace).copied().or(self.limit)
    }

    /// Whether it is known how to find out what is free there.
    pub fn tells(&self, tablespace: &str) -> bool {
        self.free.is_some() || self.limit_of(tablespace).is_some()
    }
}

pub(super) fn check_disk(disk: &Disk, place: Place<'_>, diags: &mut Diags) {
    let at = |key: &str| -> Range<usize> { place("disk", key) };
    let mut refuse =
        |key: &str, what: &str, help: &str| diags.push(Diag::error("TM0103", at(key), what.to_owned()).help(help));
    if disk.free.as_ref().is_some_and(|free| free.command.first().is_none_or(|program| program.trim().is_empty())) {
        let help = "write the program and its arguments: free = { command = [\"df-on-db-host.sh\", \"{tablespace}\"] }";
        refuse("free", "`command` names no program", help);
    }
    let help = "write the most that a tablespace may hold, such as \"200GB\", or leave it out";
    if disk.limit == Some(Bytes(0)) {
        refuse("limit", "`limit` = 0 would let nothing be built", help);
    }
    if let Some((name, _)) = disk.limits.iter().find(|(_, bytes)| bytes.0 == 0) {
        refuse("limits", &format!("a limit of 0 for `{name}` would let nothing be built"), help);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_a_share_or_bytes() {
        let check = |text: &str, of_a_million: Option<u64>| {
            assert_eq!(text.parse::<Reserve>().ok().map(|reserve| reserve.of(1_000_000)), of_a_million, "{text}");
        };
        check("10%", Some(100_000));
        check("0%", Some(0));
        check("5kB", Some(5_000));
        check("100%", None);
        check("-1%", None);
        check("ten", None);
        for reserve in [Reserve::Percent(7), Reserve::Bytes(Bytes(1234))] {
            let kept = serde_json::to_string(&reserve).unwrap();
            assert_eq!(serde_json::from_str::<Reserve>(&kept).unwrap(), reserve);
        }
    }

    #[test]
    fn a_named_limit_goes_before_the_general_one() {
        let disk =
            Disk { limit: Some(Bytes(5)), limits: BTreeMap::from([("fast".to_owned(), Bytes(3))]), ..Disk::default() };
        assert_eq!((disk.limit_of("fast"), disk.limit_of("slow")), (Some(Bytes(3)), Some(Bytes(5))));
        assert!(!Disk::default().tells("fast"));
    }
}

//! What is needed where, what is free there, and whether that is enough.

use std::{collections::BTreeMap, fmt};

use crate::plan::{Bytes, Disk};

/// About what a step adds, by tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Need {
    pub places: BTreeMap<String, Place>,
    /// Written to the WAL in all. Checkpoints recycle it, so not all of it is there at once.
    pub wal: u64,
    /// What had to be assumed.
    pub assumed: Vec<String>,
}

/// What one tablespace is to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub heap: u64,
    pub index: u64,
    /// Sort files, gone at the step's end.
    pub sort: u64,
}

/// What is free in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Free {
    /// So much; of a limit, where there is one.
    Bytes { free: u64, limit: Option<u64> },
    /// Nothing says how to find out.
    Untold,
    /// It could not be found out, and why.
    Unknown(String),
}

/// Too little room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage {
    Little { place: String, need: u64, free: u64, reserve: u64 },
    Unknown { place: String, need: u64, why: String },
}

impl Place {
    pub fn bytes(&self) -> u64 {
        self.heap.saturating_add(self.index).saturating_add(self.sort)
    }
}

impl Need {
    /// Changes what a tablespace is to take.
    pub fn add(&mut self, tablespace: &str, change: impl FnOnce(&mut Place)) {
        change(self.places.entry(tablespace.to_owned()).or_default());
    }

    /// Lays another step's need over this: what stays adds up, and of the sort files the largest counts.
    pub fn then(&mut self, next: &Self) {
        for (tablespace, step) in &next.places {
            self.add(tablespace, |place| {
                place.heap = place.heap.saturating_add(step.heap);
                place.index = place.index.saturating_add(step.index);
                place.sort = place.sort.max(step.sort);
            });
        }
        self.wal = self.wal.saturating_add(next.wal);
        for text in next.assumed.iter().filter(|text| !self.assumed.contains(text)).cloned().collect::<Vec<_>>() {
            self.assumed.push(text);
        }
    }

    /// What each place must have free. `wal_max`: how much WAL the server keeps (`max_wal_size`).
    pub fn by_place(&self, disk: &Disk, wal_max: u64) -> BTreeMap<String, u64> {
        let mut out: BTreeMap<String, u64> =
            self.places.iter().map(|(name, place)| (name.clone(), place.bytes())).collect();
        out.retain(|_, bytes| *bytes > 0);
        if let Some(name) = disk.wal.as_ref().filter(|_| self.wal > 0) {
            let bytes = out.entry(name.clone()).or_default();
            *bytes = bytes.saturating_add(self.wal.min(wal_max));
        }
        out
    }
}

/// The first place that has too little. What nothing tells of is passed over; what should be known and is not counts as too
/// little, for the plan relies on it.
pub fn shortage(need: &BTreeMap<String, u64>, free: &BTreeMap<String, Free>, disk: &Disk) -> Option<Shortage> {
    need.iter().find_map(|(place, &need)| match free.get(place)? {
        Free::Untold => None,
        Free::Unknown(why) => Some(Shortage::Unknown { place: place.clone(), need, why: why.clone() }),
        &Free::Bytes { free, limit } => {
            let reserve = disk.reserve.of(limit.unwrap_or(free));
            (need > free.saturating_sub(reserve)).then(|| Shortage::Little {
                place: place.clone(),
                need,
                free,
                reserve,
            })
        }
    })
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Little { place, need, free, reserve } => {
                let (need, free, reserve) = (Bytes(*need), Bytes(*free), Bytes(*reserve));
                write!(f, "needs about {need} in tablespace {place}, free {free}, reserve {reserve}")
            }
            Self::Unknown { place, need, why } => {
                write!(
                    f,
                    "needs about {} in tablespace {place}, and what is free there cannot be told: {why}",
                    Bytes(*need)
                )
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::Reserve;

    fn places<T: Clone>(of: &[(&str, T)]) -> BTreeMap<String, T> {
        of.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn the_reserve_stays_free() {
        let check = |reserve: Reserve, free: Free, need: u64, enough: bool| {
            let disk = Disk { reserve, ..Disk::default() };
            let short = shortage(&places(&[("a", need)]), &places(&[("a", free.clone())]), &disk);
            assert_eq!(short.is_none(), enough, "{need} of {free:?} with {reserve}: {short:?}");
        };
        let (tenth, ten) = (Reserve::Percent(10), Reserve::Bytes(Bytes(10)));
        let (asked, limited) = (Free::Bytes { free: 100, limit: None }, Free::Bytes { free: 100, limit: Some(500) });
        check(tenth, asked.clone(), 90, true);
        check(tenth, asked.clone(), 91, false);
        check(ten, asked.clone(), 90, true);
        check(ten, asked, 91, false);
        check(tenth, limited.clone(), 50, true);
        check(tenth, limited, 51, false);
        check(tenth, Free::Untold, u64::MAX, true);
        check(tenth, Free::Unknown("no answer".to_owned()), 1, false);
        check(Reserve::Bytes(Bytes(1000)), Free::Bytes { free: 100, limit: None }, 1, false);
    }

    #[test]
    fn steps_add_up_but_for_their_sort_files() {
        let mut all = Need::default();
        for sort in [5, 9, 7] {
            let mut step = Need { wal: 10, ..Need::default() };
            step.add("a", |place| *place = Place { heap: 1, index: 2, sort });
            all.then(&step);
        }
        assert_eq!(all.places["a"], Place { heap: 3, index: 6, sort: 9 });
        let disk = |wal: &str| Disk { wal: Some(wal.to_owned()), ..Disk::default() };
        assert_eq!(all.by_place(&Disk::default(), 20), places(&[("a", 18)]));
        assert_eq!(all.by_place(&disk("a"), 20), places(&[("a", 38)]));
        assert_eq!(all.by_place(&disk("pg_wal"), 100), places(&[("a", 18), ("pg_wal", 30)]));
    }
}

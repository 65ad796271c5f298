//! Whether the ranges of a backfill cover its heaps: computed from the ranges themselves, without trust in what wrote them.

use std::collections::BTreeMap;

use super::{
    facts::RangeRow,
    model::{HeapWalked, Walk},
};
use crate::engine::ranges::Heap;

/// The walks of one unit. `last` is the one begun last, with the ends of its heaps.
pub(super) fn walks(ranges: &[&RangeRow], last: Option<&(u32, Vec<Heap>)>) -> Vec<Walk> {
    let mut by_sweep: BTreeMap<u32, Vec<&RangeRow>> = BTreeMap::new();
    if let Some((sweep, _)) = last {
        by_sweep.insert(*sweep, Vec::new());
    }
    for row in ranges {
        by_sweep.entry(row.range.sweep).or_default().push(row);
    }
    let walk = |(sweep, mut rows): (u32, Vec<&RangeRow>)| {
        rows.sort_by_key(|row| row.range.number);
        let numbered = rows.iter().zip(1u32..).all(|(row, number)| row.range.number == number);
        let ends = last.filter(|(of, _)| *of == sweep).map(|(_, heaps)| heaps.as_slice());
        Walk { sweep, numbered, heaps: heaps(&rows, ends) }
    };
    by_sweep.into_iter().map(walk).collect()
}

/// The heaps of a walk: those whose ends are known in their order, then others that have ranges.
fn heaps(rows: &[&RangeRow], ends: Option<&[Heap]>) -> Vec<HeapWalked> {
    let mut names: Vec<(String, Option<u64>)> =
        ends.unwrap_or_default().iter().map(|heap| (heap.name.clone(), Some(heap.end))).collect();
    for row in rows {
        if !names.iter().any(|(name, _)| *name == row.range.heap) {
            names.push((row.range.heap.clone(), None));
        }
    }
    let heap = |(name, end): (String, Option<u64>)| {
        let own: Vec<&RangeRow> = rows.iter().copied().filter(|row| row.range.heap == name).collect();
        walked(name, end, &own)
    };
    names.into_iter().map(heap).collect()
}

/// One heap: what lies between the ranges, in the order of their blocks, and before and behind them.
fn walked(heap: String, end: Option<u64>, rows: &[&RangeRow]) -> HeapWalked {
    let mut sorted: Vec<(u64, u64)> = rows.iter().map(|row| (row.range.lo, row.range.hi)).collect();
    sorted.sort_unstable();
    let (mut reached, mut gaps, mut overlaps) = (0, Vec::new(), Vec::new());
    for (lo, hi) in sorted {
        if lo > reached {
            gaps.push((reached, lo));
        } else if lo < reached {
            overlaps.push((lo, hi.min(reached)));
        }
        reached = reached.max(hi);
    }
    if let Some(end) = end.filter(|end| reached < *end) {
        gaps.push((reached, end));
    }
    HeapWalked {
        heap,
        end,
        reached,
        ranges: rows.len(),
        batches: rows.iter().map(|row| u64::from(row.range.stripes_done)).sum(),
        rows: rows.iter().map(|row| row.rows).sum(),
        gaps,
        overlaps,
        unfinished: rows.iter().filter(|row| row.range.stripes_done < row.range.stripes).count(),
    }
}

impl HeapWalked {
    /// Every block up to the end, once.
    pub fn holds(&self) -> bool {
        self.gaps.is_empty() && self.overlaps.is_empty() && self.unfinished == 0
    }
}

impl Walk {
    /// Every heap, and no range was lost from among the others.
    pub fn holds(&self) -> bool {
        self.numbered && self.heaps.iter().all(HeapWalked::holds)
    }
}

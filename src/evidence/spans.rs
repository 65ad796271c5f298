//! How long each deed and each undo took, out of the log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    facts::Logged,
    model::{Span, SpanEnd, Wait},
};
use crate::{engine::Event, unit::UnitId};

/// The spans of each unit in their order. One without an outcome ends where the unit is begun again, or now.
pub(super) fn spans(log: &[Logged], now: DateTime<Utc>) -> BTreeMap<UnitId, Vec<Span>> {
    let mut all: BTreeMap<UnitId, Vec<Span>> = BTreeMap::new();
    for Logged { event, at, number, .. } in log {
        let Some(unit) = event.unit() else { continue };
        let spans = all.entry(unit.clone()).or_default();
        let end = if matches!(event, Event::Succeeded { .. } | Event::Undone { .. }) {
            SpanEnd::Done
        } else if matches!(event, Event::Failed { .. } | Event::UndoFailed { .. }) {
            SpanEnd::Failed
        } else if matches!(event, Event::Started { .. } | Event::UndoStarted { .. }) {
            SpanEnd::Stopped
        } else {
            continue;
        };
        if let Some(open) = spans.last_mut().filter(|span| span.end == SpanEnd::Open) {
            (open.to, open.end) = (*at, end);
        }
        if end == SpanEnd::Stopped {
            let undo = matches!(event, Event::UndoStarted { .. });
            spans.push(Span { undo, from: *at, to: now.max(*at), end: SpanEnd::Open, first_event: *number });
        }
    }
    all
}

/// The times in which backfills stood still for a signal or an operator.
pub(super) fn waits(log: &[Logged]) -> Vec<Wait> {
    let mut all: Vec<Wait> = Vec::new();
    for Logged { event, at, .. } in log {
        if let Event::Throttled { unit, signal, why } = event {
            all.push(Wait { unit: unit.0.clone(), signal: signal.clone(), why: why.clone(), from: *at, to: None });
        } else if let Some(unit) = event.unit() {
            // Also a unit that ended, or was begun again, in the middle of a wait.
            let open = all.iter_mut().rev().find(|wait| wait.to.is_none() && wait.unit == unit.0);
            if let Some(wait) = open {
                wait.to = Some(*at);
            }
        }
    }
    all
}

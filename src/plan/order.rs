//! Puts the phases in the order in which they run: as they are written, but for `after`.

use std::{collections::BTreeMap, ops::Range};

use toml::Spanned;

use super::{
    approval::Approvals,
    types::{OnFailure, Phase, PlanGate, PlanStep},
    wording::advice,
};
use crate::diag::{Diag, Diags};

/// A phase as it was read, its references unresolved.
#[derive(Debug)]
pub struct Draft {
    pub id: Option<Spanned<String>>,
    pub span: Range<usize>,
    pub after: Option<Spanned<String>>,
    pub on_failure: OnFailure,
    pub approvals: Approvals,
    pub steps: Vec<PlanStep>,
    pub gates: Vec<PlanGate>,
    pub before_undo: Vec<PlanGate>,
    pub after_undo: Vec<PlanGate>,
}

/// Orders the phases. A phase follows the one its `after` names; else it keeps its place behind the phase written before it.
pub fn order(drafts: Vec<Draft>, diags: &mut Diags) -> Vec<Phase> {
    let ids: Vec<String> =
        drafts.iter().map(|d| d.id.as_ref().map_or_else(String::new, |id| id.get_ref().clone())).collect();
    let index: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let mut parent: Vec<Option<usize>> = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        let Some(after) = &draft.after else {
            parent.push(i.checked_sub(1));
            continue;
        };
        match index.get(after.get_ref().as_str()) {
            Some(&target) => parent.push(Some(target)),
            None => {
                let known: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !id.is_empty()).collect();
                diags.push(
                    Diag::error("TM0107", after.span(), format!("no phase has the id `{}`", after.get_ref()))
                        .help(advice(after.get_ref(), &known)),
                );
                parent.push(None);
            }
        }
    }
    // A phase without `after` follows its neighbour, unless that neighbour was itself sent behind it.
    for i in 0..drafts.len() {
        if drafts[i].after.is_none() && reaches(&parent, i, i) {
            parent[i] = None;
        }
    }
    if let Some(at) = (0..drafts.len()).find(|&i| reaches(&parent, i, i)) {
        let place = drafts[at].after.as_ref().map_or(drafts[at].span.clone(), Spanned::span);
        diags.push(
            Diag::error("TM0108", place, format!("the phases wait for each other: {}", walk(&parent, &ids, at)))
                .label("this closes the circle"),
        );
        return Vec::new();
    }
    sorted(drafts, &parent, &ids)
}

fn reaches(parent: &[Option<usize>], from: usize, goal: usize) -> bool {
    let mut at = parent[from];
    for _ in 0..parent.len() {
        match at {
            Some(i) if i == goal => return true,
            Some(i) => at = parent[i],
            None => return false,
        }
    }
    false
}

fn walk(parent: &[Option<usize>], ids: &[String], from: usize) -> String {
    let (mut text, mut at) = (ids[from].clone(), parent[from]);
    while let Some(i) = at {
        text = format!("{text} after {}", ids[i]);
        at = if i == from { None } else { parent[i] };
    }
    text
}

/// Depth first in the order of the text: a phase, then what follows it.
fn sorted(drafts: Vec<Draft>, parent: &[Option<usize>], ids: &[String]) -> Vec<Phase> {
    let mut sequence = Vec::new();
    let mut stack: Vec<usize> = (0..drafts.len()).rev().filter(|&i| parent[i].is_none()).collect();
    while let Some(i) = stack.pop() {
        sequence.push(i);
        // An explicit `after` comes directly behind its phase, before the neighbour that merely stands next.
        let mut children: Vec<usize> = (0..drafts.len()).filter(|&c| parent[c] == Some(i)).collect();
        children.sort_by_key(|&c| (drafts[c].after.is_none(), c));
        stack.extend(children.into_iter().rev());
    }
    let mut slots: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    let take = |i: usize| {
        slots.get_mut(i).and_then(Option::take).map(|draft| Phase {
            id: ids[i].clone(),
            on_failure: draft.on_failure,
            approvals: draft.approvals,
            steps: draft.steps,
            gates: draft.gates,
            before_undo: draft.before_undo,
            after_undo: draft.after_undo,
        })
    };
    sequence.into_iter().filter_map(take).collect()
}

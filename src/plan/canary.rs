//! The section [canary]: how the phases that nobody wrote are let in, watched and confirmed.

use std::ops::Range;

use serde::{Deserialize, de::IgnoredAny};
use toml::{Spanned, de::DeTable};

use super::{
    approval::{APPROVE_WITHIN, bounded},
    document::value_of,
    order::Draft,
    types::Millis,
    wording::advice,
};
use crate::diag::{Diag, Diags};

/// What `[canary]` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Canary {
    /// The phase that `confirm_within` is about.
    pub phase: String,
    /// The phases that are approved before they begin.
    pub approve: Vec<String>,
    pub approve_within: Millis,
    pub confirm_within: Option<Millis>,
    /// How long the tables are watched after each is enforced; not at all where it is left out.
    pub watch: Option<Millis>,
    /// How long they are observed before the first.
    pub observe: Millis,
    /// Whether all of them are enforced, one after the other, and watched once.
    pub all_at_once: bool,
    // What a step `watch` says; the expansion takes it from the plan's text, so that findings have their place.
    #[serde(rename = "sql")]
    _sql: Option<IgnoredAny>,
    #[serde(rename = "writes_percent")]
    _writes_percent: Option<IgnoredAny>,
    #[serde(rename = "rollback_points")]
    _rollback_points: Option<IgnoredAny>,
    #[serde(rename = "denied_per_minute")]
    _denied_per_minute: Option<IgnoredAny>,
}

/// As long as a minute's habits need to show, and no longer than somebody in front of the screen waits for it.
const OBSERVE: Millis = Millis(30_000);
/// The keys of a step `watch` that stand in the section as well.
pub(super) const OF_THE_STEP: [&str; 4] = ["sql", "writes_percent", "rollback_points", "denied_per_minute"];

impl Default for Canary {
    fn default() -> Self {
        Self {
            phase: "enforce".to_owned(),
            approve: Vec::new(),
            approve_within: APPROVE_WITHIN,
            confirm_within: None,
            watch: None,
            observe: OBSERVE,
            all_at_once: false,
            _sql: None,
            _writes_percent: None,
            _rollback_points: None,
            _denied_per_minute: None,
        }
    }
}

impl Canary {
    /// Gives the phases what it says; what a phase says itself stays.
    pub fn apply(&self, drafts: &mut [Draft], doc: &DeTable<'_>, diags: &mut Diags) {
        let whole = doc.get("canary").map_or(0..0, Spanned::span);
        let place = |key: &str| Some(value_of(doc, "canary", key)).filter(|at| !at.is_empty()).unwrap_or(whole.clone());
        let approve = bounded("approve_within", self.approve_within, place("approve_within"), diags);
        for id in &self.approve {
            if let Some(draft) = find(drafts, id, place("approve"), diags) {
                draft.approvals.approve_within = draft.approvals.approve_within.or(approve);
            }
        }
        // The explicit form of such a plan has the steps instead.
        let has_steps = drafts.iter().flat_map(|draft| &draft.steps).any(|step| step.kind == "watch");
        if self.watch.is_some() && !has_steps && !doc.contains_key("table") {
            diags.push(
                Diag::error(
                    "TM0398",
                    place("watch"),
                    "`watch` is about the tables of [[table]], and the plan has none",
                )
                .help("write steps into the phase: kind = \"observe\" before the change, kind = \"watch\" behind it"),
            );
        }
        let Some(within) = self.confirm_within else { return };
        let within = bounded("confirm_within", within, place("confirm_within"), diags);
        if let Some(draft) = find(drafts, &self.phase, place("phase"), diags) {
            draft.approvals.confirm_within = draft.approvals.confirm_within.or(within);
        }
    }
}

fn find<'a>(drafts: &'a mut [Draft], id: &str, place: Range<usize>, diags: &mut Diags) -> Option<&'a mut Draft> {
    let is_it = |draft: &Draft| draft.id.as_ref().is_some_and(|known| known.get_ref() == id);
    if let Some(at) = drafts.iter().position(is_it) {
        return drafts.get_mut(at);
    }
    let known: Vec<&str> = drafts.iter().filter_map(|d| d.id.as_ref()).map(|id| id.get_ref().as_str()).collect();
    diags.push(Diag::error("TM0107", place, format!("no phase has the id `{id}`")).help(advice(id, &known)));
    None
}

//! What a phase waits for from a person: a word before it begins, and a word that what it did may stay.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;

use super::{section::Table, types::Millis};
use crate::diag::{Diag, Diags};

/// Less than a second nobody can answer in; for longer than a month nobody keeps a run open.
const WITHIN: RangeInclusive<Millis> = Millis(1_000)..=Millis(30 * 24 * 3_600_000);
/// Who approves may sleep first.
pub(super) const APPROVE_WITHIN: Millis = Millis(24 * 3_600_000);

/// What is waited for around one phase, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Approvals {
    /// `tenantmig approve PHASE` before its first unit; then the run pauses.
    pub approve_within: Option<Millis>,
    /// The same after its last unit; then it is a failure.
    pub confirm_within: Option<Millis>,
}

impl Approvals {
    /// Reads them out of a phase. `gate = "manual"` is `approve_within` with the usual time.
    pub fn read(table: &mut Table<'_>, diags: &mut Diags) -> Self {
        let [mut approve_within, confirm_within] = ["approve_within", "confirm_within"].map(|key| {
            let value = table.get_mut().remove(key)?;
            let Some(text) = value.get_ref().as_str() else {
                let what = format!("`{key}` is a length of time in quotes");
                diags.push(Diag::error("TM0103", value.span(), what).help(format!("write {key} = \"10min\"")));
                return None;
            };
            match text.parse::<Millis>() {
                Ok(within) => bounded(key, within, value.span(), diags),
                Err(why) => {
                    diags.push(Diag::error("TM0103", value.span(), why));
                    None
                }
            }
        });
        let word = table.get_ref().get("gate").filter(|gate| gate.get_ref().as_str().is_some()).map(Spanned::span);
        if let Some(place) = word {
            let manual = table.get_mut().remove("gate").is_some_and(|gate| gate.get_ref().as_str() == Some("manual"));
            if manual {
                approve_within = approve_within.or(Some(APPROVE_WITHIN));
            } else {
                diags.push(
                    Diag::error("TM0103", place, "`gate` is \"manual\", or [[phase.gate]] below the phase")
                        .help("gate = \"manual\" waits for tenantmig approve before the phase begins"),
                );
            }
        }
        Self { approve_within, confirm_within }
    }
}

pub(super) fn bounded(key: &str, within: Millis, place: Range<usize>, diags: &mut Diags) -> Option<Millis> {
    if WITHIN.contains(&within) {
        return Some(within);
    }
    diags.push(
        Diag::error("TM0103", place, format!("`{key}` is from 1s to 30d"))
            .help("so long a person has to answer by tenantmig approve; \"10min\" is usual after, \"24h\" before"),
    );
    None
}

//! Evidence of a run, for somebody who was not there: what the ledger and the database say, put together and drawn as one page.
//! Pure: facts go in (`cli::report` gathers them), [`Evidence`] comes out, and [`html`] or serde make a text of it. The same facts
//! give the same bytes.
//!
//! | File | What |
//! |---|---|
//! | `facts` | what goes in, as the ledger keeps it |
//! | `model` | what comes out |
//! | `assemble` | from the one to the other |
//! | `spans`, `events`, `actors` | the log: how long each deed took, each event in words, who worked |
//! | `coverage` | whether the ranges of a backfill leave a gap or overlap |
//! | `catalogue` | what is different between two prints |
//! | `secrets` | what no page may show |
//! | `page` | the HTML, its style and its charts |

mod actors;
mod assemble;
mod catalogue;
mod coverage;
mod events;
mod facts;
mod measured;
mod model;
mod page;
mod phases;
mod secrets;
mod spans;
#[cfg(test)]
mod tests;
mod verdicts;

pub use assemble::assemble;
pub use facts::{Facing, Facts, Head, Logged, Print, Progress, RangeRow, RunFacts, Server};
pub use model::{
    Approval, Asked, Audit, Cell, Checked, Evidence, Finding, Latency, Matrix, MatrixRow, Probed, Section, Tone,
    Unmeasured, Verdict,
};
pub use page::html;
pub use secrets::without_secrets;

/// The evidence for programs: one object with `"v": 1`.
pub fn json(evidence: &Evidence) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(evidence)?;
    secrets::value_without_secrets(&mut value);
    Ok(value.to_string())
}

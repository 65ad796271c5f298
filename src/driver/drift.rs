//! The drift guard: what a plan touches must not be changed by others while the run rests between two phases.
//!
//! When a phase is over, and when a rollback has come to its end at one, the facts of the touched objects are kept in the ledger
//! (`pg::fingerprint::touched` says which count). Before the first unit of the next phase they are compared with the present: a
//! change pauses the run, and nothing is touched. Once the run goes on, either way, the print is spent. So a crash between the
//! last gate and the print, or between an undo and it, leaves no print rather than an old one, and there is nothing to compare with.

use tokio_postgres::Client;

use super::{error::DriveError, shell::Shell};
use crate::{
    engine::{Effect, Event, Notice, Outcome},
    ledger::{self, Print},
    pg::{
        Class,
        fingerprint::{FORMAT, Touched, touched},
    },
};

/// What the process knows of the print.
#[derive(Debug, Clone, Default)]
pub struct Drift {
    /// An operator's word that the present state is the measure.
    pub accept: bool,
    standing: Standing,
}

/// Which print is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// Another process may have left one.
    #[default]
    Unknown,
    /// This process took it a moment ago: there is nothing to compare.
    Fresh,
    /// None: the run is on its way.
    Spent,
}

impl Drift {
    /// Time has passed since the print was taken: it is compared again.
    pub(super) fn doubt(&mut self) {
        if self.standing == Standing::Fresh {
            self.standing = Standing::Unknown;
        }
    }
}

/// So many lines of a drift are told and kept; who sees these looks at the rest by hand.
const LINES_MAX: usize = 100;

impl Shell {
    /// Before the effect: whether nobody changed what it builds on. Where somebody did, the run is paused and nothing begun. On the
    /// way back it is only told.
    pub(super) async fn is_undrifted(&mut self, effect: Effect) -> Result<bool, DriveError> {
        match effect {
            Effect::Do(number) if self.begins_phase(number) && self.drift.standing != Standing::Fresh => {
                self.compare(number).await
            }
            Effect::Undo(_) if self.drift.standing != Standing::Spent => {
                match self.drifted().await {
                    Ok(Some((phase, found))) => {
                        let text = format!(
                            "others changed what the plan touches since phase `{phase}` was over; the rollback goes on:\n{found}"
                        );
                        self.say(Notice::Note { text });
                    }
                    Ok(None) => {}
                    Err(error) => self.cannot_tell(error)?,
                }
                self.spend().await?;
                Ok(true)
            }
            Effect::Do(_)
            | Effect::Undo(_)
            | Effect::Gate(..)
            | Effect::Check(..)
            | Effect::Ask(..)
            | Effect::Halt(_) => Ok(true),
        }
    }

    /// After the effect: keeps the print of a phase that is over, and spends it when the next one is begun.
    pub(super) async fn note_print(&mut self, effect: Effect) -> Result<(), DriveError> {
        match self.came_to_rest(effect) {
            Some(phase) => match self.keep_print(&phase).await {
                Ok(()) => self.drift.standing = Standing::Fresh,
                Err(error) => self.cannot_tell(error)?,
            },
            None => {
                let begun = matches!(effect, Effect::Do(number) if !self.begins_phase(number));
                if begun && self.drift.standing != Standing::Spent {
                    self.spend().await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the unit is the first of its phase, and nothing of the phase is begun.
    fn begins_phase(&self, number: usize) -> bool {
        let program = &self.journal.record.program;
        let first = program.unit(number).map(|(p, _)| program.first_unit(p));
        first == Some(number) && matches!(self.journal.run.unit(number), crate::engine::UnitState::Pending)
    }

    /// The phase behind which the run stands now that the effect is performed, if that brought it there.
    fn came_to_rest(&self, effect: Effect) -> Option<String> {
        let program = &self.journal.record.program;
        let phase_of = |number: usize| program.unit(number).map(|(p, _)| p);
        let done = match effect {
            Effect::Do(number) => phase_of(number)?,
            Effect::Gate(p, _) => p,
            Effect::Undo(_) | Effect::Check(..) | Effect::Ask(..) => {
                return match self.journal.next() {
                    // Of a run that is taken back whole nothing stands that could drift.
                    Effect::Halt(Outcome::RolledBack { keep }) if keep > 0 => Some(program.keep_name(keep).to_owned()),
                    Effect::Halt(_)
                    | Effect::Do(_)
                    | Effect::Undo(_)
                    | Effect::Gate(..)
                    | Effect::Check(..)
                    | Effect::Ask(..) => None,
                };
            }
            Effect::Halt(_) => return None,
        };
        let over = match self.journal.next() {
            Effect::Do(number) => phase_of(number).is_some_and(|p| p > done),
            Effect::Gate(p, _) => p > done,
            Effect::Halt(Outcome::Completed) => true,
            Effect::Halt(_) | Effect::Undo(_) | Effect::Check(..) | Effect::Ask(..) => false,
        };
        over.then(|| program.phases[done].id.clone())
    }

    /// Compares before the first unit of a phase.
    async fn compare(&mut self, number: usize) -> Result<bool, DriveError> {
        let program = &self.journal.record.program;
        let Some((p, _)) = program.unit(number) else { return Ok(true) };
        let (phase, before) = (program.phases[p].id.clone(), program.keep_name(p).to_owned());
        let kept = match self.drifted().await {
            Ok(Some((since, found))) if !self.drift.accept => {
                self.record(Event::Drifted { phase, since, found }).await?;
                return Ok(false);
            }
            Ok(Some((since, found))) => {
                self.record(Event::DriftAccepted { phase, since, found }).await?;
                self.keep_print(&before).await
            }
            // What stands is the measure from here on: until the unit is begun, a pause may come.
            Ok(None) => self.keep_print(&before).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => self.drift.standing = Standing::Fresh,
            Err(error) => self.cannot_tell(error)?,
        }
        Ok(true)
    }

    /// What was changed since the print in force was taken, and after which phase that was.
    async fn drifted(&self) -> Result<Option<(String, String)>, DriveError> {
        let place = &self.journal.place;
        let read = async |client: &Client| ledger::print_in_force(client, &place.schema, place.run).await;
        let Some(print) = self.work.with(read).await? else { return Ok(None) };
        if (print.format, print.server) != (FORMAT, self.major()) {
            let text = format!(
                "another version of tenantmig or of the server noted what stood after phase `{}`: changes since then are not told",
                print.phase
            );
            self.say(Notice::Note { text });
            return Ok(None);
        }
        let now = self.fenced(self.bounds(), async |client: &Client| self.look_at_touched(client).await).await?;
        Ok(listed(&print.touched.changes(&now)).map(|found| (print.phase, found)))
    }

    async fn keep_print(&self, phase: &str) -> Result<(), DriveError> {
        let place = &self.journal.place;
        self.fenced(self.bounds(), async |client: &Client| {
            let touched = self.look_at_touched(client).await?;
            let print = Print { phase: phase.to_owned(), format: FORMAT, server: self.major(), touched };
            Ok(ledger::keep_print(client, place, &print).await?)
        })
        .await
    }

    async fn look_at_touched(&self, client: &Client) -> Result<Touched, DriveError> {
        let program = &self.journal.record.program;
        let function = program.tenancy.as_ref().and_then(|tenancy| tenancy.function.as_ref());
        Ok(touched(client, &program.touches(), function).await?)
    }

    async fn spend(&mut self) -> Result<(), DriveError> {
        let place = &self.journal.place;
        let spend = async |client: &Client| Ok(ledger::spend_print(client, place).await?);
        self.fenced(self.bounds(), spend).await?;
        self.drift.standing = Standing::Spent;
        Ok(())
    }

    /// Records the intent of a unit, with which the print is spent: in one transaction, or a crash after the deed would leave a print
    /// of what stood before it.
    pub(super) async fn record_begun(&mut self, event: Event) -> Result<(), DriveError> {
        self.record_and(event, self.drift.standing != Standing::Spent).await?;
        self.drift.standing = Standing::Spent;
        Ok(())
    }

    fn major(&self) -> i32 {
        self.work.server_version_num / 10_000
    }

    /// A catalogue that cannot be read now is no reason to stop: it says nothing about a change. A lost connection is another matter.
    fn cannot_tell(&self, error: DriveError) -> Result<(), DriveError> {
        let server = matches!(&error, DriveError::Server(fault) if fault.class != Class::Ambiguous);
        if !server {
            return Err(error);
        }
        self.stop.check()?;
        self.say(Notice::Note {
            text: format!("whether others change what the plan touches is not watched here: {error}"),
        });
        Ok(())
    }
}

/// The changes as one text.
pub(super) fn listed(changes: &[String]) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = changes.iter().take(LINES_MAX).cloned().collect();
    if changes.len() > LINES_MAX {
        lines.push(format!("… and {} more", changes.len() - LINES_MAX));
    }
    Some(lines.join("\n"))
}

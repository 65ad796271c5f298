//! Before a step that grows much is begun: whether there is room for it.

use tokio_postgres::Client;

use super::{
    error::DriveError,
    free_space::free_space,
    shell::{Shell, cancellable},
};
use crate::{
    disk::{Need, shortage},
    engine::{Event, Notice},
    ledger,
    pg::{Class, room},
    plan::{Bytes, FreeCommand},
    unit::{KeepSpec, Op, Unit},
};

/// What the process knows of the check.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// An operator's word that it is left out.
    pub unchecked: bool,
    /// The command of the plan's file. The one in the ledger is whoever's that may write to the database, and is not run here.
    pub command: Option<FreeCommand>,
    /// It was said that nothing tells what is free.
    told: bool,
}

impl Shell {
    /// Whether there is room for the unit, as far as that is known. Where there is not, the run is paused and nothing begun.
    pub(super) async fn has_room(&mut self, unit: &Unit) -> Result<bool, DriveError> {
        if self.room.unchecked {
            return Ok(true);
        }
        let short = self.short_of(unit).await;
        self.begins(short, &unit.title, "make room; --skip-disk-check begins all the same").await
    }

    /// Whether there is room for the values that are about to be kept. Where there is not, the run is paused and nothing is undone.
    pub(super) async fn has_room_to_keep(&mut self, unit: &Unit, spec: &KeepSpec) -> Result<bool, DriveError> {
        if self.stays(spec) {
            return Ok(true);
        }
        let short = match room::need_to_keep(&self.work, spec).await {
            Ok(need) => self.shortage_of(need).await,
            Err(fault) => Err(fault.into()),
        };
        let what = unit.undo_title();
        self.begins(short, &what, "make room, then: tenantmig resume").await
    }

    async fn begins(
        &mut self,
        short: Result<Option<String>, DriveError>,
        what: &str,
        way: &str,
    ) -> Result<bool, DriveError> {
        match short {
            Ok(None) => Ok(true),
            Ok(Some(why)) => {
                self.record(Event::Paused { why: format!("not begun: {what}: {why} ({way})"), asked: None }).await?;
                Ok(false)
            }
            Err(DriveError::Server(fault)) if fault.class != Class::Ambiguous => {
                self.say(Notice::Note { text: format!("the room that it needs could not be estimated: {fault}") });
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// What is missing, in words.
    async fn short_of(&mut self, unit: &Unit) -> Result<Option<String>, DriveError> {
        if !room::grows(unit) {
            return Ok(None);
        }
        let known = room::known(&self.work, &[unit]).await?;
        match room::need(&self.work, &known, unit, self.share_left(unit).await?).await? {
            Some(need) => self.shortage_of(need).await,
            None => Ok(None),
        }
    }

    async fn shortage_of(&mut self, need: Need) -> Result<Option<String>, DriveError> {
        if need.places.values().all(|place| place.bytes() == 0) {
            return Ok(None);
        }
        let mut disk = self.journal.record.program.disk.clone();
        let withheld = std::mem::replace(&mut disk.free, self.room.command.clone()).is_some() && disk.free.is_none();
        let places = need.by_place(&disk, room::wal_max(&self.work).await?);
        // The plan's command may take its seconds; a signal does not wait for it.
        let ask = async { Ok(free_space(&self.work, &disk, places.keys()).await?) };
        let free = cancellable(&self.work, &self.stop, ask).await?;
        if !self.room.told && places.keys().any(|place| !disk.tells(place)) {
            self.room.told = true;
            let how = if withheld {
                "only `tenantmig apply PLAN` runs the command of [disk], from the plan's file"
            } else {
                "[disk] tells how"
            };
            self.say(Notice::Note { text: format!("{}; free space unknown: {how}", about(&need)) });
        }
        Ok(shortage(&places, &free, &disk).map(|short| short.to_string()))
    }

    /// What is left of a backfill that was begun before.
    async fn share_left(&self, unit: &Unit) -> Result<f64, DriveError> {
        let Op::Backfill(spec) = &unit.up else { return Ok(1.0) };
        let place = &self.journal.place;
        let ask = async |client: &Client| ledger::written(client, &place.schema, place.run, &unit.id).await;
        let written = self.work.with(ask).await?;
        if written.rows == 0 {
            return Ok(1.0);
        }
        let tables = std::slice::from_ref(&spec.table);
        let all = self.work.with(async |client: &Client| crate::pg::rows_estimated(client, tables).await).await?;
        Ok(1.0 - (written.rows as f64 / all.max(1) as f64).min(1.0))
    }
}

/// The need in words: `needs about 1.2 GiB in tablespace fast`.
fn about(need: &Need) -> String {
    let places = need.places.iter().filter(|(_, place)| place.bytes() > 0);
    let said: Vec<String> =
        places.map(|(name, place)| format!("{} in tablespace {name}", Bytes(place.bytes()))).collect();
    format!("needs about {}", said.join(", "))
}

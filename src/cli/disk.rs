//! What `plan` says of the disk: about how much each unit adds, where, and whether there is room.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::failure::CliError;
use crate::{
    disk::{Free, Need, shortage},
    driver::free_space,
    engine::{Program, Run},
    pg::{Class, Fault, connect::Connection, room, room::Known},
    plan::{Bytes, Disk},
    unit::Unit,
};

/// The needs of all units, together and against what is free.
#[derive(Debug)]
pub(super) struct Room {
    /// In the order of the units; `None`: unknown.
    units: Vec<Option<Need>>,
    all: Need,
    /// What each place must have free, as it is checked.
    places: BTreeMap<String, u64>,
    free: BTreeMap<String, Free>,
    disk: Disk,
}

impl Room {
    /// Looks at everything that is not done yet.
    pub async fn look(session: &Connection, program: &Program, run: Option<&Run>) -> Result<Self, CliError> {
        let (mut units, mut all) = (Vec::new(), Need::default());
        let growing: Vec<&Unit> = program.units().map(|(_, unit)| unit).filter(|unit| room::grows(unit)).collect();
        let known = room::known(session, &growing).await;
        for (number, (_, unit)) in program.units().enumerate() {
            let done = run.is_some_and(|run| run.unit(number).is_done());
            let need = match of(session, &known, unit).await {
                _ if done => Some(Need::default()),
                Ok(need) => need,
                Err(fault) if fault.class == Class::Ambiguous => return Err(fault.into()),
                // An estimate is no reason to show no plan.
                Err(fault) => {
                    tracing::warn!("{}: {fault}", unit.title);
                    None
                }
            };
            if let Some(need) = &need {
                all.then(need);
            }
            units.push(need);
        }
        let disk = program.disk.clone();
        let places = all.by_place(&disk, room::wal_max(session).await?);
        let free = free_space(session, &disk, places.keys()).await?;
        Ok(Self { units, all, places, free, disk })
    }

    /// A unit's cell of the table.
    pub fn cell(&self, number: usize) -> String {
        let Some(Some(need)) = self.units.get(number) else { return "unknown".to_owned() };
        let sum = |part: fn(&crate::disk::Place) -> u64| need.places.values().map(part).sum::<u64>();
        let parts = [(sum(|p| p.heap), "heap"), (sum(|p| p.index), "index"), (sum(|p| p.sort), "sort")];
        let said: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("~{} {what}", Bytes(*n))).collect();
        if said.is_empty() { "-".to_owned() } else { said.join(" + ") }
    }

    /// The lines below the phases.
    pub fn text(&self, units: &[&Unit]) -> String {
        if self.places.is_empty() {
            return self.left_out(units).map_or(String::new(), |said| format!("Disk: {said}.\n"));
        }
        let mut out = String::from("Disk, about:\n");
        for (place, need) in &self.places {
            out.push_str(&format!("  {place}: {} needed, {}\n", Bytes(*need), self.state(place, *need)));
        }
        let counted = match &self.disk.wal {
            Some(place) => format!("counted in {place} up to max_wal_size"),
            None => "not counted: the server recycles it; [disk] wal says where it lies".to_owned(),
        };
        out.push_str(&format!("  WAL: {} written, {counted}\n", Bytes(self.all.wal)));
        if !self.all.assumed.is_empty() {
            out.push_str(&format!("  assumed: {}\n", self.all.assumed.join("; ")));
        }
        if let Some(said) = self.left_out(units) {
            out.push_str(&format!("  {said}\n"));
        }
        out
    }

    fn state(&self, place: &str, need: u64) -> String {
        match self.free.get(place) {
            None | Some(Free::Untold) => "free space unknown: [disk] tells how".to_owned(),
            Some(Free::Unknown(why)) => format!("free space unknown: {why}"),
            Some(&Free::Bytes { free, limit }) => {
                let reserve = self.disk.reserve.of(limit.unwrap_or(free));
                let enough = need <= free.saturating_sub(reserve);
                let verdict = if enough { "enough" } else { "NOT ENOUGH: apply would pause before it begins the step" };
                format!("{} free, {} reserve: {verdict}", Bytes(free), Bytes(reserve))
            }
        }
    }

    fn left_out(&self, units: &[&Unit]) -> Option<String> {
        let unknown: Vec<&str> = units
            .iter()
            .zip(&self.units)
            .filter(|(_, need)| need.is_none())
            .map(|(unit, _)| unit.title.as_str())
            .collect();
        (!unknown.is_empty()).then(|| format!("not estimated: {}", unknown.join("; ")))
    }

    /// One unit, for programs.
    pub fn unit_json(&self, number: usize) -> Value {
        match self.units.get(number) {
            Some(Some(need)) => json!({ "places": places(need), "wal": need.wal, "assumed": need.assumed }),
            Some(None) | None => Value::Null,
        }
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let free: BTreeMap<&String, Value> = self
            .places
            .keys()
            .map(|place| match self.free.get(place) {
                Some(Free::Bytes { free, limit }) => (place, json!({ "bytes": free, "limit": limit })),
                Some(Free::Unknown(why)) => (place, json!({ "unknown": why })),
                Some(Free::Untold) | None => (place, json!({ "unknown": "[disk] tells how" })),
            })
            .collect();
        let short = shortage(&self.places, &self.free, &self.disk).map(|short| short.to_string());
        json!({ "needed": self.places, "free": free, "wal": self.all.wal, "assumed": self.all.assumed, "short": short })
    }
}

/// What the unit needs, by what is known of all.
async fn of(session: &Connection, known: &Result<Known, Fault>, unit: &Unit) -> Result<Option<Need>, Fault> {
    match known {
        Ok(known) => room::need(session, known, unit, 1.0).await,
        Err(_) if !room::grows(unit) => Ok(Some(Need::default())),
        Err(fault) => Err(fault.clone()),
    }
}

fn places(need: &Need) -> Value {
    let of = |place: &crate::disk::Place| json!({ "heap": place.heap, "index": place.index, "sort": place.sort });
    need.places.iter().filter(|(_, p)| p.bytes() > 0).map(|(name, place)| (name.clone(), of(place))).collect()
}

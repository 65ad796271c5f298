//! Keeps the values of a column that is about to go, and writes them back when it is there again. Both may be killed anywhere: what
//! was kept or written back stays so, and the batches begin again from the first row, which changes nothing.

use tokio_postgres::Client;

use super::{error::DriveError, shell::Shell};
use crate::{
    engine::{Event, Notice},
    ledger,
    pg::{
        Class, Fault,
        keeping::{self, Batch, Place},
    },
    sql::Stmt,
    steps::add_column::keep,
    unit::{Before, KeepSpec, Unit},
};

impl Shell {
    /// Keeps what would not come again, until the column's own undo takes it and the trigger away.
    pub(super) async fn keep_values(&mut self, unit: &Unit, spec: &KeepSpec) -> Result<(), DriveError> {
        let undone = Event::Undone { unit: unit.id.clone() };
        let there = self.patiently(async |client: &Client| Ok(keeping::is_there(client, spec).await?)).await?;
        if !there || self.stays(spec) {
            return self.record(undone).await;
        }
        let (key, asked) =
            self.patiently(async |client: &Client| Ok((keeping::key(client, spec).await?, keep::all(spec)))).await?;
        // The guard has told what is lost, and somebody agreed.
        let Some(key) = key else { return self.record(undone).await };
        let which = if self.can_ask(spec).await? {
            keep::differs(spec)
        } else {
            let text =
                format!("every value of {}.{} is kept: what would fill it is not there", spec.table, spec.column);
            self.say(Notice::Note { text });
            asked
        };
        let place = self.journal.place.clone();
        let preimage = self
            .patiently(async |client: &Client| {
                if let Some(begun) = ledger::half_kept(client, &place, &unit.id).await? {
                    return Ok(begun);
                }
                let made = ledger::begin_keeping(client, &place, &unit.id, spec, &key).await?;
                let (kept, follower) = (made.table(&place.schema), made.follower(&place.schema));
                keeping::make(client, spec, &kept, &follower, &key).await?;
                Ok(made)
            })
            .await?;
        self.keep_all(spec, &which, &preimage).await?;
        let bounds = self.bounds();
        let rows = self
            .record_with(bounds, async |client: &Client| {
                let rows = ledger::complete(client, &place.schema, &preimage).await?;
                for older in ledger::written_back(client, &place.schema, spec).await? {
                    ledger::forget(client, &place.schema, &older).await?;
                }
                Ok((rows, undone))
            })
            .await?;
        let text = format!(
            "{rows} values of {}.{} are kept in {} for the next apply",
            spec.table,
            spec.column,
            preimage.table(&self.journal.place.schema)
        );
        self.say(Notice::Note { text });
        Ok(())
    }

    /// Whether the column was there before, and stays when it is undone.
    pub(super) fn stays(&self, spec: &KeepSpec) -> bool {
        let Some((of, ..)) = self.journal.record.program.find(&spec.of) else { return false };
        self.journal.run.unit(of).before().is_some_and(Before::is_untouched)
    }

    async fn can_ask(&self, spec: &KeepSpec) -> Result<bool, DriveError> {
        // A transaction of its own: a question about what is not there ends it.
        let asked = self.patiently(async |client: &Client| {
            client.batch_execute("SAVEPOINT asked").await?;
            let can = keeping::can_ask(client, spec).await;
            client.batch_execute("ROLLBACK TO SAVEPOINT asked").await?;
            Ok(can?)
        });
        asked.await
    }

    async fn keep_all(&self, spec: &KeepSpec, which: &Stmt, of: &ledger::Preimage) -> Result<(), DriveError> {
        let kept = of.table(&self.journal.place.schema);
        let place =
            self.patiently(async |client: &Client| Ok(Place::of(client, kept.clone(), of.key.clone()).await?)).await?;
        let mut last: Option<Vec<String>> = None;
        loop {
            self.stop.check()?;
            let step = async |client: &Client| Ok(place.keep(client, spec, which, last.as_deref()).await?);
            let Batch { last: end, .. } = self.patiently(step).await?;
            if end.is_none() {
                return Ok(());
            }
            last = end;
        }
    }

    /// Writes back what waits for the column, newest first: a row that has got its value is left alone by an older one.
    pub(super) async fn write_back(&mut self, unit: &Unit, spec: &KeepSpec, done: Event) -> Result<(), DriveError> {
        if self.stays(spec) {
            return self.record(done).await;
        }
        let schema = self.journal.place.schema.clone();
        let mut waiting =
            self.patiently(async |client: &Client| Ok(ledger::waiting(client, &schema, spec).await?)).await?;
        for number in (0..waiting.len()).rev() {
            if !self.fits(spec, &waiting[number]).await? {
                waiting.remove(number);
            }
        }
        let mut all = Batch::default();
        for preimage in &waiting {
            self.restore_one(spec, preimage, &mut all).await?;
        }
        let forward = matches!(done, Event::Succeeded { .. }) && !waiting.is_empty();
        let rows = u64::try_from(all.done).ok();
        let event = if forward { Event::Succeeded { unit: unit.id.clone(), rows } } else { done };
        let bounds = self.bounds();
        self.record_with(bounds, async |client: &Client| {
            for preimage in &waiting {
                ledger::restored(client, &schema, preimage).await?;
            }
            Ok(((), event))
        })
        .await?;
        if !waiting.is_empty() {
            let Batch { done, gone, other, .. } = all;
            let text = format!(
                "{}.{}: {done} kept values written back; {gone} rows are gone meanwhile; {other} have another value by now, which stays",
                spec.table, spec.column
            );
            self.say(Notice::Note { text });
        }
        Ok(())
    }

    /// Whether the rows can be found again by the key that the values were kept by. Where not, they go on waiting.
    async fn fits(&self, spec: &KeepSpec, of: &ledger::Preimage) -> Result<bool, DriveError> {
        let kept = of.table(&self.journal.place.schema);
        let fits = self
            .patiently(async |client: &Client| {
                Ok(Place::of(client, kept.clone(), of.key.clone()).await?.fits(client, spec).await?)
            })
            .await?;
        if !fits {
            let text = format!(
                "{}.{}: the values that an earlier rollback kept in {kept} stay there: the table has another key by now",
                spec.table, spec.column
            );
            self.say(Notice::Note { text });
        }
        Ok(fits)
    }

    async fn restore_one(&self, spec: &KeepSpec, of: &ledger::Preimage, all: &mut Batch) -> Result<(), DriveError> {
        let kept = of.table(&self.journal.place.schema);
        let place =
            self.patiently(async |client: &Client| Ok(Place::of(client, kept.clone(), of.key.clone()).await?)).await?;
        let mut last: Option<Vec<String>> = None;
        loop {
            self.stop.check()?;
            let step = async |client: &Client| Ok(place.restore(client, spec, last.as_deref()).await?);
            let batch = self.patiently(step).await.map_err(|error| named(error, of))?;
            (all.done, all.gone, all.other) = (all.done + batch.done, all.gone + batch.gone, all.other + batch.other);
            let Some(end) = batch.last else { return Ok(()) };
            last = Some(end);
        }
    }
}

/// Where the values are that could not be written back.
fn named(error: DriveError, of: &ledger::Preimage) -> DriveError {
    error.map_fault(|fault| match fault.class {
        Class::Fatal => {
            let hint = format!("the values are kept in the table {} of the ledger's schema", of.relation);
            Fault { hint: Some(fault.hint.map_or(hint.clone(), |theirs| format!("{hint}; {theirs}"))), ..fault }
        }
        Class::Transient | Class::Ambiguous | Class::Privilege | Class::Cancelled | Class::Resources => fault,
    })
}

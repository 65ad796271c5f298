//! A batch that cannot be done as one, split down to the row; and rows one by one.

use super::{
    crew::ROW_LOCK_WAIT,
    worker::{Course, Worker, what_now},
};
use crate::{
    driver::error::DriveError,
    engine::{Notice, ranges::Range},
    ledger::{Batch, Written},
    pg::{Class, Fault, batch::Part},
};

impl Worker {
    /// Splits a batch that failed until the row is found that cannot be written, which ends the backfill; or until all is
    /// written, where the batch was only too large for the moment.
    pub(super) async fn in_pieces(&mut self, range: &mut Range, first: &DriveError) -> Result<Written, DriveError> {
        let text = format!("a batch of {} is done in pieces: {first}", range.heap);
        (self.crew.means.tell)(Notice::Note { text });
        let mut written = Written::default();
        let mut pieces: Vec<Vec<String>> = halves(self.due(range).await?);
        let mut number = 0;
        while let Some(piece) = pieces.pop() {
            self.crew.means.stop.check()?;
            match self.piece(range, &piece).await {
                Ok(part) => {
                    add(&mut written, part);
                    number = 0;
                }
                Err(error) => match what_now(&error, range.skipping) {
                    Course::PassBy => {
                        range.skipping = true;
                        pieces.push(piece);
                    }
                    Course::InPieces if piece.len() > 1 => pieces.extend(halves(piece)),
                    Course::InPieces => return Err(self.unwritable(range, piece, error).await),
                    Course::LookForHeap | Course::Reopen | Course::TryAgain => {
                        number += 1;
                        self.try_again(error, number, Vec::new()).await?;
                        pieces.push(piece);
                    }
                },
            }
        }
        add(&mut written, self.close(range).await?);
        Ok(written)
    }

    /// Writes the due rows of a range one after the other, waiting for whoever has one: nothing is held meanwhile that
    /// anybody else could wait for.
    pub(super) async fn row_by_row(&mut self, range: &mut Range) -> Result<Written, DriveError> {
        let mut written = Written::default();
        for address in self.due(range).await? {
            let (row, mut number) = (vec![address], 0);
            loop {
                self.crew.means.stop.check()?;
                let (watch, sampled) = self.watch(ROW_LOCK_WAIT);
                let done = self.piece(range, &row).await;
                watch.abort();
                let error = match done {
                    Ok(part) => {
                        add(&mut written, part);
                        break;
                    }
                    Err(error) => error,
                };
                if what_now(&error, true) == Course::InPieces {
                    return Err(self.unwritable(range, row, error).await);
                }
                number += 1;
                match self.try_again(error, number, sampled.take()).await {
                    // Somebody keeps this row for long: the others first, and then it is the next sweep's.
                    Err(DriveError::Server(fault)) if fault.class == Class::Transient => {
                        self.crew.kept_from(fault);
                        break;
                    }
                    again => again?,
                }
            }
        }
        add(&mut written, self.close(range).await?);
        Ok(written)
    }

    /// The addresses of what is due, asked for again while somebody keeps the table. To look holds nothing that others wait
    /// for, and takes long where the batch did: it has the bounds of a row by itself.
    async fn due(&self, range: &Range) -> Result<Vec<String>, DriveError> {
        self.crew.bound(&self.session, true).await?;
        let mut number = 0;
        loop {
            match self.due_now(range).await {
                Ok(due) => {
                    self.crew.bound(&self.session, false).await?;
                    return Ok(due);
                }
                Err(fault) => {
                    number += 1;
                    self.try_again(fault.into(), number, Vec::new()).await?;
                }
            }
        }
    }

    async fn due_now(&self, range: &Range) -> Result<Vec<String>, Fault> {
        let turn = self.session.turn().await?;
        let due = self.crew.means.batches.due(turn.client(), range).await;
        turn.end(due).await
    }

    /// Some rows of the range. One alone may wait longer.
    async fn piece(&self, range: &Range, rows: &[String]) -> Result<Written, DriveError> {
        let work = self.crew.means.batches.work(range, &Part::Rows(rows.to_vec()));
        let alone = rows.len() == 1;
        if alone {
            self.crew.bound(&self.session, true).await?;
        }
        let done = self.send(range, &work, false).await;
        let lost = done.as_ref().is_err_and(|error| matches!(error.class(), None | Some(Class::Ambiguous)));
        if alone && !lost {
            self.crew.bound(&self.session, false).await?;
        }
        match done? {
            Batch::Done(written) => Ok(written),
            // Another backend of ours was faster; the range tells when it is closed.
            Batch::Elsewhere => Ok(Written::default()),
        }
    }

    /// Records the batch as done, its rows having been written in pieces.
    async fn close(&mut self, range: &mut Range) -> Result<Written, DriveError> {
        let nothing = self.crew.means.batches.work(range, &Part::Rows(Vec::new()));
        let mut number = 0;
        loop {
            match self.send(range, &nothing, true).await {
                Ok(Batch::Done(written)) => {
                    range.stripes_done += 1;
                    return Ok(written);
                }
                Ok(Batch::Elsewhere) => return self.reload(range).await,
                Err(error) => {
                    number += 1;
                    self.try_again(error, number, Vec::new()).await?;
                }
            }
        }
    }

    /// The row is named, so that a person can look at it.
    async fn unwritable(&self, range: &Range, row: Vec<String>, error: DriveError) -> DriveError {
        let DriveError::Server(fault) = error else { return error };
        let address = row.first().map_or("", String::as_str);
        let named = async {
            let turn = self.session.turn().await?;
            let named = self.crew.means.batches.name(turn.client(), &range.heap, address).await;
            turn.end(named).await
        };
        let named = named.await.ok().flatten().unwrap_or_else(|| format!("ctid = {address}"));
        let message = format!("the row of {} with {named} cannot be written: {}", range.heap, fault.message);
        let hint = fault.hint.unwrap_or_else(|| {
            "look at this row and at the triggers and constraints of its table, then: tenantmig resume".to_owned()
        });
        DriveError::Server(Fault { class: Class::Fatal, message, hint: Some(hint), ..fault })
    }
}

fn add(sum: &mut Written, part: Written) {
    sum.rows += part.rows;
    sum.hot += part.hot;
}

/// Two halves, the first of them last, since it is taken first; nothing for nothing.
fn halves(mut rows: Vec<String>) -> Vec<Vec<String>> {
    let second = rows.split_off(rows.len().div_ceil(2));
    [second, rows].into_iter().filter(|half| !half.is_empty()).collect()
}

//! The options of `throttle`, each judged as the holder of the lease judges it.

use std::str::FromStr;

use clap::Args;

use crate::{
    cli::args::run_id,
    plan::{Bytes, Millis, Tuning, WORKERS},
};

/// `throttle`.
#[derive(Debug, Args)]
pub struct Throttle {
    /// How long a batch should take, 1ms to 10s
    #[arg(long, value_name = "TIME", value_parser = |text: &str| fitting(text, |it| Tuning { target_batch: Some(it), ..Tuning::default() }))]
    pub target_batch: Option<Millis>,
    /// Sessions that write at once, 1 to 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(i64::from(*WORKERS.start())..=i64::from(*WORKERS.end())))]
    pub workers: Option<u32>,
    /// How far behind a replica may be, in time
    #[arg(long, value_name = "TIME", value_parser = |text: &str| fitting(text, |it| Tuning { max_replica_lag: Some(it), ..Tuning::default() }))]
    pub max_replica_lag: Option<Millis>,
    /// How far behind a replica may be, in WAL
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| fitting(text, |it| Tuning { max_replica_lag_bytes: Some(it), ..Tuning::default() }))]
    pub max_replica_lag_bytes: Option<Bytes>,
    /// WAL that the whole server may write in a second
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| fitting(text, |it| Tuning { max_wal_rate: Some(it), ..Tuning::default() }))]
    pub max_wal_rate: Option<Bytes>,
    /// Other sessions that may be running a statement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_active_sessions: Option<u32>,
    /// Let backfills stand still, and say why
    #[arg(long, value_name = "REASON", conflicts_with = "release", value_parser = reason)]
    pub hold: Option<String>,
    /// Let them go on
    #[arg(long)]
    pub release: bool,
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
}

impl Throttle {
    /// What is to change.
    pub fn tuning(&self) -> Tuning {
        Tuning {
            target_batch: self.target_batch,
            workers: self.workers,
            max_replica_lag: self.max_replica_lag,
            max_replica_lag_bytes: self.max_replica_lag_bytes,
            max_wal_rate: self.max_wal_rate,
            max_active_sessions: self.max_active_sessions,
            hold: self.hold.clone().map(Some).or(self.release.then_some(None)),
        }
    }
}

/// A value that an operator may ask for, judged as the holder of the lease judges it.
fn fitting<T: FromStr<Err = String> + Clone>(text: &str, tuning: impl Fn(T) -> Tuning) -> Result<T, String> {
    let value: T = text.parse()?;
    tuning(value.clone()).check().map(|()| value)
}

pub fn reason(text: &str) -> Result<String, String> {
    let hold = Some(Some(text.to_owned()));
    Tuning { hold, ..Tuning::default() }.check().map(|()| text.to_owned())
}

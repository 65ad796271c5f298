//! The replicas: how many are connected, and how far behind each is.
//!
//! A replica is a physical walsender that has said how far it replayed. Base backups, pg_receivewal and subscribers of logical
//! replication are none; what they hold back shows at their slots. Cascading replicas are not seen.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio_postgres::Client;

use super::{look::Look, wal_history::WalHistory};
use crate::{
    pace::{Connected, Replica, Seen, Signal},
    pg::Fault,
};

/// All but the process and the names is NULL for a role without pg_monitor.
pub(super) const QUERY: &str = "SELECT coalesce(json_agg(json_build_object('pid', r.pid,
        'name', CASE WHEN coalesce(r.application_name, '') IN ('', 'walreceiver')
                     THEN concat_ws(' at ', 'walreceiver', host(r.client_addr)) ELSE r.application_name END,
        'replay_ms', (extract(epoch FROM r.replay_lag) * 1000)::bigint,
        'bytes', greatest(pg_current_wal_lsn() - r.replay_lsn, 0)::bigint,
        'replayed', (r.replay_lsn - '0/0'::pg_lsn)::bigint,
        'received', (r.flush_lsn - '0/0'::pg_lsn)::bigint, 'answer', r.reply_time::text)), '[]')
   FROM pg_stat_replication r JOIN s USING (pid) WHERE s.datid IS NULL";

#[derive(Debug, Deserialize)]
struct Sender {
    pid: i32,
    name: String,
    replay_ms: Option<u64>,
    bytes: Option<u64>,
    /// The positions up to which it said to have replayed the WAL, and to have the WAL on disk.
    replayed: Option<i64>,
    received: Option<i64>,
    /// When it said so, by its own clock: good for telling answers apart, not for their age.
    answer: Option<String>,
}

/// The replicas that there were, and what each said last.
#[derive(Debug)]
pub(super) struct Replication {
    counted: u32,
    answers: HashMap<i32, (Option<String>, Instant)>,
}

impl Replication {
    /// Counts the replicas that are connected now.
    pub(super) async fn count(client: &Client, sees: bool) -> Result<Self, Fault> {
        // Without pg_monitor positions are NULL: there a backup under way counts as well.
        let query = if sees {
            "SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_activity s USING (pid)
              WHERE s.datid IS NULL AND r.replay_lsn IS NOT NULL"
        } else {
            "SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_activity s USING (pid) WHERE s.datid IS NULL"
        };
        let counted: i64 = client.query_typed_one(query, &[]).await?.try_get(0)?;
        Ok(Self { counted: u32::try_from(counted).unwrap_or(u32::MAX), answers: HashMap::new() })
    }

    /// How many there should be.
    pub(super) fn expected(&self, planned: Option<u32>) -> u32 {
        planned.unwrap_or(self.counted)
    }

    /// Their number and their lag.
    pub(super) fn read(
        &mut self,
        look: &Look<'_>,
        wal: &WalHistory,
        now: Instant,
        planned: Option<u32>,
    ) -> Result<(Seen<Connected>, Seen<Vec<Replica>>), Fault> {
        let senders: Vec<Sender> = look.column(Signal::Replicas)?.unwrap_or_default();
        self.answers.retain(|pid, _| senders.iter().any(|sender| sender.pid == *pid));
        let lag = match look.seen(Signal::ReplicaLag, Some(()))? {
            Seen::Unseen => Seen::Unseen,
            Seen::Unknown(why) => Seen::Unknown(why),
            Seen::Known(()) => {
                let replicas = senders.iter().filter(|sender| sender.bytes.is_some());
                Seen::Known(replicas.map(|sender| self.replica(sender, wal, now)).collect())
            }
        };
        let connected = senders.iter().filter(|sender| !look.sees() || sender.bytes.is_some()).count();
        let number =
            Connected { expected: self.expected(planned), connected: u32::try_from(connected).unwrap_or(u32::MAX) };
        Ok((if look.asks(Signal::Replicas) { Seen::Known(number) } else { Seen::Unseen }, lag))
    }

    fn replica(&mut self, sender: &Sender, wal: &WalHistory, now: Instant) -> Replica {
        let beyond = |position: Option<i64>| position.map_or(Duration::ZERO, |position| wal.beyond(position, now));
        let unconfirmed = beyond(sender.received);
        let last = self.answers.entry(sender.pid).or_insert_with(|| (sender.answer.clone(), now));
        if last.0 != sender.answer {
            *last = (sender.answer.clone(), now);
        }
        // An idle replica answers when it likes; one that has something to confirm answers at once.
        let silent = unconfirmed.min(now.duration_since(last.1));
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Replica {
            name: sender.name.clone(),
            replay_ms: sender.replay_ms,
            behind_ms: ms(beyond(sender.replayed)),
            receipt_ms: ms(unconfirmed),
            bytes: sender.bytes,
            silent_ms: ms(silent),
        }
    }
}

//! WAL that a replication slot holds back, on the disk on which everything else is written too.

use crate::pace::Named;

/// Slots that are lost hold nothing back any more.
pub(super) const QUERY: &str = "SELECT json_build_object('name', slot_name,
        'value', greatest(pg_current_wal_lsn() - restart_lsn, 0)::bigint)
   FROM pg_replication_slots WHERE restart_lsn IS NOT NULL AND wal_status IS DISTINCT FROM 'lost'
  ORDER BY restart_lsn LIMIT 1";

/// Where there is no slot.
pub(super) fn none() -> Named<u64> {
    Named { name: "-".to_owned(), value: 0 }
}

//! How much WAL may still be written until a replication slot is lost. Known only where max_slot_wal_keep_size is set.

pub(super) const QUERY: &str = "SELECT json_build_object('name', slot_name, 'value', greatest(safe_wal_size, 0))
   FROM pg_replication_slots WHERE safe_wal_size IS NOT NULL ORDER BY safe_wal_size LIMIT 1";

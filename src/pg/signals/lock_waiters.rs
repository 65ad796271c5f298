//! Sessions that wait behind us, directly or behind another one that does: of several writers that want the same row, only the
//! first waits for our transaction, and the next for the first. Ours do not count themselves.
//!
//! `pg_blocking_pids` stops the lock manager for a moment, so only sessions that wait are asked for, and not more than 200 of
//! them. Who waits is in `pg_stat_activity` for those who may see it, and else in `pg_locks`.

pub(super) const QUERY: &str = "WITH RECURSIVE
    edge AS MATERIALIZED (
        SELECT w.pid, unnest(pg_blocking_pids(w.pid)) AS by
          FROM (SELECT pid FROM s
                 WHERE CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN wait_event_type = 'Lock'
                            ELSE pid IN (SELECT l.pid FROM pg_locks l WHERE NOT l.granted) END
                 LIMIT 200) w),
    behind AS (
        SELECT e.pid FROM edge e JOIN s ON s.pid = e.by WHERE s.ours AND s.here
        UNION SELECT e.pid FROM edge e JOIN behind b ON e.by = b.pid)
    SELECT to_json(count(*)) FROM behind JOIN s USING (pid) WHERE NOT s.ours";

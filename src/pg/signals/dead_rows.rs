//! Dead rows of the table with its partitions and children, and whether somebody else vacuums one of them now.

use crate::{
    sql,
    sql::{Literal, Stmt},
};

pub(super) fn query(table: &Literal) -> Stmt {
    sql!(
        "WITH RECURSIVE part (oid) AS (
            SELECT to_regclass({})::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN part ON i.inhparent = part.oid)
         SELECT json_build_object(
                'live', coalesce(sum(pg_stat_get_live_tuples(part.oid)), 0)::bigint,
                'dead', coalesce(sum(pg_stat_get_dead_tuples(part.oid)), 0)::bigint,
                'vacuuming', EXISTS (SELECT FROM pg_stat_progress_vacuum v JOIN part p ON p.oid = v.relid
                                       LEFT JOIN s ON s.pid = v.pid
                                      WHERE v.datname = current_database() AND s.ours IS NOT TRUE))
           FROM part",
        table
    )
}

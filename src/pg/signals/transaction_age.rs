//! The oldest transaction of anybody else in this database, prepared ones included: no vacuum, and no pruning of a page, removes
//! what it may still see. The horizon that replicas and slots hold (hot_standby_feedback) has no age and is not seen here.

use crate::pace::Named;

pub(super) const QUERY: &str = "SELECT json_build_object('name', o.name,
        'value', greatest(extract(epoch FROM clock_timestamp() - o.since) * 1000, 0)::bigint)
   FROM (SELECT format('a transaction of %s (pid %s)', coalesce(nullif(application, ''), usename), pid) AS name,
                xact_start AS since
           FROM s WHERE client AND here AND NOT ours AND xact_start IS NOT NULL
          UNION ALL
         SELECT format('the prepared transaction %L', gid), prepared
           FROM pg_prepared_xacts WHERE database = current_database()) o
  ORDER BY o.since LIMIT 1";

/// Where nobody has one.
pub(super) fn none() -> Named<u64> {
    Named { name: "nobody".to_owned(), value: 0 }
}

//! No index of the given tables is invalid, left over by a failed build, or still being built.
//!
//! Reads the catalogue only. A failed CREATE INDEX CONCURRENTLY leaves an index that no query uses and every write pays for (a
//! unique one even refuses rows); a failed REINDEX CONCURRENTLY one whose name ends in `_ccnew` or `_ccold`. A build that is
//! going on looks the same, so it is told by its process. The partitions of a table count with it.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::Site,
    sql,
    sql::{List, Literal, QName, Stmt},
};

/// A check of the kind `invalid_indexes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvalidIndexes {
    pub tables: Vec<QName>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind   = "invalid_indexes"
tables = ["app.trades", "app.users"]
"#;

impl CheckKind for InvalidIndexes {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.tables.is_empty() {
            site.error("tables", "TM0290", "no table is named");
        }
    }

    fn lower(&self) -> Gate {
        // regclass, and not to_regclass: a table that is not there has no invalid index, but that is no pass.
        let tables: Vec<Stmt> = self.tables.iter().map(|t| sql!("{}::regclass", Literal::new(t.to_string()))).collect();
        let names: Vec<String> = self.tables.iter().map(QName::to_string).collect();
        Gate {
            id: format!("invalid_indexes:{}", names.join(",")),
            kind: "invalid_indexes".to_owned(),
            title: format!("every index of {} is valid", names.join(", ")),
            query: query(&tables),
            baseline: None,
            tables: self.tables.clone(),
            wait: None,
            measure: Measure::Query,
        }
    }
}

/// Another role's build shows its process in the progress view but, without pg_read_all_stats, not its index: that process is
/// recognised by the lock that it holds on the table. A table's TOAST index can be left behind by REINDEX too.
fn query(tables: &[Stmt]) -> Stmt {
    sql!(
        r#"WITH RECURSIVE tree AS (
                SELECT c.oid, c.relkind, c.reltoastrelid FROM pg_class c WHERE c.oid = ANY (ARRAY[{0}])
                UNION SELECT c.oid, c.relkind, c.reltoastrelid FROM tree t JOIN pg_inherits h ON h.inhparent = t.oid AND t.relkind = 'p'
                        JOIN pg_class c ON c.oid = h.inhrelid),
           wanted AS (SELECT t.oid FROM tree t UNION SELECT t.reltoastrelid FROM tree t WHERE t.reltoastrelid <> 0),
           suspect AS (
                SELECT i.indexrelid, i.indrelid, format('%I.%I', n.nspname, x.relname) AS name, x.relkind, x.relispartition,
                       i.indisvalid AND i.indisready AND i.indislive AS usable
                  FROM pg_index i JOIN wanted w ON w.oid = i.indrelid
                  JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
                 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) OR x.relname ~ '_cc(new|old)[0-9]*$')
           SELECT CASE WHEN b.pid IS NOT NULL THEN format('index %s is being built by pid %s: wait for it', s.name, b.pid)
                       WHEN s.usable THEN format('index %s is left over from a REINDEX CONCURRENTLY: DROP INDEX CONCURRENTLY %s', s.name, s.name)
                       WHEN s.relkind = 'I' THEN format('index %s of a partitioned table is invalid, since a partition lacks it: CREATE INDEX CONCURRENTLY on that partition and ALTER INDEX %s ATTACH PARTITION, or DROP INDEX %s', s.name, s.name, s.name)
                       WHEN s.relispartition THEN format('index %s of a partition is invalid: REINDEX INDEX CONCURRENTLY %s', s.name, s.name)
                       ELSE format('index %s is invalid, left by a failed build: DROP INDEX CONCURRENTLY %s', s.name, s.name)
                  END AS what,
                  1::bigint AS found, pg_get_indexdef(s.indexrelid) AS example
             FROM suspect s
             LEFT JOIN LATERAL (
                  SELECT p.pid FROM pg_stat_progress_create_index p
                   WHERE p.datname = current_database()
                     AND (p.index_relid = s.indexrelid
                          OR p.relid = s.indrelid AND s.name ~ '_cc(new|old)[0-9]*"?$' AND p.command LIKE 'REINDEX%'
                          OR p.relid IS NULL AND EXISTS (
                               SELECT FROM pg_locks l
                                WHERE l.pid = p.pid AND l.relation = s.indrelid AND l.granted
                                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())))
                   LIMIT 1) b ON true
            ORDER BY s.name"#,
        List(tables, ", ")
    )
}

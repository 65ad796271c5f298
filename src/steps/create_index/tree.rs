//! An index as queries of the catalogue see it: on a plain table itself, on a partitioned one the index of the parent and one
//! of each partition, at every level.
//!
//! PostgreSQL refuses CONCURRENTLY on a partitioned table (0A000). So: the parent's index ON ONLY it, which stays invalid; a
//! build CONCURRENTLY on each partition, under a derived name; ALTER INDEX … ATTACH PARTITION, of which the last makes the
//! parent's index valid. A partition that is made meanwhile has its index at once, since the parent's is there. An equal index
//! that a partition had before is not attached: an attached index cannot be detached, and dropping the parent's drops it too,
//! so that the undo would take what was not ours. The price is a second index beside it, whose owner may drop the first.

use crate::{
    sql,
    sql::{Ident, Literal, QName, Stmt},
    unit::{Due, Probe, Twin},
};

/// What the queries are about.
pub(super) struct Tree<'a> {
    pub table: &'a QName,
    pub name: &'a Ident,
    pub unique: Stmt,
    /// Everything behind the table's name.
    pub definition: Stmt,
    /// The same without the tablespace.
    pub unplaced: Stmt,
    pub tablespace: Option<&'a Ident>,
    /// NULLS NOT DISTINCT is asked for.
    pub needs_15: bool,
}

/// The name of the index of one of the partitions, which `space` and `rel` name, where that of `table` is `name`: readable, at
/// most 63 bytes, and with a hash that no name of somebody else has by chance; by it an index is known as ours, even on a
/// partition that was detached.
pub(in crate::steps) fn derived(table: &QName, name: &Ident, space: &str, rel: &str) -> Stmt {
    let (space, rel) = (Stmt::raw(space), Stmt::raw(rel));
    let whole = sql!("({} || '_' || {})", rel, Literal::new(name.as_str()));
    // 54 characters, or 13 of up to four bytes, leave room for the hash.
    sql!(
        "left({0}, CASE WHEN octet_length(left({0}, 54)) <= 54 THEN 54 ELSE 13 END) || '_' || left(encode(sha256(convert_to(
                 format('%s %I.%I', {1}, {2}, {3}), 'UTF8')), 'hex'), 8)",
        whole,
        Literal::new(table.sibling(name.clone()).to_string()),
        space,
        rel
    )
}

impl Tree<'_> {
    fn derived(&self, space: &str, rel: &str) -> Stmt {
        derived(self.table, self.name, space, rel)
    }

    /// Tables and their indexes: `own` by its name, `attached` to the index of the parent; `idx` whichever there is. Then the
    /// builds under way, and what failed ones left: `wreck`.
    /// A build that goes on holds SHARE UPDATE EXCLUSIVE and stands in the progress view; of another role's build the view
    /// shows no more than the pid, so the two are joined. What a failed REINDEX CONCURRENTLY left has the name, cut to fit,
    /// with _ccnew or _ccold. A partition that is being detached is none any more (its column came with 14).
    fn with(&self) -> Stmt {
        let own = |rel: &str, name: &str| {
            sql!(
                "(SELECT x.indexrelid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = {} AND c.relname = {})",
                Stmt::raw(rel),
                Stmt::raw(name)
            )
        };
        sql!(
            "WITH RECURSIVE tree AS (
                 SELECT k.oid AS rel, k.relkind AS kind, 0 AS depth, NULL::oid AS above, n.nspname::text AS space,
                        format('%I.%I', n.nspname, k.relname) AS tab, w.name, o.idx AS own, NULL::oid AS attached, o.idx
                   FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace
                  CROSS JOIN LATERAL (SELECT {}::text COLLATE \"C\" AS name) w CROSS JOIN LATERAL (SELECT {} AS idx) o
                  WHERE k.oid = to_regclass({})
                 UNION ALL
                 SELECT p.oid, p.relkind, t.depth + 1, t.rel, n.nspname::text, format('%I.%I', n.nspname, p.relname), w.name,
                        o.idx, a.idx, coalesce(a.idx, o.idx)
                   FROM tree t JOIN pg_inherits h ON h.inhparent = t.rel AND t.kind = 'p'
                   JOIN pg_class p ON p.oid = h.inhrelid JOIN pg_namespace n ON n.oid = p.relnamespace
                  CROSS JOIN LATERAL (SELECT ({}) COLLATE \"C\" AS name) w CROSS JOIN LATERAL (SELECT {} AS idx) o
                  CROSS JOIN LATERAL (SELECT (SELECT x.indexrelid FROM pg_index x JOIN pg_inherits b ON b.inhrelid = x.indexrelid
                                               WHERE x.indrelid = p.oid AND b.inhparent = t.idx) AS idx) a
                  WHERE NOT coalesce((to_jsonb(h) ->> 'inhdetachpending')::boolean, false)),
             building AS (
                 SELECT p.pid, p.index_relid, l.relation FROM pg_stat_progress_create_index p
                   JOIN pg_database d ON d.oid = p.datid AND d.datname = current_database()
                   JOIN pg_locks l ON l.pid = p.pid AND l.locktype = 'relation' AND l.database = d.oid AND l.granted
                  WHERE l.mode = 'ShareUpdateExclusiveLock'),
             wreck AS (
                 SELECT t.rel, t.tab, x.indexrelid AS idx, format('%I.%I', t.space, c.relname) AS name, c.relname = t.name AS own
                   FROM tree t JOIN pg_index x ON x.indrelid = t.rel JOIN pg_class c ON c.oid = x.indexrelid
                  CROSS JOIN LATERAL (SELECT regexp_replace(c.relname, '_cc(new|old)[0-9]*$', '') AS stem) s
                  WHERE t.kind <> 'p' AND NOT (x.indisvalid AND x.indisready AND x.indislive)
                    AND (c.relname = t.name OR c.relname <> s.stem AND NOT EXISTS (SELECT FROM building b WHERE b.relation = t.rel)
                         AND (s.stem = t.name OR starts_with(t.name, s.stem) AND octet_length(c.relname::text) > 59))) ",
            Literal::new(self.name.as_str()),
            own("k.oid", "w.name"),
            Literal::new(self.table.to_string()),
            self.derived("n.nspname", "p.relname"),
            own("p.oid", "w.name")
        )
    }

    /// The statements that are still to be run for the index to be there. The wreck of a unique index may refuse the
    /// application's rows, so wrecks go first; a partition is attached to an index that is valid, from the leaves up. An index
    /// all of whose partitions are attached and that is invalid none the less (the missing one was dropped) is validated by
    /// attaching one again; one that has no partition left is made anew.
    pub fn missing(&self) -> Due {
        let query = sql!(
            "{0}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank, d.depth, d.sql) AS place FROM (
               SELECT 0 AS rank, 0 AS depth, format('DROP INDEX CONCURRENTLY IF EXISTS %s', w.name) AS sql, 'clear' AS kind,
                      ARRAY[w.tab] AS tables FROM wreck w
               UNION ALL
               SELECT 0, 0, format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', t.space, t.name), 'clear', ARRAY[t.tab]
                 FROM tree t WHERE t.attached <> t.own AND t.kind <> 'p' AND t.own NOT IN (SELECT w.idx FROM wreck w)
               UNION ALL
               SELECT 1, t.depth, format('DROP INDEX IF EXISTS %I.%I', t.space, t.name), 'exclusive', ARRAY[t.tab] FROM tree t
                WHERE {1}
               UNION ALL
               SELECT 2, t.depth, format('CREATE %sINDEX %I ON ONLY %s %s', {2}, t.name, t.tab, {4}), 'share', ARRAY[t.tab]
                 FROM tree t WHERE t.kind = 'p' AND t.idx IS NULL OR {1}
               UNION ALL
               SELECT 3, 0, format('CREATE %sINDEX CONCURRENTLY %I ON %s %s', {2}, t.name, t.tab, {3}), 'build', ARRAY[t.tab]
                 FROM tree t WHERE t.kind <> 'p' AND t.attached IS NULL
                  AND (t.own IS NULL OR t.own IN (SELECT w.idx FROM wreck w))
               UNION ALL
               SELECT 4, -t.depth, format('ALTER INDEX %s ATTACH PARTITION %I.%I',
                                          coalesce(a.idx::regclass::text, format('%I.%I', a.space, a.name)), t.space, t.name),
                      'exclusive', ARRAY[t.tab]
                 FROM tree t JOIN tree a ON a.rel = t.above WHERE t.attached IS NULL
               UNION ALL
               SELECT 5, -a.depth, format('ALTER INDEX %s ATTACH PARTITION %s', a.idx::regclass, min(t.attached::regclass::text)),
                      'exclusive', ARRAY[a.tab]
                 FROM tree t JOIN tree a ON a.rel = t.above JOIN pg_index x ON x.indexrelid = a.idx AND NOT x.indisvalid
                GROUP BY a.rel, a.depth, a.idx, a.tab HAVING bool_and(t.attached IS NOT NULL)) d
              ORDER BY place",
            self.with(),
            Stmt::raw(
                "t.kind = 'p' AND t.attached IS NULL AND NOT EXISTS (SELECT FROM tree b WHERE b.above = t.rel)
                  AND EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = t.own AND NOT x.indisvalid)"
            ),
            Literal::new(self.unique.as_str()),
            Literal::new(self.definition.as_str()),
            self.on_parent()
        );
        Due { table: self.table.clone(), query, restores: false }
    }

    /// What stands behind the name of a partitioned table: there PostgreSQL refuses the database's own tablespace by its name
    /// (0A000), and means it where none is named.
    fn on_parent(&self) -> Stmt {
        let definition = Literal::new(self.definition.as_str());
        let Some(tablespace) = self.tablespace else { return sql!("{}", definition) };
        sql!(
            "CASE WHEN EXISTS (SELECT FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
                                WHERE d.datname = current_database() AND s.spcname = {}) THEN {} ELSE {} END",
            Literal::new(tablespace.as_str()),
            Literal::new(self.unplaced.as_str()),
            definition
        )
    }

    /// The statements that are still to be run for nothing of the index to be there. DROP INDEX CONCURRENTLY is refused of a
    /// partitioned index: it goes with what is attached to it, under ACCESS EXCLUSIVE on the parent and every partition, for
    /// a moment. Then what was not attached yet, and what a partition took along that was detached meanwhile.
    pub fn remaining(&self) -> Due {
        let query = sql!(
            "{}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank, d.sql) AS place FROM (
               SELECT 0 AS rank, format('DROP INDEX IF EXISTS %I.%I', t.space, t.name) AS sql, 'exclusive' AS kind,
                      CASE t.depth WHEN 0 THEN (SELECT array_agg(e.tab) FROM tree e) ELSE ARRAY[t.tab] END AS tables
                 FROM tree t WHERE t.kind = 'p' AND t.own IS NOT NULL AND t.attached IS NULL
               UNION ALL
               SELECT 1, format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', t.space, t.name), 'clear', ARRAY[t.tab]
                 FROM tree t WHERE t.kind <> 'p' AND t.own IS NOT NULL AND t.own IS DISTINCT FROM t.attached
               UNION ALL
               SELECT 1, format('DROP INDEX CONCURRENTLY IF EXISTS %s', w.name), 'clear', ARRAY[w.tab] FROM wreck w WHERE NOT w.own
               UNION ALL
               SELECT 1, format('DROP INDEX %sIF EXISTS %s', CASE s.kind WHEN 'I' THEN '' ELSE 'CONCURRENTLY ' END, s.name),
                      CASE s.kind WHEN 'I' THEN 'exclusive' ELSE 'clear' END, ARRAY[s.tab] FROM ({}) s) d
              ORDER BY place",
            self.with(),
            self.strays()
        );
        Due { table: self.table.clone(), query, restores: false }
    }

    /// Indexes of ours on partitions that were detached meanwhile. The hash is computed for those alone whose name has one: of the
    /// thousands of a large schema that is a part of this query's time.
    fn strays(&self) -> Stmt {
        sql!(
            "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind, format('%I.%I', n.nspname, k.relname) AS tab
               FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class k ON k.oid = x.indrelid
               JOIN pg_namespace n ON n.oid = k.relnamespace
              WHERE CASE WHEN c.relname ~ '_[0-9a-f]{{8}}$' THEN c.relname = {} ELSE false END
                AND NOT c.relispartition AND k.oid NOT IN (SELECT t.rel FROM tree t)",
            self.derived("n.nspname", "k.relname")
        )
    }

    /// The twin is a temporary table of the same name with the same index, so that the two definitions differ in the schema
    /// alone (and in ONLY, which the server writes of a partitioned table). It is made without the tablespace, which may be
    /// full, or not be there.
    pub fn probe(&self) -> Probe {
        let made = sql!(
            "(SELECT replace(replace(pg_get_indexdef(w.indexrelid), format(' ON pg_temp.%I USING ', k.relname), u.here),
                             format(' ON %s.%I USING ', pg_my_temp_schema()::regnamespace, k.relname), u.here)
                FROM pg_index w JOIN pg_class wc ON wc.oid = w.indexrelid,
                     format(' ON %s%s.%I USING ', CASE k.relkind WHEN 'p' THEN 'ONLY ' ELSE '' END,
                            k.relnamespace::regnamespace, k.relname) AS u (here)
               WHERE wc.relnamespace = pg_my_temp_schema() AND wc.relname = i.relname){}",
            self.tablespace.map_or(Stmt::raw(""), |name| sql!(" || ' TABLESPACE ' || {}", Literal::new(name.as_str())))
        );
        Probe::Catalog {
            query: self.state(&Stmt::raw("NULL::text")),
            twin: Some(Twin {
                setup: vec![
                    sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", self.table.name, self.table),
                    sql!("CREATE {}INDEX {} ON pg_temp.{} {}", self.unique, self.name, self.table.name, self.unplaced),
                ],
                query: self.state(&made),
            }),
        }
    }

    /// `made`: how the server writes what the plan says; NULL where it was not asked yet.
    fn state(&self, made: &Stmt) -> Stmt {
        let unsupported = sql!(
            "CASE WHEN {} AND current_setting('server_version_num')::int < 150000
                  THEN 'a server that does not know NULLS NOT DISTINCT: it came with PostgreSQL 15'
                  WHEN EXISTS (SELECT FROM tree t WHERE t.kind = 'f')
                  THEN (SELECT format('the foreign table %s, a partition: an index that is built partition by partition never becomes valid there',
                                      min(t.tab)) FROM tree t WHERE t.kind = 'f') END",
            Stmt::raw(if self.needs_15 { "true" } else { "false" })
        );
        sql!(
            "{0}SELECT CASE WHEN z.why IS NOT NULL OR b.pid IS NOT NULL THEN 'conflict'
                         WHEN i.oid IS NULL THEN CASE WHEN r.name IS NULL THEN 'absent' ELSE 'partial' END
                         WHEN x.indrelid IS DISTINCT FROM k.oid THEN 'conflict'
                         WHEN k.relkind <> 'p' AND NOT (x.indisvalid AND x.indisready AND x.indislive) THEN 'partial'
                         WHEN m.made IS NULL THEN 'compare' WHEN m.made <> m.def THEN 'conflict'
                         WHEN x.indisvalid THEN 'present' ELSE 'partial' END,
                    CASE WHEN z.why IS NOT NULL THEN z.why WHEN b.pid IS NOT NULL THEN format('being built by pid %s: %s', b.pid, b.def)
                         WHEN i.oid IS NULL THEN 'left over: ' || r.name
                         WHEN x.indexrelid IS NULL THEN format('%s, which is no index', i.oid::regclass)
                         WHEN x.indrelid <> k.oid THEN m.def
                         WHEN k.relkind <> 'p' AND NOT (x.indisvalid AND x.indisready AND x.indislive)
                         THEN 'invalid: ' || m.def
                         WHEN m.made <> m.def THEN format('%s; the plan says: %s', m.def, m.made)
                         WHEN NOT x.indisvalid THEN format('invalid: %s; partitions without it: %s', m.def,
                              (SELECT string_agg(t.tab, ', ' ORDER BY t.tab) FROM tree t WHERE t.depth > 0 AND t.attached IS NULL))
                         ELSE m.def END,
                    NULL::text[]
               FROM (SELECT to_regclass({1}) AS rel) q
               LEFT JOIN pg_class k ON k.oid = q.rel
               LEFT JOIN pg_class i ON i.relnamespace = k.relnamespace AND i.relname = {2}
               LEFT JOIN pg_index x ON x.indexrelid = i.oid
               LEFT JOIN LATERAL (
                    SELECT g.pid, pg_get_indexdef(w.idx) AS def FROM wreck w
                      JOIN building g ON g.relation = w.rel AND coalesce(g.index_relid, 0) IN (0, w.idx)
                     WHERE w.own LIMIT 1) b ON true
               LEFT JOIN LATERAL (
                    SELECT min(e.name) AS name FROM (
                      SELECT format('%I.%I', t.space, t.name) AS name FROM tree t WHERE t.depth > 0 AND t.own IS NOT NULL
                      UNION ALL SELECT w.name FROM wreck w UNION ALL SELECT s.name FROM ({3}) s) e) r ON true
               CROSS JOIN LATERAL (SELECT {4} AS why) z CROSS JOIN LATERAL (SELECT {5} AS made, pg_get_indexdef(i.oid){6} AS def) m",
            self.with(),
            Literal::new(self.table.to_string()),
            Literal::new(self.name.as_str()),
            self.strays(),
            unsupported,
            made,
            Stmt::raw(self.tablespace.map_or("", |_| {
                " || ' TABLESPACE ' || (SELECT s.spcname FROM pg_tablespace s JOIN pg_database d ON d.datname = current_database()
                                         WHERE s.oid = coalesce(nullif(i.reltablespace, 0), d.dattablespace))"
            }))
        )
    }
}

//! What is run: the builds, the exchange, and what brings the old one back, as queries that say what is still due.
//!
//! PostgreSQL makes no constraint of an index on a partitioned table (0A000). But it takes what stands on the partitions for
//! its own: where each of them has an equal constraint (or index), ADD CONSTRAINT (or CREATE INDEX) on the table above
//! attaches these and reads no row. So the builds are of the partitions, and the exchange goes from them upwards, in one
//! transaction.

use super::state::State;
use crate::{
    sql,
    sql::{Literal, Stmt},
};

/// One that an earlier build left, and those that are still to be built.
const BUILDS: &str = "SELECT 0 AS rank, format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', space, name) AS sql, 'clear' AS kind, ARRAY[tab] AS tables
                 FROM scratch WHERE NOT whole
               UNION ALL
               SELECT 1, format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s USING btree (%I, %s%s%s', b.scratch, b.tab, b.tenant, b.body, b.placed, b.pred),
                      'build', ARRAY[b.tab]
                 FROM olds b WHERE b.kind <> 'p' AND NOT EXISTS (SELECT FROM scratch s WHERE s.whole AND s.rel = b.rel) AND NOT EXISTS (SELECT FROM new)";

impl State<'_> {
    /// First the builds, then what makes it the old one again, the partitions' first: its name, comments, marks; then the new one
    /// goes, unless it was there before. What is about a partition says so, since that may be gone by then.
    pub(super) fn restore(&self) -> Stmt {
        sql!(
            "(SELECT array_agg(x.mark || x.sql ORDER BY x.rank, x.depth DESC, x.tab, x.n) FROM (
               SELECT 0 AS rank, b.depth, b.tab, b.mark, 0 AS n,
                      format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s USING btree (%s%s%s', b.coming, b.tab, b.body, b.placed, b.pred) AS sql
                 FROM olds b WHERE b.kind <> 'p'
               UNION ALL
               SELECT 1, b.depth, b.tab, b.mark, e.n, e.sql FROM olds b CROSS JOIN LATERAL unnest(ARRAY[
                 CASE WHEN b.con IS NOT NULL AND b.kind = 'p' THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s', b.tab, b.name, b.condef)
                      WHEN b.con IS NOT NULL THEN format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I%s', b.tab, b.name, b.coming, b.deferral)
                      WHEN b.kind = 'p' THEN format('CREATE UNIQUE INDEX %I ON %s USING btree (%s%s%s', b.name, b.tab, b.body, b.placed, b.pred)
                      ELSE format('ALTER INDEX %I.%I RENAME TO %I', b.space, b.coming, b.name) END,
                 format('COMMENT ON CONSTRAINT %I ON %s IS ', b.name, b.tab) || quote_literal(obj_description(b.con, 'pg_constraint')),
                 format('COMMENT ON INDEX %I.%I IS ', b.space, b.name) || quote_literal(obj_description(b.oid, 'pg_class')),
                 (SELECT string_agg(format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', b.space, b.name, a.attnum, a.attstattarget), '; ' ORDER BY a.attnum)
                    FROM pg_attribute a WHERE a.attrelid = b.oid AND a.attstattarget >= 0),
                 CASE WHEN b.replident THEN format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', b.tab, b.name) END,
                 CASE WHEN b.clustered THEN format('ALTER TABLE %s CLUSTER ON %I', b.tab, b.name) END]) WITH ORDINALITY AS e (sql, n)
               UNION ALL
               SELECT 2, 0, '', '', 0, CASE WHEN n.oid IS NOT NULL THEN NULL
                    WHEN o.con IS NULL THEN format('DROP INDEX %I.%I', o.space, o.fresh)
                    ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', o.tab, o.fresh) END) x WHERE x.sql IS NOT NULL)"
        )
    }

    /// The builds, after what failed ones left.
    pub fn build(&self) -> Stmt {
        sql!(
            "{}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank, d.sql) AS place FROM ({}) d ORDER BY place",
            self.with(),
            Stmt::raw(BUILDS)
        )
    }

    /// Drops the indexes while they have their scratch names: under its own the new one goes when the old one comes back.
    pub fn unbuild(&self) -> Stmt {
        sql!(
            "{}SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', space, name) AS sql, 'clear' AS kind, ARRAY[tab] AS tables,
                      row_number() OVER (ORDER BY tab) AS place
                 FROM scratch ORDER BY place",
            self.with()
        )
    }

    /// The exchange as one script, hence one transaction, after the builds of partitions that came meanwhile. What a table has of
    /// the old index beyond uniqueness, its replica identity and its CLUSTER mark, goes over to the new one: without, updates of a
    /// published table would fail.
    pub fn swap(&self) -> Stmt {
        sql!(
            "{}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank, d.sql) AS place FROM ({}
               UNION ALL
               SELECT 2, concat_ws('; ',
                      (SELECT string_agg(concat_ws('; ',
                         CASE WHEN n.oid IS NOT NULL THEN NULL
                              WHEN b.con IS NOT NULL AND b.kind = 'p'
                              THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s', b.tab, b.fresh, regexp_replace(b.condef, '[(]', format('(%I, ', b.tenant)))
                              WHEN b.con IS NOT NULL THEN format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I%s', b.tab, b.fresh, b.scratch, b.deferral)
                              WHEN b.kind = 'p' THEN format('CREATE UNIQUE INDEX %I ON %s USING btree (%I, %s%s%s', b.fresh, b.tab, b.tenant, b.body, b.placed, b.pred)
                              ELSE format('ALTER INDEX %I.%I RENAME TO %I', b.space, b.scratch, b.fresh) END,
                         CASE WHEN b.replident THEN format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', b.tab, coalesce(w.name, b.fresh)) END,
                         CASE WHEN b.clustered THEN format('ALTER TABLE %s CLUSTER ON %I', b.tab, coalesce(w.name, b.fresh)) END), '; ' ORDER BY b.depth DESC, b.tab)
                         FROM olds b LEFT JOIN news w ON w.rel = b.rel),
                      CASE WHEN o.con IS NULL THEN format('DROP INDEX %I.%I', o.space, o.name)
                           ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', o.tab, o.name) END),
                      'exclusive', (SELECT array_agg(e.tab ORDER BY e.depth, e.tab) FROM tree e)
                 FROM old o LEFT JOIN new n ON true
                WHERE n.whole OR n.oid IS NULL AND NOT EXISTS (
                      SELECT FROM tree e WHERE e.kind <> 'p' AND NOT EXISTS (SELECT FROM scratch s WHERE s.rel = e.rel AND s.whole))) d
              ORDER BY place",
            self.with(),
            Stmt::raw(BUILDS)
        )
    }

    /// What brings the old one back, from what was noted before: the builds, then all the rest as one script. A partition that is
    /// gone by now is passed over; one that came since gets an index like its siblings'.
    pub fn unswap(&self) -> Stmt {
        let concurrently = Literal::new("CREATE UNIQUE INDEX CONCURRENTLY ");
        sql!(
            "{0}, noted AS (
                 SELECT e.sql, e.n, starts_with(substr(e.sql, length(coalesce(t.mark, '')) + 1), {1}) AS builds, coalesce(t.rel, r.rel) AS rel
                   FROM unnest($1) WITH ORDINALITY AS e (sql, n) LEFT JOIN tree t ON t.depth > 0 AND starts_with(e.sql, t.mark) CROSS JOIN t r
                  WHERE t.rel IS NOT NULL OR NOT starts_with(e.sql, '/* ')),
             late AS (
                 SELECT i.*, substr(i.body, length(format('%I, ', i.tenant)) + 1) AS bare FROM news i
                  WHERE i.kind <> 'p' AND i.depth > 0 AND NOT EXISTS (SELECT FROM noted o WHERE o.rel = i.rel AND o.builds))
             SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank, d.sql) AS place FROM (
               SELECT 0 AS rank, format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', space, name) AS sql, 'clear' AS kind, ARRAY[tab] AS tables
                 FROM coming WHERE NOT whole OR EXISTS (SELECT FROM old)
               UNION ALL
               SELECT 1, o.sql, 'build', ARRAY[e.tab] FROM noted o JOIN tree e USING (rel)
                WHERE o.builds AND NOT EXISTS (SELECT FROM old) AND NOT EXISTS (SELECT FROM coming c WHERE c.rel = o.rel AND c.whole)
               UNION ALL
               SELECT 1, format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s USING btree (%s%s%s', i.coming, i.tab, i.bare, i.placed, i.pred), 'build', ARRAY[i.tab]
                 FROM late i WHERE NOT EXISTS (SELECT FROM old) AND NOT EXISTS (SELECT FROM coming c WHERE c.rel = i.rel AND c.whole)
               UNION ALL
               SELECT 2, concat_ws('; ',
                      (SELECT string_agg(CASE WHEN i.con IS NULL THEN format('ALTER INDEX %I.%I RENAME TO %I', i.space, i.coming, k.name)
                                              ELSE format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I%s', i.tab, k.name, i.coming, i.deferral) END, '; ')
                         FROM late i CROSS JOIN LATERAL (SELECT regexp_replace(i.coming, '_[0-9a-f]{{8}}$', '_key') AS name) k),
                      (SELECT string_agg(o.sql, '; ' ORDER BY o.n) FROM noted o WHERE NOT o.builds)),
                      'exclusive', (SELECT array_agg(e.tab ORDER BY e.depth, e.tab) FROM tree e)
                 FROM t WHERE NOT EXISTS (SELECT FROM old)) d
              ORDER BY place",
            self.with(),
            concurrently
        )
    }
}

//! The old UNIQUE and the new one as queries of the catalogue see them: what is there, what is due, and what brings the old back.
//!
//! The new index is built under a scratch name, and gets its own when the old one goes; on the way back likewise. So an index
//! of the new name was there before, whoever made it, and a half-way state is told by the names alone. Everything that the
//! new index has besides its first key is the old one's text, as the server writes it.

use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::Probe,
};

/// What the queries are about.
pub(super) struct State<'a> {
    pub table: &'a QName,
    pub tenant: &'a Ident,
    /// The keys of the old one; `None` for an expression.
    pub keys: Vec<Option<&'a Ident>>,
    pub partial: bool,
    pub constraint: Option<&'a Ident>,
    pub new: Ident,
    /// The new one's name until it takes the old one's place.
    pub scratch: Ident,
    /// The old one's name until it is back.
    pub returning: Ident,
}

impl State<'_> {
    /// `t` the table; `idx` its unique indexes, with `body` and `pred` as the server writes them; of these `old`, `new`,
    /// `scratch` and `coming`, at most one row each but for `old`.
    fn with(&self) -> Stmt {
        sql!(
            "WITH t AS (
                 SELECT k.oid AS rel, k.relkind AS kind, n.nspname AS space, format('%I.%I', n.nspname, k.relname) AS tab,
                        a.attname AS tenant, a.attnum AS num, a.attnotnull AS filled
                   FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace
                   LEFT JOIN pg_attribute a ON a.attrelid = k.oid AND a.attname = {} AND a.attnum > 0 AND NOT a.attisdropped
                  WHERE k.oid = to_regclass({})),
             idx AS (
                 SELECT t.*, x.indexrelid AS oid, i.relname AS name, i.relispartition AS part, c.oid AS con,
                        (x.indisvalid AND x.indisready AND x.indislive) AS whole, x.indisreplident AS replident,
                        x.indisclustered AS clustered, (x.indpred IS NOT NULL) AS partial, p.pred, w.names,
                        format(' TABLESPACE %I', s.spcname) AS placed,
                        CASE WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN c.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS deferral,
                        substr(d.def, d.head + 1, length(d.def) - d.head - length(p.pred)) AS body
                   FROM t JOIN pg_index x ON x.indrelid = t.rel AND x.indisunique AND NOT x.indisprimary AND NOT x.indisexclusion
                   JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam AND m.amname = 'btree'
                   LEFT JOIN pg_constraint c ON c.conindid = x.indexrelid AND c.conrelid = t.rel AND c.contype = 'u'
                   JOIN pg_database b ON b.datname = current_database()
                   JOIN pg_tablespace s ON s.oid = coalesce(nullif(i.reltablespace, 0), b.dattablespace)
                  CROSS JOIN LATERAL (
                        SELECT ARRAY(SELECT e.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u (num, at)
                                       LEFT JOIN pg_attribute e ON e.attrelid = t.rel AND e.attnum = u.num AND u.num <> 0
                                      WHERE u.at <= x.indnkeyatts ORDER BY u.at) AS names) w
                  CROSS JOIN LATERAL (SELECT coalesce(' WHERE ' || pg_get_expr(x.indpred, x.indrelid), '') AS pred) p
                  CROSS JOIN LATERAL (
                        SELECT pg_get_indexdef(x.indexrelid) AS def,
                               length(format('CREATE UNIQUE INDEX %I ON %s%s USING btree (', i.relname,
                                             CASE t.kind WHEN 'p' THEN 'ONLY ' ELSE '' END, t.tab)) AS head) d),
             old AS (SELECT * FROM idx WHERE name NOT IN ({}, {}, {}) AND {}),
             new AS (SELECT * FROM idx WHERE name = {}),
             scratch AS (SELECT * FROM idx WHERE name = {}),
             coming AS (SELECT * FROM idx WHERE name = {}) ",
            Literal::new(self.tenant.as_str()),
            Literal::new(self.table.to_string()),
            Literal::new(self.new.as_str()),
            Literal::new(self.scratch.as_str()),
            Literal::new(self.returning.as_str()),
            self.is_old(),
            Literal::new(self.new.as_str()),
            Literal::new(self.scratch.as_str()),
            Literal::new(self.returning.as_str())
        )
    }

    /// Whether the row of `idx` is the old one: by its name where the plan gives it, else a whole one over these columns.
    fn is_old(&self) -> Stmt {
        match self.constraint {
            Some(name) => sql!("name = {}", Literal::new(name.as_str())),
            None => sql!("names = {} AND NOT partial", self.names(false)),
        }
    }

    /// The keys as an array of names, NULL for an expression; with the tenant first.
    fn names(&self, scoped: bool) -> Stmt {
        let null = Stmt::raw("NULL");
        let keys = self.keys.iter().map(|key| key.map_or(null.clone(), |key| sql!("{}", Literal::new(key.as_str()))));
        let tenant = scoped.then(|| sql!("{}", Literal::new(self.tenant.as_str())));
        sql!("ARRAY[{}]::text[]", List(&tenant.into_iter().chain(keys).collect::<Vec<_>>(), ", "))
    }

    fn is_partial(&self) -> Stmt {
        Stmt::raw(if self.partial { "true" } else { "false" })
    }

    /// Whether the index `of` is what the old one becomes: the same text behind the tenant's column. Where the old one is gone
    /// only the keys can be compared.
    fn fits(&self, of: &str) -> Stmt {
        sql!(
            "CASE WHEN o.oid IS NULL THEN {0}.names = {1} AND {0}.partial = {2}
                  ELSE ({0}.body, {0}.pred) = (format('%I, %s', o.tenant, o.body), o.pred) END",
            Stmt::raw(of),
            self.names(true),
            self.is_partial()
        )
    }

    /// Why it cannot be done, in words; NULL where it can. `o` is the old one, `n` the new one.
    /// What needs the old index hangs on it or on its constraint in pg_depend: foreign keys of others, rules with ON CONFLICT.
    fn why(&self) -> Stmt {
        sql!(
            "CASE WHEN q.rel IS NULL THEN 'no such table'
                  WHEN q.num IS NULL THEN format('no column %I in %s', {}::text, q.tab)
                  WHEN q.kind = 'p' THEN format('%s is partitioned: PostgreSQL makes no constraint of an index there, so this one is to be exchanged by hand', q.tab)
                  WHEN l.count > 1 THEN format('more than one is over these columns: %s; name one by `constraint`', l.names)
                  WHEN o.oid IS NULL AND n.oid IS NULL
                  THEN format('nothing: %s has no such unique constraint or index; it has %s', q.tab,
                              coalesce((SELECT string_agg(format('%I over (%s)', i.name, array_to_string(i.names, ', ', 'an expression')), ', ' ORDER BY i.name) FROM idx i), 'none'))
                  WHEN o.oid IS NULL THEN NULL
                  WHEN NOT o.whole THEN format('%I, which is invalid', o.name)
                  WHEN o.part THEN format('%I, which belongs to the partitioned table above %s', o.name, q.tab)
                  WHEN o.names <> {} OR o.partial <> {}
                  THEN format('%I over (%s)%s, and the plan says otherwise', o.name, array_to_string(o.names, ', ', 'an expression'), o.pred)
                  WHEN w.needs IS NOT NULL THEN format('%I, which others need: %s; scope those first (composite_foreign_key)', o.name, w.needs)
                  WHEN o.replident AND NOT q.filled
                  THEN format('%I, which is the replica identity: make %I NOT NULL first, or updates could not be replicated', o.name, q.tenant) END",
            Literal::new(self.tenant.as_str()),
            self.names(false),
            self.is_partial()
        )
    }

    /// The rows that the probes read: `q` the table, `l` how many old ones, `o`, `n`, `s` and `w`, then `z.why`.
    fn from(&self) -> Stmt {
        sql!(
            "FROM (SELECT count(*) AS count, string_agg(format('%I', name), ', ' ORDER BY name) AS names FROM old) l
               LEFT JOIN t q ON true LEFT JOIN old o ON l.count = 1 LEFT JOIN new n ON true LEFT JOIN scratch s ON true
              CROSS JOIN LATERAL (
                    SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') AS needs FROM pg_depend d
                     WHERE d.deptype = 'n' AND ((d.refclassid, d.refobjid) = ('pg_class'::regclass, o.oid)
                                                OR (d.refclassid, d.refobjid) = ('pg_constraint'::regclass, o.con))) w
              CROSS JOIN LATERAL (SELECT {} AS why) z",
            self.why()
        )
    }

    /// Recognises the new index, be it under its scratch name or, the old one gone, under its own.
    pub fn built(&self) -> Probe {
        Probe::catalog(sql!(
            "{}SELECT CASE WHEN z.why IS NOT NULL THEN 'conflict'
                           WHEN n.oid IS NOT NULL THEN CASE WHEN n.whole AND {} THEN 'present' ELSE 'conflict' END
                           WHEN s.oid IS NULL THEN 'absent' WHEN NOT s.whole THEN 'partial'
                           WHEN {} THEN 'present' ELSE 'conflict' END,
                      coalesce(z.why, pg_get_indexdef(coalesce(n.oid, s.oid))), NULL::text[]
               {}",
            self.with(),
            self.fits("n"),
            self.fits("s"),
            self.from()
        ))
    }

    /// Recognises that the new one has the old one's place. What brings the old one back is told while it is there.
    pub fn swapped(&self) -> Probe {
        Probe::catalog(sql!(
            "{}SELECT CASE WHEN z.why IS NOT NULL THEN 'conflict'
                           WHEN n.oid IS NOT NULL AND NOT (n.whole AND {}) THEN 'conflict'
                           WHEN o.oid IS NULL THEN 'present' ELSE 'absent' END,
                      coalesce(z.why, pg_get_indexdef(n.oid)),
                      {}
               {}",
            self.with(),
            self.fits("n"),
            self.restore(),
            self.from()
        ))
    }

    /// First the build, then what makes it the old one again: its name, comments, marks; then the new one goes, unless it was
    /// there before.
    fn restore(&self) -> Stmt {
        sql!(
            "CASE WHEN o.oid IS NOT NULL THEN array_remove(ARRAY[
               format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s USING btree (%s%s%s', {0}::text, o.tab, o.body, o.placed, o.pred),
               CASE WHEN o.con IS NULL THEN format('ALTER INDEX %I.%I RENAME TO %I', o.space, {0}::text, o.name)
                    ELSE format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I%s', o.tab, o.name, {0}::text, o.deferral) END,
               format('COMMENT ON CONSTRAINT %I ON %s IS ', o.name, o.tab) || quote_literal(obj_description(o.con, 'pg_constraint')),
               format('COMMENT ON INDEX %I.%I IS ', o.space, o.name) || quote_literal(obj_description(o.oid, 'pg_class')),
               (SELECT string_agg(format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', o.space, o.name, a.attnum, a.attstattarget), '; ' ORDER BY a.attnum)
                  FROM pg_attribute a WHERE a.attrelid = o.oid AND a.attstattarget >= 0),
               CASE WHEN o.replident THEN format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', o.tab, o.name) END,
               CASE WHEN o.clustered THEN format('ALTER TABLE %s CLUSTER ON %I', o.tab, o.name) END,
               CASE WHEN n.oid IS NOT NULL THEN NULL
                    WHEN o.con IS NULL THEN format('DROP INDEX %I.%I', o.space, {1}::text)
                    ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', o.tab, {1}::text) END], NULL) END",
            Literal::new(self.returning.as_str()),
            Literal::new(self.new.as_str())
        )
    }

    /// The build, after what a failed one left.
    pub fn build(&self) -> Stmt {
        sql!(
            "{}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank) AS place FROM (
               SELECT 0 AS rank, format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', space, name) AS sql, 'clear' AS kind, ARRAY[tab] AS tables
                 FROM scratch WHERE NOT whole
               UNION ALL
               SELECT 1, format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s USING btree (%I, %s%s%s', {}::text, tab, tenant, body, placed, pred),
                      'build', ARRAY[tab]
                 FROM old WHERE NOT EXISTS (SELECT FROM scratch WHERE whole) AND NOT EXISTS (SELECT FROM new)) d
              ORDER BY place",
            self.with(),
            Literal::new(self.scratch.as_str())
        )
    }

    /// Drops the index while it has its scratch name: under its own it goes when the old one comes back.
    pub fn unbuild(&self) -> Stmt {
        sql!(
            "{}SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', space, name) AS sql, 'clear' AS kind, ARRAY[tab] AS tables, 1::bigint AS place
                 FROM scratch",
            self.with()
        )
    }

    /// The exchange as one script, hence one transaction. What the table has of the old index beyond uniqueness, its replica
    /// identity and its CLUSTER mark, goes over to the new one: without, updates of a published table would fail.
    pub fn swap(&self) -> Stmt {
        sql!(
            "{0}SELECT concat_ws('; ',
                      CASE WHEN n.oid IS NOT NULL THEN NULL
                           WHEN o.con IS NULL THEN format('ALTER INDEX %I.%I RENAME TO %I', o.space, s.name, {1}::text)
                           ELSE format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I%s', o.tab, {1}::text, s.name, o.deferral) END,
                      CASE WHEN o.replident THEN format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', o.tab, {1}::text) END,
                      CASE WHEN o.clustered THEN format('ALTER TABLE %s CLUSTER ON %I', o.tab, {1}::text) END,
                      CASE WHEN o.con IS NULL THEN format('DROP INDEX %I.%I', o.space, o.name)
                           ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', o.tab, o.name) END) AS sql,
                      'exclusive' AS kind, ARRAY[o.tab] AS tables, 1::bigint AS place
                 FROM old o LEFT JOIN new n ON true LEFT JOIN scratch s ON s.whole WHERE n.whole OR n.oid IS NULL AND s.oid IS NOT NULL",
            self.with(),
            Literal::new(self.new.as_str())
        )
    }

    /// What brings the old one back, from what was noted before: the build, then all the rest as one script.
    pub fn unswap(&self) -> Stmt {
        sql!(
            "{}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank) AS place FROM (
               SELECT 0 AS rank, format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', space, name) AS sql, 'clear' AS kind, ARRAY[tab] AS tables
                 FROM coming WHERE NOT whole OR EXISTS (SELECT FROM old)
               UNION ALL
               SELECT 1, $1[1], 'build', ARRAY[tab] FROM t WHERE NOT EXISTS (SELECT FROM old) AND NOT EXISTS (SELECT FROM coming WHERE whole)
               UNION ALL
               SELECT 2, array_to_string($1[2:], '; '), 'exclusive', ARRAY[tab] FROM t WHERE NOT EXISTS (SELECT FROM old)) d
              ORDER BY place",
            self.with()
        )
    }

    /// Whether NULLs are equal to each other in the index that stands there.
    pub fn nulls_alike(&self) -> Stmt {
        sql!(
            "coalesce((SELECT (to_jsonb(x) ->> 'indnullsnotdistinct')::boolean FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                        WHERE x.indrelid = to_regclass({}) AND i.relname = {}), false)",
            Literal::new(self.table.to_string()),
            Literal::new(self.new.as_str())
        )
    }
}

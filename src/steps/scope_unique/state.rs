//! The old UNIQUE and the new one as queries of the catalogue see them: what is there, what is due, and what brings the old back.
//!
//! The new index is built under a scratch name, and gets its own when the old one goes; on the way back likewise. So an index
//! of the new name was there before, whoever made it, and a half-way state is told by the names alone. Everything that the
//! new index has besides its first key is the old one's text, as the server writes it.

use super::super::create_index::tree::derived;
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
    /// `tree` the table with its partitions at every level, and what indexes of ours are called on each; `idx` their unique
    /// indexes, with `body` and `pred` as the server writes them, and `t` the table. Of these indexes `old` and `new` are the
    /// table's own, at most one row each but for `old`; `olds` and `news` are they with what is attached to them; `scratch` and
    /// `coming` are of those tables that have rows, for a partitioned one has no build of its own.
    pub(super) fn with(&self) -> Stmt {
        let name = |name: &Ident| {
            let derived = derived(self.table, name, "n.nspname", "p.relname");
            sql!("CASE WHEN s.depth = 0 THEN {} ELSE {} END COLLATE \"C\"", Literal::new(name.as_str()), derived)
        };
        sql!(
            "WITH RECURSIVE seen AS (
                 SELECT to_regclass({})::oid AS rel, 0 AS depth
                 UNION ALL
                 SELECT h.inhrelid, s.depth + 1 FROM seen s JOIN pg_class k ON k.oid = s.rel AND k.relkind = 'p' JOIN pg_inherits h ON h.inhparent = s.rel
                  WHERE NOT coalesce((to_jsonb(h) ->> 'inhdetachpending')::boolean, false)),
             tree AS (
                 SELECT s.rel, s.depth, p.relkind AS kind, n.nspname AS space, format('%I.%I', n.nspname, p.relname) AS tab,
                        CASE WHEN s.depth > 0 THEN format('/* %I.%I */ ', n.nspname, p.relname) ELSE '' END AS mark,
                        a.attname AS tenant, a.attnum AS num, a.attnotnull AS filled, {} AS fresh, {} AS scratch, {} AS coming
                   FROM seen s JOIN pg_class p ON p.oid = s.rel JOIN pg_namespace n ON n.oid = p.relnamespace
                   LEFT JOIN pg_attribute a ON a.attrelid = p.oid AND a.attname = {} AND a.attnum > 0 AND NOT a.attisdropped),
             t AS (SELECT * FROM tree WHERE depth = 0),
             idx AS (
                 SELECT t.*, x.indexrelid AS oid, i.relname AS name, i.relispartition AS part, c.oid AS con,
                        (x.indisvalid AND x.indisready AND x.indislive) AS whole, x.indisreplident AS replident,
                        x.indisclustered AS clustered, (x.indpred IS NOT NULL) AS partial, p.pred, w.names,
                        CASE WHEN t.kind <> 'p' OR i.reltablespace <> 0 THEN format(' TABLESPACE %I', s.spcname) ELSE '' END AS placed,
                        f.deferral, regexp_replace(pg_get_constraintdef(c.oid), ' DEFERRABLE.*$', '') || coalesce(' WITH (' || array_to_string(i.reloptions, ', ') || ')', '')
                          || CASE WHEN i.reltablespace <> 0 THEN format(' USING INDEX TABLESPACE %I', s.spcname) ELSE '' END || f.deferral AS condef,
                        substr(d.def, d.head + 1, length(d.def) - d.head - length(p.pred)) AS body
                   FROM tree t JOIN pg_index x ON x.indrelid = t.rel AND x.indisunique AND NOT x.indisprimary AND NOT x.indisexclusion
                   JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam AND m.amname = 'btree'
                   LEFT JOIN pg_constraint c ON c.conindid = x.indexrelid AND c.conrelid = t.rel AND c.contype = 'u'
                   JOIN pg_database b ON b.datname = current_database()
                   JOIN pg_tablespace s ON s.oid = coalesce(nullif(i.reltablespace, 0), b.dattablespace)
                  CROSS JOIN LATERAL (
                        SELECT ARRAY(SELECT e.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u (num, at)
                                       LEFT JOIN pg_attribute e ON e.attrelid = t.rel AND e.attnum = u.num AND u.num <> 0
                                      WHERE u.at <= x.indnkeyatts ORDER BY u.at) AS names) w
                  CROSS JOIN LATERAL (
                        SELECT CASE WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN c.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS deferral) f
                  CROSS JOIN LATERAL (SELECT coalesce(' WHERE ' || pg_get_expr(x.indpred, x.indrelid), '') AS pred) p
                  CROSS JOIN LATERAL (
                        SELECT pg_get_indexdef(x.indexrelid) AS def,
                               length(format('CREATE UNIQUE INDEX %I ON %s%s USING btree (', i.relname,
                                             CASE t.kind WHEN 'p' THEN 'ONLY ' ELSE '' END, t.tab)) AS head) d),
             old AS (SELECT * FROM idx WHERE depth = 0 AND name NOT IN (fresh, scratch, coming) AND {}),
             new AS (SELECT * FROM idx WHERE depth = 0 AND name = fresh),
             olds AS (SELECT * FROM old UNION ALL
                      SELECT i.* FROM olds o JOIN pg_inherits h ON h.inhparent = o.oid JOIN idx i ON i.oid = h.inhrelid),
             news AS (SELECT * FROM new UNION ALL
                      SELECT i.* FROM news o JOIN pg_inherits h ON h.inhparent = o.oid JOIN idx i ON i.oid = h.inhrelid),
             scratch AS (SELECT * FROM idx WHERE name = scratch AND kind <> 'p'),
             coming AS (SELECT * FROM idx WHERE name = coming AND kind <> 'p') ",
            Literal::new(self.table.to_string()),
            name(&self.new),
            name(&self.scratch),
            name(&self.returning),
            Literal::new(self.tenant.as_str()),
            self.is_old()
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

    /// Whether the table's index `n` is what the old one becomes: the same text behind the tenant's column. Where the old one is
    /// gone only the keys can be compared.
    fn fits(&self) -> Stmt {
        sql!(
            "CASE WHEN o.oid IS NULL THEN n.names = {0} AND n.partial = {1}
                  ELSE (n.body, n.pred) = (format('%I, %s', o.tenant, o.body), o.pred) END",
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
                  WHEN l.count > 1 THEN format('more than one is over these columns: %s; name one by `constraint`', l.names)
                  WHEN o.oid IS NULL AND n.oid IS NULL
                  THEN format('nothing: %s has no such unique constraint or index; it has %s', q.tab,
                              coalesce((SELECT string_agg(format('%I over (%s)', i.name, array_to_string(i.names, ', ', 'an expression')), ', ' ORDER BY i.name) FROM idx i WHERE i.depth = 0), 'none'))
                  WHEN o.oid IS NULL THEN NULL
                  WHEN NOT o.whole THEN format('%I, which is invalid', o.name)
                  WHEN o.part THEN format('%I, which belongs to the partitioned table above %s', o.name, q.tab)
                  WHEN o.names <> {} OR o.partial <> {}
                  THEN format('%I over (%s)%s, and the plan says otherwise', o.name, array_to_string(o.names, ', ', 'an expression'), o.pred)
                  WHEN w.needs IS NOT NULL THEN format('%I, which others need: %s; scope those first (composite_foreign_key)', o.name, w.needs)
                  WHEN w.named
                  THEN format('%I, which is the replica identity: make %I NOT NULL first, or updates could not be replicated', o.name, q.tenant) END",
            Literal::new(self.tenant.as_str()),
            self.names(false),
            self.is_partial()
        )
    }

    /// The rows that the probes read: `q` the table, `l` how many old ones, `o`, `n`, what is to be known of the whole family,
    /// `w`, how far the builds are, `s`, then `z.why`.
    fn from(&self) -> Stmt {
        sql!(
            "FROM (SELECT count(*) AS count, string_agg(format('%I', name), ', ' ORDER BY name) AS names FROM old) l
               LEFT JOIN t q ON true LEFT JOIN old o ON l.count = 1 LEFT JOIN new n ON true
              CROSS JOIN LATERAL (
                    SELECT count(*) AS leaves, count(s.oid) AS begun, count(s.oid) FILTER (WHERE s.whole) AS whole,
                           bool_or(NOT CASE WHEN b.oid IS NULL THEN s.names = {} AND s.partial = {}
                                            ELSE (s.body, s.pred) = (format('%I, %s', b.tenant, b.body), b.pred) END) FILTER (WHERE s.whole) AS other,
                           min(pg_get_indexdef(s.oid)) AS def
                      FROM tree e LEFT JOIN scratch s ON s.rel = e.rel LEFT JOIN olds b ON b.rel = e.rel WHERE e.kind <> 'p') s
              CROSS JOIN LATERAL (
                    SELECT bool_or(b.replident AND NOT b.filled) AS named,
                           (SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ')
                              FROM olds b JOIN pg_depend d ON (d.refclassid, d.refobjid) = ('pg_class'::regclass, b.oid)
                                                           OR (d.refclassid, d.refobjid) = ('pg_constraint'::regclass, b.con)
                             WHERE d.deptype = 'n') AS needs
                      FROM olds b) w
              CROSS JOIN LATERAL (SELECT {} AS why) z",
            self.names(true),
            self.is_partial(),
            self.why()
        )
    }

    /// Recognises the new index, be it under its scratch name (on each partition, of a partitioned table) or, the old one gone,
    /// under its own.
    pub fn built(&self) -> Probe {
        Probe::catalog(sql!(
            "{}SELECT CASE WHEN z.why IS NOT NULL THEN 'conflict'
                           WHEN n.oid IS NOT NULL THEN CASE WHEN n.whole AND {} THEN 'present' ELSE 'conflict' END
                           WHEN s.other THEN 'conflict' WHEN s.whole = s.leaves THEN 'present'
                           WHEN s.begun = 0 THEN 'absent' ELSE 'partial' END,
                      coalesce(z.why, pg_get_indexdef(n.oid), s.def), NULL::text[]
               {}",
            self.with(),
            self.fits(),
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
                      CASE WHEN o.oid IS NOT NULL THEN {} END
               {}",
            self.with(),
            self.fits(),
            self.restore(),
            self.from()
        ))
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

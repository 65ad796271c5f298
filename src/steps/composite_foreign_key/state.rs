//! The old key and the new one as queries of the catalogue see them: what is there, what is due, and what brings the old back.

use super::super::add_foreign_key::{Action, NOT_VALID_ON_PARTITIONED};
use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt, foreign_key},
    unit::Probe,
};

/// What the queries are about.
pub(super) struct State<'a> {
    pub child: &'a QName,
    pub parent: &'a QName,
    /// The tenant's column, here and there.
    pub tenant: (&'a Ident, &'a Ident),
    /// The old key's columns, here and there.
    pub pairs: Vec<(&'a Ident, &'a Ident)>,
    pub constraint: Option<&'a Ident>,
    pub on_delete: Option<Action>,
    pub on_update: Option<Action>,
    pub name: Ident,
}

impl State<'_> {
    /// The new key's columns, here and there, as lists.
    pub fn keys(&self) -> (Stmt, Stmt) {
        let (ours, theirs): (Vec<&Ident>, Vec<&Ident>) =
            [self.tenant].into_iter().chain(self.pairs.iter().copied()).unzip();
        (sql!("{}", List(&ours, ", ")), sql!("{}", List(&theirs, ", ")))
    }

    /// Whether the row of `fk` leads from and to the columns of `pairs`, in whatever order.
    fn leads(pairs: &[(&Ident, &Ident)]) -> Stmt {
        let mut pairs = pairs.to_vec();
        pairs.sort();
        let (ours, theirs): (Vec<Literal>, Vec<Literal>) =
            pairs.iter().map(|(a, b)| (Literal::new(a.as_str()), Literal::new(b.as_str()))).unzip();
        sql!("(ours, theirs) = (ARRAY[{}]::text[], ARRAY[{}]::text[])", List(&ours, ", "), List(&theirs, ", "))
    }

    /// `q` the two tables, `leaf` the partitions that have rows; `fk` the keys from all of these; of them `old` (one row, if any,
    /// but for a mistake) and `new` are the table's own, `olds` and `news` its partitions'.
    /// `confdelsetcols` came with 15 and `conenforced` with 18, so both are read through JSON. A key that belongs to one of a
    /// partitioned table has a parent, and goes with it.
    fn with(&self) -> Stmt {
        let scoped: Vec<(&Ident, &Ident)> = [self.tenant].into_iter().chain(self.pairs.iter().copied()).collect();
        let named = match self.constraint {
            Some(name) => sql!("conname = {}", Literal::new(name.as_str())),
            None => sql!("true"),
        };
        sql!(
            "WITH q AS (
                 SELECT c.oid AS child, p.oid AS parent, c.relkind AS kind, c.relkind = 'p' AND current_setting('server_version_num')::int < {8} AS apart, a.attnum AS ours, b.attnum AS theirs,
                        format('%s.%I', c.relnamespace::regnamespace, c.relname) AS child_name,
                        format('%s.%I', p.relnamespace::regnamespace, p.relname) AS parent_name
                   FROM (SELECT to_regclass({4}) AS child, to_regclass({5}) AS parent) r
                   LEFT JOIN pg_class c ON c.oid = r.child LEFT JOIN pg_class p ON p.oid = r.parent
                   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = {6} AND NOT a.attisdropped
                   LEFT JOIN pg_attribute b ON b.attrelid = p.oid AND b.attname = {7} AND NOT b.attisdropped),
             leaf AS (
                 SELECT l.relid::oid AS rel FROM q CROSS JOIN LATERAL pg_partition_tree(q.child) l WHERE l.isleaf AND q.kind = 'p'),
             fk AS (
                 SELECT c.oid, c.conrelid AS rel, c.conrelid = q.child AS top, s.tab, c.conname, c.convalidated, c.conparentid, c.confupdtype, c.confdeltype, c.confmatchtype, c.condeferrable,
                        c.condeferred, k.ours, k.theirs, k.clears, {9} AS def,
                        coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true' AS enforced,
                        NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = c.oid AND g.tgenabled <> 'O') AS fires
                   FROM q JOIN pg_constraint c ON c.contype = 'f' AND (c.conrelid = q.child OR c.conrelid IN (SELECT rel FROM leaf)) AND c.confrelid = q.parent
                  CROSS JOIN LATERAL (SELECT format('%s.%I', k.relnamespace::regnamespace, k.relname) AS tab FROM pg_class k WHERE k.oid = c.conrelid) s
                  CROSS JOIN LATERAL (
                        SELECT array_agg(a.attname::text ORDER BY a.attname COLLATE \"C\") AS ours,
                               array_agg(b.attname::text ORDER BY a.attname COLLATE \"C\") AS theirs,
                               string_agg(quote_ident(a.attname), ', ' ORDER BY u.at) FILTER (
                                   WHERE jsonb_typeof(s.cols) IS DISTINCT FROM 'array' OR s.cols @> to_jsonb(u.ours)) AS clears
                          FROM (SELECT to_jsonb(c) -> 'confdelsetcols' AS cols) s
                         CROSS JOIN unnest(c.conkey, c.confkey) WITH ORDINALITY AS u (ours, theirs, at)
                          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.ours
                          JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = u.theirs) k),
             olds AS (SELECT * FROM fk WHERE NOT top AND conname <> {0} AND {2}),
             news AS (SELECT fk.*, {3} AS scoped FROM fk WHERE NOT top AND conname = {0}),
             old AS (SELECT * FROM fk WHERE top AND conname <> {0} AND {1} AND {2}),
             new AS (SELECT fk.*, {3} AS scoped FROM fk WHERE top AND conname = {0}) ",
            Literal::new(self.name.as_str()),
            named,
            Self::leads(&self.pairs),
            Self::leads(&scoped),
            Literal::new(self.child.to_string()),
            Literal::new(self.parent.to_string()),
            Literal::new(self.tenant.0.as_str()),
            Literal::new(self.tenant.1.as_str()),
            NOT_VALID_ON_PARTITIONED,
            foreign_key::definition(&Stmt::raw("c"))
        )
    }

    /// The actions as the catalogue codes them: the plan's, else the old key's, else none.
    fn actions(&self) -> (Stmt, Stmt) {
        let code = |action: Option<Action>, column: &str| match action {
            Some(action) => sql!("{}::text", action.sql().1),
            None => sql!("coalesce(o.{}::text, 'a')", Stmt::raw(column)),
        };
        (code(self.on_update, "confupdtype"), code(self.on_delete, "confdeltype"))
    }

    /// Why it cannot be done, in words; NULL where it can.
    fn why(&self) -> Stmt {
        sql!(
            "CASE WHEN q.child IS NULL OR q.parent IS NULL THEN 'no such table'
                  WHEN q.ours IS NULL OR q.theirs IS NULL THEN 'no tenant column on one of the two sides'
                  WHEN l.count > 1 THEN format('several foreign keys that lead the same way: %s; name one by `constraint`', l.names)
                  WHEN o.conparentid <> 0 THEN format('foreign key %I, which belongs to the partitioned table above %s', o.conname, q.child_name)
                  WHEN n.oid IS NOT NULL THEN NULL
                  WHEN p.begun AND NOT p.has THEN format('constraint %I on some of the partitions of %s, or another one of that name', {}::text, q.child_name)
                  WHEN NOT o.fires THEN format('foreign key %I, whose triggers are switched off', o.conname)
                  WHEN o.confmatchtype = 'f' AND cardinality(o.ours) > 1
                  THEN format('foreign key %I, which is MATCH FULL: beside the tenant''s column no row could leave it empty', o.conname)
                  WHEN a.upd IN ('n', 'd') THEN format('foreign key %I ON UPDATE SET NULL or SET DEFAULT, which would clear the tenant too; write on_update', o.conname)
                  WHEN a.del IN ('n', 'd') AND v.num < 150000
                  THEN 'ON DELETE SET NULL or SET DEFAULT, which would clear the tenant too: to name the columns came with PostgreSQL 15; write on_delete' END",
            Literal::new(self.name.as_str())
        )
    }

    /// The rows that all of them read: `q`, `o`, `n`, the server's version `v.num`, the actions `a.upd` and `a.del`, `p` (whether the
    /// key is to be made partition by partition, `apart`, and whether they have it), and `z.why`.
    fn from(&self) -> Stmt {
        let (update, delete) = self.actions();
        sql!(
            "FROM q CROSS JOIN (SELECT count(*) AS count, string_agg(format('%I', conname), ', ' ORDER BY conname) AS names FROM old) l
               LEFT JOIN old o ON l.count = 1 LEFT JOIN new n ON true
              CROSS JOIN LATERAL (SELECT {} AS upd, {} AS del) a
              CROSS JOIN (SELECT current_setting('server_version_num')::int AS num) v
              CROSS JOIN LATERAL (
                    SELECT q.apart, count(*) > 0 AND coalesce(bool_and({}), false) AS has,
                           coalesce(bool_or(n.oid IS NOT NULL), false) AS begun
                      FROM leaf e LEFT JOIN news n ON n.rel = e.rel) p
              CROSS JOIN LATERAL (SELECT {} AS why) z",
            update,
            delete,
            self.same(),
            self.why()
        )
    }

    /// The key's definition behind its name.
    fn definition(&self) -> Stmt {
        let word = |code: &str| {
            sql!(
                "CASE {} WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END",
                Stmt::raw(code)
            )
        };
        let (ours, theirs) = self.keys();
        let own: Vec<&Ident> = self.pairs.iter().map(|(ours, _)| *ours).collect();
        sql!(
            "format('FOREIGN KEY (%s) REFERENCES %s (%s) ON UPDATE %s ON DELETE %s%s', {}::text, q.parent_name, {}::text, {}, {},
                    CASE WHEN a.del IN ('n', 'd') THEN format(' (%s)', coalesce(CASE WHEN o.confdeltype IN ('n', 'd') THEN o.clears END, {}::text)) ELSE '' END
                    || CASE WHEN o.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN o.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END)",
            Literal::new(ours.to_string()),
            Literal::new(theirs.to_string()),
            word("a.upd"),
            word("a.del"),
            Literal::new(sql!("{}", List(&own, ", ")).to_string())
        )
    }

    /// Whether the key of the new name is the one that is meant. The actions are compared where something says what they are.
    fn same(&self) -> Stmt {
        let says = |given: bool| Stmt::raw(if given { "true" } else { "o.oid IS NOT NULL" });
        sql!(
            "(n.scoped AND n.confmatchtype = 's' AND n.enforced AND (n.confupdtype::text = a.upd OR NOT {}) AND (n.confdeltype::text = a.del OR NOT {})
              AND (o.oid IS NULL OR (n.condeferrable, n.condeferred) = (o.condeferrable, o.condeferred)))",
            says(self.on_update.is_some()),
            says(self.on_delete.is_some())
        )
    }

    pub fn added(&self) -> Probe {
        Probe::catalog(sql!(
            "{0}SELECT CASE WHEN z.why IS NOT NULL THEN 'conflict' WHEN n.oid IS NULL THEN CASE WHEN p.apart AND p.has THEN 'present' WHEN x.oid IS NULL THEN 'absent' ELSE 'conflict' END
                           WHEN {1} THEN 'present' ELSE 'conflict' END,
                      coalesce(z.why, format('constraint %I %s', {3}::text, coalesce(n.def, pg_get_constraintdef(x.oid)))), NULL::text[]
               {2} LEFT JOIN pg_constraint x ON x.conrelid = q.child AND x.conname = {3}",
            self.with(),
            self.same(),
            self.from(),
            Literal::new(self.name.as_str())
        ))
    }

    /// The key is added as the one that it replaces is; where the table takes none NOT VALID, on each partition, all at once.
    pub fn add(&self) -> Stmt {
        sql!(
            "{0}SELECT CASE WHEN p.apart AND EXISTS (SELECT FROM leaf) THEN (SELECT string_agg(format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', e.rel::regclass, {1}::text, d.def), '; ' ORDER BY e.rel) FROM leaf e)
                           ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', q.child_name, {1}::text, d.def, CASE WHEN p.apart THEN '' ELSE ' NOT VALID' END) END AS sql, 'share_row_exclusive' AS kind,
                      ARRAY[q.child_name, q.parent_name] AS tables, 1::bigint AS place
               {3} CROSS JOIN LATERAL (SELECT {2} AS def) d
                WHERE n.oid IS NULL AND z.why IS NULL AND NOT (p.apart AND p.has)",
            self.with(),
            Literal::new(self.name.as_str()),
            self.definition(),
            self.from()
        )
    }

    /// What takes the validation back: a key that was there before, NOT VALID, is as it was, comment and all.
    pub fn validated(&self) -> Probe {
        Probe::catalog(sql!(
            "{}SELECT CASE WHEN n.convalidated THEN 'present' ELSE 'absent' END, 'it is valid',
                      CASE WHEN n.oid IS NULL THEN (
                          SELECT ARRAY[format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', q.child_name, {}::text)] || array_agg(s.text ORDER BY e.tab, s.n)
                            FROM news e CROSS JOIN LATERAL (VALUES
                                 (0, format('ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %I', e.tab, e.conname)),
                                 (1, format('ALTER TABLE IF EXISTS %s ADD CONSTRAINT %I %s', e.tab, e.conname, e.def)),
                                 (2, format('COMMENT ON CONSTRAINT %I ON %s IS ', e.conname, e.tab) || quote_literal(obj_description(e.oid, 'pg_constraint')))) AS s (n, text)
                           WHERE s.text IS NOT NULL HAVING count(*) > 0)
                           WHEN NOT n.convalidated THEN array_remove(ARRAY[
                          format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', q.child_name, n.conname),
                          format('ALTER TABLE %s ADD CONSTRAINT %I %s', q.child_name, n.conname, n.def),
                          format('COMMENT ON CONSTRAINT %I ON %s IS ', n.conname, q.child_name) || quote_literal(obj_description(n.oid, 'pg_constraint'))], NULL) END
               FROM q LEFT JOIN new n ON true",
            self.with(),
            Literal::new(self.name.as_str())
        ))
    }

    /// First the key NOT VALID with its comment, then its validation, where it was valid. Where the table takes none NOT VALID: those
    /// of the partitions, then their validation and the table's own, which takes them in without reading a row.
    pub fn replaced(&self) -> Probe {
        Probe::catalog(sql!(
            "{}SELECT CASE WHEN z.why IS NOT NULL THEN 'conflict' WHEN o.oid IS NULL THEN 'present' ELSE 'absent' END,
                      coalesce(z.why, 'no such key'),
                      CASE WHEN o.oid IS NOT NULL AND p.apart THEN ARRAY[
                          (SELECT string_agg(concat_ws('; ', format('ALTER TABLE IF EXISTS %s ADD CONSTRAINT %I %s NOT VALID', e.tab, e.conname, e.def),
                                    format('COMMENT ON CONSTRAINT %I ON %s IS ', e.conname, e.tab) || quote_literal(obj_description(e.oid, 'pg_constraint'))), '; ' ORDER BY e.tab)
                             FROM olds e WHERE e.conparentid <> 0),
                          concat_ws('; ', (SELECT string_agg(format('ALTER TABLE IF EXISTS %s VALIDATE CONSTRAINT %I', e.tab, e.conname), '; ' ORDER BY e.tab)
                                             FROM olds e WHERE e.conparentid <> 0),
                                    format('ALTER TABLE %s ADD CONSTRAINT %I %s', q.child_name, o.conname, o.def),
                                    format('COMMENT ON CONSTRAINT %I ON %s IS ', o.conname, q.child_name) || quote_literal(obj_description(o.oid, 'pg_constraint')))]
                           WHEN o.oid IS NOT NULL THEN array_remove(ARRAY[
                          concat_ws('; ', format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', q.child_name, o.conname, o.def, CASE WHEN o.convalidated THEN ' NOT VALID' ELSE '' END),
                                    format('COMMENT ON CONSTRAINT %I ON %s IS ', o.conname, q.child_name) || quote_literal(obj_description(o.oid, 'pg_constraint')),
                                    (SELECT string_agg(format('COMMENT ON CONSTRAINT %I ON %s IS ', e.conname, e.tab) || quote_literal(obj_description(e.oid, 'pg_constraint')), '; ')
                                       FROM olds e WHERE e.conparentid <> 0 AND e.conname = o.conname)),
                          CASE WHEN o.convalidated THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', q.child_name, o.conname) END], NULL) END
               {}",
            self.with(),
            self.from()
        ))
    }

    pub fn drop_old(&self) -> Stmt {
        sql!(
            "{}SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', q.child_name, o.conname) AS sql, 'exclusive' AS kind,
                      ARRAY[q.child_name, q.parent_name] AS tables, 1::bigint AS place
                 FROM q JOIN old o ON true WHERE EXISTS (SELECT FROM new WHERE scoped AND convalidated)",
            self.with()
        )
    }

    pub fn restore_old(&self) -> Stmt {
        sql!(
            "{}SELECT d.sql, d.kind, d.tables, row_number() OVER (ORDER BY d.rank) AS place FROM (
               SELECT 0 AS rank, $1[1] AS sql, 'share_row_exclusive' AS kind, ARRAY[child_name, parent_name] AS tables
                 FROM q WHERE $1[1] IS NOT NULL AND NOT EXISTS (SELECT FROM old) AND NOT (apart AND EXISTS (SELECT FROM olds))
               UNION ALL
               SELECT 1, $1[2], CASE WHEN apart THEN 'share_row_exclusive' ELSE 'share_update_exclusive' END,
                      CASE WHEN apart THEN ARRAY[child_name, parent_name] ELSE ARRAY[child_name] END FROM q
                WHERE cardinality($1) > 1 AND NOT EXISTS (SELECT FROM old WHERE convalidated)) d
              ORDER BY place",
            self.with()
        )
    }

    /// The probe of the parent's index, to which another unique index over the same columns is as good.
    pub fn or_another(&self, probe: &Stmt, name: &Ident) -> Stmt {
        let mut columns: Vec<&Ident> = [self.tenant].iter().chain(&self.pairs).map(|(_, theirs)| *theirs).collect();
        columns.sort();
        let columns: Vec<Literal> = columns.iter().map(|column| Literal::new(column.as_str())).collect();
        sql!(
            "SELECT CASE WHEN p.presence = 'absent' AND x.def IS NOT NULL THEN 'present' ELSE p.presence END, coalesce(p.found, x.def), p.restore
               FROM ({}) AS p (presence, found, restore)
               LEFT JOIN LATERAL (
                    SELECT pg_get_indexdef(x.indexrelid) AS def FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                     WHERE x.indrelid = to_regclass({}) AND i.relname <> {} AND x.indisunique AND x.indimmediate AND x.indpred IS NULL
                       AND x.indisvalid AND x.indisready AND x.indislive
                       AND (SELECT array_agg(a.attname::text ORDER BY a.attname COLLATE \"C\") FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u (num, at)
                              LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.num AND u.num <> 0
                             WHERE u.at <= x.indnkeyatts) = ARRAY[{}]::text[]
                     LIMIT 1) x ON true",
            probe,
            Literal::new(self.parent.to_string()),
            Literal::new(name.as_str()),
            List(&columns, ", ")
        )
    }
}

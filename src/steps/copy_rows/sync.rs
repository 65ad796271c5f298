//! The trigger that keeps the copies true to their rows, and what takes both back.

use super::Names;
use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{CopySpec, Probe, alias},
};

pub(super) struct Sync<'a> {
    pub from: &'a QName,
    /// `AND …` for the rows that are meant.
    pub only: Stmt,
    pub names: &'a Names,
    pub spec: &'a CopySpec,
}

impl Sync<'_> {
    /// The function and its triggers. What is wrong with the expressions shall fail here and not in the old application's
    /// next write, so they are tried on no row first.
    pub(super) fn create(&self) -> Vec<Stmt> {
        let Names { function, trigger, truncate, .. } = self.names;
        let tried = sql!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS row WHERE false{}",
            self.spec.into,
            self.spec.names(),
            self.spec.values(),
            self.from,
            self.only
        );
        // The old application has no right to the new table, so the function has its owner's. It sees the names that the
        // batches see.
        let created = sql!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS {}",
            function,
            self.body()
        );
        vec![
            tried,
            created,
            sql!(
                "CREATE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION {}()",
                trigger,
                self.from,
                function
            ),
            sql!(
                "CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}()",
                truncate,
                self.from,
                function
            ),
        ]
    }

    pub(super) fn drop(&self) -> Vec<Stmt> {
        let Names { function, trigger, truncate, .. } = self.names;
        vec![
            sql!("DROP TRIGGER IF EXISTS {} ON {}", trigger, self.from),
            sql!("DROP TRIGGER IF EXISTS {} ON {}", truncate, self.from),
            sql!("DROP FUNCTION IF EXISTS {}()", function),
        ]
    }

    /// Deletes copies and their records: all, or some of them.
    fn delete(&self, some: &Stmt) -> Stmt {
        let keys: Vec<Stmt> = self.spec.key.iter().map(|key| sql!("c.{}", key)).collect();
        sql!(
            "WITH gone AS (DELETE FROM {} AS c{} RETURNING {}) DELETE FROM {} AS t USING gone AS g WHERE {}",
            self.spec.record,
            some,
            List(&keys, ", "),
            self.spec.into,
            self.spec.same(&alias("t"), &alias("g"))
        )
    }

    /// The undo in one go, for psql.
    pub(super) fn undo_at_once(&self) -> Stmt {
        let drop: Vec<Stmt> = self.drop().iter().map(|stmt| sql!("{};", stmt)).collect();
        sql!(
            "DO $tenantmig$\nBEGIN\n  IF to_regclass({}) IS NOT NULL THEN\n    {};\n  END IF;\nEND\n$tenantmig$;\n{}",
            Literal::new(self.spec.record.to_string()),
            self.delete(&Stmt::raw("")),
            List(&drop, "\n")
        )
    }

    /// First the triggers, so that nothing new comes; then the copies; the function last, which is what the probe goes by.
    /// A batch's text ends with a place that changes with each, since the same statement is not run again for ever.
    pub(super) fn undo_due(&self, rows: u32) -> Stmt {
        let Names { function, trigger, truncate, .. } = self.names;
        let record = &self.spec.record;
        let some = sql!(" WHERE c.ctid = ANY (ARRAY(SELECT ctid FROM {} LIMIT {}))", record, rows);
        let (from, into) = (text(self.from), text(&self.spec.into));
        let drop_trigger = |name: &Ident, place: u32| {
            sql!(
                "SELECT {}, 'exclusive', ARRAY[{}], {}::bigint FROM pg_trigger WHERE tgrelid = to_regclass({}) AND tgname = {}",
                Literal::new(sql!("DROP TRIGGER IF EXISTS {} ON {}", name, self.from).as_str()),
                from,
                place,
                from,
                Literal::new(name.as_str())
            )
        };
        sql!(
            "SELECT d.sql, d.kind, d.tables, d.place FROM ({} UNION ALL {}
             UNION ALL SELECT {} || ' -- from ' || f.ctid, 'rows', ARRAY[{}], 2 FROM (SELECT ctid FROM {} LIMIT 1) AS f
             UNION ALL SELECT {}, 'rows', ARRAY[{}], 3 FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE {}
             ) AS d (sql, kind, tables, place) ORDER BY d.place",
            drop_trigger(trigger, 0),
            drop_trigger(truncate, 1),
            Literal::new(self.delete(&some).as_str()),
            into,
            record,
            Literal::new(sql!("DROP FUNCTION IF EXISTS {}()", function).as_str()),
            into,
            named(function)
        )
    }

    /// Half there is the function without its triggers.
    pub(super) fn probe(&self) -> Probe {
        let Names { function, trigger, truncate, .. } = self.names;
        Probe::catalog(sql!(
            "SELECT CASE WHEN f.oid IS NULL AND t.ours + t.theirs = 0 THEN 'absent' WHEN f.oid IS NULL OR f.prosrc <> {} OR t.theirs > 0 THEN 'conflict'
                         WHEN t.ours = 2 THEN 'present' ELSE 'partial' END AS presence,
                    CASE WHEN f.oid IS NOT NULL OR t.ours + t.theirs > 0 THEN format('function %s, %s of 2 triggers', coalesce(f.oid::regprocedure::text, '(none)'), t.ours) END AS found,
                    NULL::text[] AS restore
               FROM (SELECT 1) AS one LEFT JOIN (SELECT p.oid, p.prosrc FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE {}) AS f ON true
              CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE g.tgfoid = f.oid AND g.tgenabled = 'O') AS ours,
                     count(*) FILTER (WHERE g.tgfoid IS DISTINCT FROM f.oid OR g.tgenabled <> 'O') AS theirs
                     FROM pg_trigger AS g WHERE g.tgrelid = to_regclass({}) AND g.tgname IN ({}, {})) AS t",
            self.body(),
            named(function),
            text(self.from),
            Literal::new(trigger.as_str()),
            Literal::new(truncate.as_str())
        ))
    }

    /// What the trigger does. Its snapshot is younger than the lock on the row, so it sees the copy that a batch has made.
    fn body(&self) -> Literal {
        let CopySpec { into, .. } = self.spec;
        let (old, new) = (Stmt::raw("(SELECT OLD.*) AS row"), Stmt::raw("(SELECT NEW.*) AS row"));
        let body = sql!(
            "
DECLARE n bigint;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    {};
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND {} IS DISTINCT FROM {} THEN
{}
  END IF;
  IF TG_OP <> 'DELETE' THEN
{}
    IF n = 0 AND EXISTS (SELECT FROM {} WHERE true{}) THEN
      RAISE unique_violation USING MESSAGE = {}, DETAIL = format('Key: %s', {});
    END IF;
  END IF;
  RETURN NULL;
END
",
            self.delete(&self.records_of(&sql!("{} AS row", self.from))),
            self.key_of(&old, &Stmt::raw("")),
            self.key_of(&new, &self.only),
            self.deleted(&old),
            self.put(&new),
            new,
            self.only,
            Literal::new(format!("the row cannot be copied to {into}: another row has its key there")),
            self.key_of(&new, &Stmt::raw(""))
        );
        Literal::new(body.as_str())
    }

    /// The key of a row of the source, as a record; NULL where it is not meant.
    fn key_of(&self, row: &Stmt, only: &Stmt) -> Stmt {
        sql!("(SELECT ROW({}) FROM {} WHERE true{})", self.key_values(), row, only)
    }

    fn key_values(&self) -> Stmt {
        let CopySpec { key, columns, .. } = self.spec;
        let of = |name: &Ident| columns.iter().find(|(column, _)| column == name).map(|(_, value)| sql!("({})", value));
        sql!("{}", List(&key.iter().filter_map(of).collect::<Vec<_>>(), ", "))
    }

    /// Which records (as `c`) are those of these rows of the source.
    fn records_of(&self, rows: &Stmt) -> Stmt {
        sql!(" USING {} WHERE {}", rows, self.spec.is_of_row(&alias("c")))
    }

    fn deleted(&self, old: &Stmt) -> Stmt {
        let CopySpec { record, .. } = self.spec;
        let of_old = self.records_of(old);
        sql!(
            "    n := 0;
    -- A snapshot older than the copy does not show it: the record's key does, by an error that asks for another try (40001).
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT DO NOTHING;
      GET DIAGNOSTICS n = ROW_COUNT;
    END IF;
    IF n = 0 THEN
      {};
    ELSE
      DELETE FROM {} AS c{};
    END IF;",
            record,
            self.spec.keys(),
            self.key_values(),
            old,
            self.delete(&of_old),
            record,
            of_old
        )
    }

    /// The copy as the row is now; only what is recorded as a copy is changed. Sets `n` to how many there are.
    fn put(&self, new: &Stmt) -> Stmt {
        let CopySpec { into, record, key, columns } = self.spec;
        let set = |name: &Ident| sql!("{} = EXCLUDED.{}", name, name);
        let mut changed: Vec<Stmt> =
            columns.iter().filter(|(name, _)| !key.contains(name)).map(|(name, _)| set(name)).collect();
        if changed.is_empty() {
            changed.extend(key.iter().map(set));
        }
        sql!(
            "    WITH put AS (
      INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} WHERE true{}
      ON CONFLICT ({}) DO UPDATE SET {} WHERE EXISTS (SELECT FROM {} AS c WHERE {})
      RETURNING {}
    ), recorded AS (
      INSERT INTO {} ({}) SELECT {} FROM put ON CONFLICT DO NOTHING
    )
    SELECT count(*) INTO n FROM put;",
            into,
            self.spec.names(),
            self.spec.values(),
            new,
            self.only,
            self.spec.keys(),
            List(&changed, ", "),
            record,
            self.spec.same(&alias("c"), &alias("t")),
            self.spec.keys(),
            record,
            self.spec.keys(),
            self.spec.keys()
        )
    }
}

fn text(table: &QName) -> Literal {
    Literal::new(table.to_string())
}

/// `p` in `n` is this function.
fn named(function: &QName) -> Stmt {
    sql!(
        "p.proname = {} AND n.nspname = {} AND p.pronargs = 0",
        Literal::new(function.name.as_str()),
        Literal::new(function.schema.as_str())
    )
}

//! Putting a table aside, into a schema of its own that nobody else may use, and bringing it back as it was.
//!
//! Aside and not copied: its rows, indexes, constraints, policies, flags, triggers, sequences, grants and statistics stay what they
//! are, whatever kinds PostgreSQL has or will have, and no row is read or written. A schema of its own, since the names of its indexes
//! would meet others' in any schema that is shared; and because nobody has USAGE on it, the table's own grants need no change.
//! The schema's comment says, as JSON, which table it holds, since when, and the schema of each partition.

use crate::{
    sql,
    sql::{Ident, Literal, QName, Stmt, block, foreign_key},
};

/// How the names of these schemas begin; `_` is no wildcard here.
pub const PREFIX: &str = "tenantmig_aside_";

/// A table, and where it is put.
#[derive(Debug, Clone)]
pub struct Aside {
    table: QName,
    schema: Ident,
    by: &'static str,
}

impl Aside {
    /// Of a table that a step drops.
    pub fn dropped(table: &QName) -> Self {
        Self::of(table, "dropped", "drop_table")
    }

    /// Of a table whose making is undone.
    pub fn undone(table: &QName) -> Self {
        Self::of(table, "undone", "the undo of create_table")
    }

    fn of(table: &QName, word: &str, by: &'static str) -> Self {
        // By its beginning `Unit::puts_aside` knows the deed.
        let schema = Ident::derived(&["tenantmig_aside", word, table.schema.as_str(), table.name.as_str()]);
        Self { table: table.clone(), schema, by }
    }

    /// The schema.
    pub fn schema(&self) -> &Ident {
        &self.schema
    }

    /// The table, put aside; NULL where it is not. As an expression.
    pub fn kept(&self) -> Stmt {
        sql!("to_regclass({})", Literal::new(QName::new(self.schema.clone(), self.table.name.clone()).to_string()))
    }

    /// Puts it aside, unless it is not there, or `unless` (statements of the block, which may RETURN) says otherwise. Foreign keys to
    /// other tables go, or those could lose no row that one of these points at; they come back NOT VALID.
    pub fn away(&self, unless: &Stmt) -> Stmt {
        block(&sql!(
            r#"
DECLARE
    home regclass := to_regclass({0});
    held text;
    note jsonb;
    thing record;
    filled boolean := true;
BEGIN
    IF home IS NULL THEN RETURN; END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', home);
{1}    SELECT {2} INTO held;
    IF held IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be put aside: %', home, held USING ERRCODE = 'dependent_objects_still_exist';
    END IF;
    {3}
    SELECT jsonb_build_object('table', {0}::text, 'by', {4}::text, 'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'things',
               (SELECT jsonb_agg(jsonb_build_object('kind', t.kind, 'name', t.name, 'home', t.home)) FROM (
                    SELECT 'TABLE' AS kind, c.relname AS name, n.nspname AS home FROM family f JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
                    UNION ALL SELECT 'STATISTICS', s.stxname, n.nspname FROM family f JOIN pg_statistic_ext s ON s.stxrelid = f.oid JOIN pg_namespace n ON n.oid = s.stxnamespace) t),
               'keys', coalesce((SELECT jsonb_agg(jsonb_build_object('child', k.child, 'name', k.name, 'add', k.add, 'said', k.said) ORDER BY k.name) FROM keys k), '[]'))
      INTO note;
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'keys') AS k (child text, name text) LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', thing.child, thing.name);
    END LOOP;
    CREATE SCHEMA {5};
    FOR thing IN SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_namespace n, aclexplode(n.nspacl) x WHERE n.nspname = {6} AND x.grantee <> n.nspowner LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s', {6}, thing.grantee);
    END LOOP;
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', {6}, note);
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'things') AS t (kind text, name text, home text) LOOP
        EXECUTE format('ALTER %s %I.%I SET SCHEMA %I', thing.kind, thing.home, thing.name, {6});
    END LOOP;
END "#,
            Literal::new(self.table.to_string()),
            unless,
            obstacles(&self.table),
            with_keys(&self.table),
            Literal::new(self.by),
            self.schema,
            Literal::new(self.schema.as_str())
        ))
    }

    /// Brings it back, where it was put aside.
    pub fn back(&self) -> Stmt {
        block(&sql!(
            "
DECLARE
    note jsonb;
    thing record;
BEGIN
    IF {} IS NULL OR to_regclass({}) IS NOT NULL THEN RETURN; END IF;
    note := obj_description({}::regnamespace, 'pg_namespace')::jsonb;
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'things') AS t (kind text, name text, home text) LOOP
        EXECUTE format('ALTER %s %I.%I SET SCHEMA %I', thing.kind, {}, thing.name, thing.home);
    END LOOP;
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'keys') AS k (add text, said text) LOOP
        EXECUTE thing.add;
        IF thing.said IS NOT NULL THEN EXECUTE thing.said; END IF;
    END LOOP;
    DROP SCHEMA {};
END ",
            self.kept(),
            Literal::new(self.table.to_string()),
            Literal::new(self.schema.to_string()),
            Literal::new(self.schema.as_str()),
            self.schema
        ))
    }
}

/// `family`: the table with its partitions at every level.
fn with_family(table: &QName) -> Stmt {
    sql!(
        "WITH RECURSIVE family AS (
            SELECT to_regclass({})::oid AS oid
            UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition)",
        Literal::new(table.to_string())
    )
}

/// How the comment begins by which a partition's key says what makes the table's own of it.
pub(super) const PENDING: &str = "tenantmig: ";

/// `family`, and `keys`: its foreign keys to other tables. `add` brings one back NOT VALID, `said` its comment, `valid` its validation;
/// the last two where there is any. A partitioned table takes none NOT VALID before 18, and would be read under the lock of its
/// return: there each partition gets the key, and the validation then makes the table's own of them, which reads no row.
pub(super) fn with_keys(table: &QName) -> Stmt {
    sql!(
        r"{0},
     keys AS (
        SELECT k.conname AS name, t.child, k.oid,
               CASE WHEN t.late THEN t.whole || ' NOT VALID' ELSE coalesce(l.add, t.whole) END AS add,
               CASE WHEN t.late OR l.add IS NULL THEN t.said END AS said,
               CASE WHEN NOT t.late THEN m.made WHEN k.convalidated THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', t.child, k.conname) END AS valid
          FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_constraint k ON k.conrelid = f.oid AND k.contype = 'f' AND k.conparentid = 0
         CROSS JOIN LATERAL (SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname) AS child, regexp_replace({1}, ' NOT VALID$', '') AS def) d
         CROSS JOIN LATERAL (SELECT d.child, format('ALTER TABLE %s ADD CONSTRAINT %I %s', d.child, k.conname, d.def) AS whole,
               format('COMMENT ON CONSTRAINT %I ON %s IS ', k.conname, d.child) || quote_literal(obj_description(k.oid, 'pg_constraint')) AS said,
               c.relkind = 'r' OR current_setting('server_version_num')::int >= 180000 AS late) t
         CROSS JOIN LATERAL (SELECT {2} AS made) m
         CROSS JOIN LATERAL (
               SELECT string_agg(format('ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s NOT VALID; COMMENT ON CONSTRAINT %2$I ON %1$s IS %4$L',
                                        format('%s.%I', h.relnamespace::regnamespace, h.relname), k.conname, d.def, {3} || m.made), '; ') AS add
                 FROM pg_partition_tree(f.oid) p JOIN pg_class h ON h.oid = p.relid WHERE p.isleaf) l
         WHERE k.confrelid NOT IN (SELECT oid FROM family))",
        with_family(table),
        foreign_key::definition(&Stmt::raw("k")),
        take_in(),
        Literal::new(PENDING)
    )
}

/// What makes the table's own key of those of its partitions, also of one that came meanwhile. As an expression.
fn take_in() -> Stmt {
    Stmt::raw(
        "format('DO %L', format('
DECLARE leaf regclass;
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = %1$L::regclass AND conname = %2$L) THEN RETURN; END IF;
    FOR leaf IN SELECT t.relid FROM pg_partition_tree(%1$L) t WHERE t.isleaf LOOP
        IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = leaf AND conname = %2$L) THEN
            EXECUTE format(''ALTER TABLE %%s ADD CONSTRAINT %%I %%s NOT VALID'', leaf, %2$L, %3$L);
        END IF;
        EXECUTE format(''ALTER TABLE %%s VALIDATE CONSTRAINT %%I'', leaf, %2$L);
        EXECUTE format(''COMMENT ON CONSTRAINT %%I ON %%s IS NULL'', %2$L, leaf);
    END LOOP;
    EXECUTE %4$L;
END', t.child, k.conname, d.def, concat_ws('; ', t.whole, t.said)))",
    )
}

/// What else in the database rests on the table or its sequences and would break, or why it cannot go by itself, in words; NULL where
/// nothing does. As an expression. What a function's text names the server does not know.
pub fn obstacles(table: &QName) -> Stmt {
    sql!(
        "({},
     things AS (SELECT 'pg_class'::regclass::oid AS class, oid FROM family
                UNION ALL SELECT 'pg_class'::regclass::oid, s.oid FROM family f
                            JOIN pg_depend o ON (o.refclassid, o.refobjid, o.classid) = ('pg_class'::regclass, f.oid, 'pg_class'::regclass) AND o.deptype IN ('a', 'i')
                            JOIN pg_class s ON s.oid = o.objid AND s.relkind = 'S'
                UNION ALL SELECT 'pg_type'::regclass::oid, y.oid FROM family f JOIN pg_class c ON c.oid = f.oid
                            JOIN pg_type r ON r.oid = c.reltype JOIN pg_type y ON y.oid IN (r.oid, r.typarray)),
     found AS (
        SELECT CASE WHEN w.oid IS NOT NULL THEN pg_describe_object('pg_class'::regclass, w.ev_class, 0)
                    ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END || ' rests on it' AS what
          FROM things JOIN pg_depend d ON (d.refclassid, d.refobjid) = (things.class, things.oid) AND d.deptype = 'n'
          LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
          LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
          LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
          LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
          LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
          LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
         WHERE d.classid <> 'pg_publication_rel'::regclass AND NOT coalesce(w.ev_class, nullif(k.conrelid, 0), p.polrelid, a.adrelid, g.tgrelid, i.indrelid,
                            CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END, 0) IN (SELECT oid FROM family)
        UNION SELECT format('it is a partition or child of %s', h.inhparent::regclass)
          FROM family f JOIN pg_inherits h ON h.inhrelid = f.oid WHERE h.inhparent NOT IN (SELECT oid FROM family)
        UNION SELECT format('%s of its partitions or their indexes have the name %I, and would come into one schema', count(*), c.relname)
          FROM (SELECT oid FROM family UNION ALL SELECT i.indexrelid FROM family f JOIN pg_index i ON i.indrelid = f.oid) s JOIN pg_class c USING (oid)
         GROUP BY c.relname HAVING count(*) > 1
        UNION SELECT format('it belongs to the extension %I', e.extname)
          FROM things JOIN pg_depend d ON (d.classid, d.objid) = (things.class, things.oid) AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
        UNION SELECT format('the role %I may not make tables in the schema %s, so that it could not come back', current_user, c.relnamespace::regnamespace)
          FROM family f JOIN pg_class c USING (oid) WHERE NOT has_schema_privilege(c.relnamespace, 'CREATE'))
     SELECT string_agg(what, '; ' ORDER BY what) FROM found)",
        with_family(table)
    )
}

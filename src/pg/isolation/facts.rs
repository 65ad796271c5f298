//! What the catalogue says of a table before it is asked: needed to ask the right thing, and to leave alone what would have effects.

use tokio_postgres::{Client, types::Type};

use crate::{
    isolation::{Command, Spec},
    pg::Fault,
    sql::Ident,
};

/// From here on a table is large: pages of 8 kB, together 100 MB, which are read in the time of a glance.
const LARGE_PAGES: i64 = 12_800;

/// A protected table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The tenant column's type, through domains, without its modifier.
    pub base_type: String,
    /// The domain that it is of.
    pub domain: Option<String>,
    /// The most characters that it takes, where that is limited.
    pub length: Option<usize>,
    pub nullable: bool,
    pub secured: bool,
    pub forced: bool,
    pub owner: Ident,
    /// Whether nothing binds the owner.
    pub owner_is_exempt: bool,
    /// Whether an index that begins with the tenant column finds a tenant's rows.
    pub indexed: bool,
    pub pages: i64,
    /// Whether the policies read further columns, so that a row that is made up says nothing.
    pub further: bool,
    /// Whether the tenant is in a partition key.
    pub routed: bool,
    /// Triggers and rules that a write would fire, by command.
    fires: [Vec<String>; 3],
}

impl Facts {
    /// Whether a look for rows that are not there would take long.
    pub fn is_long(&self) -> bool {
        !self.indexed && self.pages >= LARGE_PAGES
    }

    /// Triggers and rules that this command would fire.
    pub fn fires(&self, command: Command) -> &[String] {
        match command {
            Command::Select => &[],
            Command::Insert => &self.fires[0],
            Command::Update => &self.fires[1],
            Command::Delete => &self.fires[2],
        }
    }
}

/// $1 the table, $2 the column.
const FACTS: &str = "
    WITH RECURSIVE t AS (SELECT c.* FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')),
    family AS (SELECT t.oid AS rel FROM t UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.rel),
    kind AS (
        SELECT y.oid, y.typbasetype, y.typtype, CASE WHEN y.typtype = 'd' THEN y.typtypmod ELSE a.atttypmod END AS modifier FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = $2 AND NOT a.attisdropped
          JOIN pg_type y ON y.oid = a.atttypid
        UNION ALL SELECT y.oid, y.typbasetype, y.typtype, CASE WHEN k.modifier >= 0 THEN k.modifier ELSE y.typtypmod END FROM kind k JOIN pg_type y ON y.oid = k.typbasetype WHERE k.typtype = 'd'),
    fired AS (
        SELECT 'trigger ' || g.tgname AS what, g.tgtype & 4 > 0 AS inserts, g.tgtype & 16 > 0 AS updates, g.tgtype & 8 > 0 AS deletes
          FROM pg_trigger g JOIN family f ON f.rel = g.tgrelid WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
        UNION ALL
        SELECT 'rule ' || r.rulename, r.ev_type = '3', r.ev_type = '2', r.ev_type = '4'
          FROM pg_rewrite r JOIN family f ON f.rel = r.ev_class WHERE r.ev_enabled <> 'D')
    SELECT (SELECT format_type(k.oid, NULL) FROM kind k WHERE k.typtype <> 'd') AS base_type,
           NOT a.attnotnull AS nullable, t.relrowsecurity, t.relforcerowsecurity, o.rolname::text, o.rolsuper OR o.rolbypassrls,
           NOT EXISTS (SELECT FROM family f JOIN pg_class m ON m.oid = f.rel AND m.relkind = 'r' WHERE NOT EXISTS (
                SELECT FROM pg_index i JOIN pg_attribute b ON b.attrelid = i.indrelid AND b.attnum = i.indkey[0]
                 WHERE i.indrelid = f.rel AND b.attname = $2 AND i.indisvalid AND i.indpred IS NULL)) AS indexed,
           (SELECT coalesce(sum(greatest(m.relpages, 0)), 0)::bigint FROM family f JOIN pg_class m ON m.oid = f.rel) AS pages,
           EXISTS (SELECT FROM pg_policy p JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid NOT IN (0, a.attnum)
                    WHERE p.polrelid = t.oid) AS further,
           EXISTS (SELECT FROM family f JOIN pg_partitioned_table k ON k.partrelid = f.rel
                     JOIN pg_attribute b ON b.attrelid = f.rel AND b.attnum = ANY (k.partattrs::int2[]) WHERE b.attname = $2) AS routed,
           ARRAY(SELECT DISTINCT what FROM fired WHERE inserts ORDER BY 1), ARRAY(SELECT DISTINCT what FROM fired WHERE updates ORDER BY 1),
           ARRAY(SELECT DISTINCT what FROM fired WHERE deletes ORDER BY 1),
           (SELECT CASE WHEN y.typtype = 'd' THEN format_type(y.oid, NULL) END FROM pg_type y WHERE y.oid = a.atttypid) AS domain,
           (SELECT k.modifier - 4 FROM kind k WHERE k.typtype <> 'd' AND k.modifier >= 4 AND k.oid IN ('varchar'::regtype, 'bpchar'::regtype)) AS length
      FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = $2 AND NOT a.attisdropped
      JOIN pg_roles o ON o.oid = t.relowner";

/// `None`: there is no such table, or it has no such column.
pub(super) async fn facts(client: &Client, spec: &Spec) -> Result<Option<Facts>, Fault> {
    let (table, column) = (spec.table.to_string(), spec.column.as_str());
    let row = client.query_typed_opt(FACTS, &[(&table, Type::TEXT), (&column, Type::TEXT)]).await?;
    let Some(row) = row else { return Ok(None) };
    let owner: String = row.try_get(4)?;
    Ok(Some(Facts {
        base_type: row.try_get::<_, Option<String>>(0)?.unwrap_or_default(),
        nullable: row.try_get(1)?,
        secured: row.try_get(2)?,
        forced: row.try_get(3)?,
        owner: name(owner)?,
        owner_is_exempt: row.try_get(5)?,
        indexed: row.try_get(6)?,
        pages: row.try_get(7)?,
        further: row.try_get(8)?,
        routed: row.try_get(9)?,
        fires: [row.try_get(10)?, row.try_get(11)?, row.try_get(12)?],
        domain: row.try_get(13)?,
        length: row.try_get::<_, Option<i32>>(14)?.and_then(|length| usize::try_from(length).ok()),
    }))
}

/// A name that the catalogue has.
pub(super) fn name(text: String) -> Result<Ident, Fault> {
    Ident::new(text).map_err(|why| Fault::new(crate::pg::Class::Fatal, why.to_string()))
}

/// What a role may do with a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub select: bool,
    /// Whether it may read the tenant column.
    pub reads_tenant: bool,
    pub insert: bool,
    /// Whether it may write the tenant column.
    pub updates_tenant: bool,
    pub delete: bool,
    /// The columns that it may both read and insert, those of the server's making left out.
    pub columns: Vec<Ident>,
    /// One that it may not, and that has a default: an INSERT would compute that before any policy is asked.
    pub computed: Option<String>,
}

/// $1 the role, $2 the table, $3 the column. A role that may use no schema may use no table in it.
const RIGHTS: &str = "
    SELECT u.may AND has_any_column_privilege(r.oid, c.oid, 'SELECT'), u.may AND has_column_privilege(r.oid, c.oid, $3, 'SELECT'),
           u.may AND has_column_privilege(r.oid, c.oid, $3, 'INSERT'), u.may AND has_column_privilege(r.oid, c.oid, $3, 'UPDATE'),
           u.may AND has_table_privilege(r.oid, c.oid, 'DELETE'),
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                    AND has_column_privilege(r.oid, c.oid, a.attnum, 'INSERT') AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT') ORDER BY a.attnum),
           (SELECT a.attname::text FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
               AND (a.attidentity <> '' OR EXISTS (SELECT FROM regexp_matches(d.adbin::text, ':(?:funcid|opfuncid) (\\d+)', 'g') m
                                                     JOIN pg_proc v ON v.oid = m[1]::oid AND v.provolatile = 'v'))
               AND NOT (has_column_privilege(r.oid, c.oid, a.attnum, 'INSERT') AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')) ORDER BY a.attnum LIMIT 1)
      FROM pg_class c CROSS JOIN pg_roles r CROSS JOIN LATERAL (SELECT has_schema_privilege(r.oid, c.relnamespace, 'USAGE') AS may) u
     WHERE c.oid = to_regclass($2) AND r.rolname = $1";

/// What the role may do; nothing where there is no such role.
pub(super) async fn rights(client: &Client, spec: &Spec, role: &Ident) -> Result<Rights, Fault> {
    let (role, table, column) = (role.as_str(), spec.table.to_string(), spec.column.as_str());
    let row =
        client.query_typed_opt(RIGHTS, &[(&role, Type::TEXT), (&table, Type::TEXT), (&column, Type::TEXT)]).await?;
    let Some(row) = row else { return Ok(Rights::default()) };
    let columns: Vec<String> = row.try_get(5)?;
    Ok(Rights {
        select: row.try_get(0)?,
        reads_tenant: row.try_get(1)?,
        insert: row.try_get(2)?,
        updates_tenant: row.try_get(3)?,
        delete: row.try_get(4)?,
        columns: columns.into_iter().map(name).collect::<Result<_, _>>()?,
        computed: row.try_get(6)?,
    })
}

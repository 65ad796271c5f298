//! What a plan touches, as facts of the catalogue that nobody else has a reason to change between two phases.
//!
//! | Of | What counts as a change |
//! |---|---|
//! | a table | gone; its owner, persistence, access method, row-level security, FORCE, partition key or bound changed |
//! | a column | gone; its type, NOT NULL, default, identity or generation changed. A new one does not count: an application's release adds some |
//! | a constraint | gone, or changed, or its triggers switched off. A new one does not count |
//! | an index | gone, or changed, or no longer valid. A new one does not count: a DBA may add some |
//! | a policy, a trigger, a rule | gone, changed, switched off, or new: each changes what every statement does |
//! | a function | one that a policy calls, of a trigger of ours, or the context function: gone or changed |
//! | a partition or child | new, without row-level security where its parent has it. Otherwise they come and go as jobs make and drop them |
//!
//! Nothing else counts: rows, statistics, comments, grants, storage and planner options, positions, replica identity, tablespaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, types::Type};

use super::super::Fault;
use crate::sql::QName;

/// The meaning of the facts below. One that is worded in another way, or read in another way, is another format: what was noted
/// in one cannot be compared with the other. A test holds the queries to it.
pub const FORMAT: i32 = 1;

/// The facts, by table and by function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    pub tables: BTreeMap<String, TouchedTable>,
    pub functions: BTreeMap<String, String>,
}

/// The facts of one table: `policy app.users.mine` → its definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchedTable {
    /// The table that it is a partition or child of, where the plan does not name it itself.
    pub parent: Option<String>,
    pub facts: BTreeMap<String, String>,
}

/// The tables with their partitions and children. One that the plan names itself has no parent here.
const TABLES: &str = "WITH RECURSIVE tree AS (
    SELECT to_regclass(t)::oid AS oid, NULL::oid AS parent FROM unnest($1) t WHERE to_regclass(t) IS NOT NULL
    UNION SELECT i.inhrelid, i.inhparent FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
SELECT c.oid, c.oid::regclass::text,
       CASE WHEN bool_and(tree.parent IS NOT NULL) THEN min(tree.parent::regclass::text) END
  FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('r', 'p', 'f') GROUP BY c.oid";

const FACTS: &str = r#"
WITH t AS MATERIALIZED (SELECT c.*, c.oid::regclass::text AS name FROM pg_class c WHERE c.oid = ANY ($1))
SELECT t.oid, 'table ' || t.name || f.property, f.value
  FROM t LEFT JOIN pg_am am ON am.oid = t.relam CROSS JOIN LATERAL (VALUES
       ('', concat_ws(' ', CASE t.relpersistence WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END, 'using ' || quote_ident(am.amname))),
       (' owner', quote_ident(pg_get_userbyid(t.relowner))),
       (' row security', CASE WHEN t.relrowsecurity THEN 'enabled' ELSE 'disabled' END),
       (' force row security', CASE WHEN t.relforcerowsecurity THEN 'forced' ELSE 'not forced' END),
       (' partition key', CASE WHEN t.relkind = 'p' THEN pg_get_partkeydef(t.oid) END),
       (' partition bound', pg_get_expr(t.relpartbound, t.oid))) f (property, value)
 WHERE f.value IS NOT NULL
UNION ALL
SELECT t.oid, 'column ' || t.name || '.' || quote_ident(a.attname),
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'IDENTITY ' || nullif(a.attidentity::text, ''),
                 CASE WHEN a.attgenerated = '' THEN 'DEFAULT ' ELSE 'GENERATED ' END || pg_get_expr(d.adbin, d.adrelid))
  FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT t.oid, 'constraint ' || t.name || '.' || quote_ident(k.conname) || f.property, f.value
  FROM t JOIN pg_constraint k ON k.conrelid = t.oid CROSS JOIN LATERAL (VALUES
       ('', pg_get_constraintdef(k.oid)),
       (' enforcing triggers', CASE WHEN k.contype = 'f' THEN
           (SELECT string_agg(DISTINCT g.tgenabled::text, ', ') FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled <> 'O') END)) f (property, value)
 WHERE f.value IS NOT NULL
UNION ALL
SELECT t.oid, 'index ' || i.indexrelid::regclass || f.property, f.value
  FROM t JOIN pg_index i ON i.indrelid = t.oid CROSS JOIN LATERAL (VALUES
       ('', pg_get_indexdef(i.indexrelid)),
       (' state', CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN 'valid' ELSE 'invalid' END)) f (property, value)
UNION ALL
SELECT t.oid, 'policy ' || t.name || '.' || quote_ident(p.polname),
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR ' || p.polcmd::text, 'TO',
                 (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY r) FROM unnest(p.polroles) r),
                 'USING ' || pg_get_expr(p.polqual, p.polrelid), 'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
  FROM t JOIN pg_policy p ON p.polrelid = t.oid
UNION ALL
SELECT t.oid, 'trigger ' || t.name || '.' || quote_ident(g.tgname),
       pg_get_triggerdef(g.oid) || CASE g.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ', disabled' WHEN 'R' THEN ', on replica' ELSE ', always' END
  FROM t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
UNION ALL
SELECT t.oid, 'rule ' || t.name || '.' || quote_ident(w.rulename), pg_get_ruledef(w.oid) || CASE w.ev_enabled WHEN 'D' THEN ' disabled' ELSE '' END
  FROM t JOIN pg_rewrite w ON w.ev_class = t.oid AND w.rulename <> '_RETURN'"#;

const FUNCTIONS: &str = "SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prokind IN ('f', 'p') AND p.oid >= 16384 AND (format('%I.%I', n.nspname, p.proname) = $2
    OR p.oid IN (SELECT g.tgfoid FROM pg_trigger g WHERE g.tgrelid = ANY ($1) AND g.tgname LIKE 'tenantmig%')
    OR p.oid IN (SELECT d.refobjid FROM pg_depend d JOIN pg_policy y ON y.oid = d.objid
                  WHERE d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_proc'::regclass AND y.polrelid = ANY ($1)))";

/// Reads the facts of `tables`, and of the tenancy's `function`, in the open transaction, of which the search_path is changed.
pub async fn touched(client: &Client, tables: &[QName], function: Option<&QName>) -> Result<Touched, Fault> {
    // So that names print qualified; compiling costs more than a query of the catalogue.
    client
        .batch_execute(
            "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off; SET LOCAL quote_all_identifiers = off",
        )
        .await?;
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let mut found: BTreeMap<u32, (String, TouchedTable)> = BTreeMap::new();
    for row in client.query_typed(TABLES, &[(&names, Type::TEXT_ARRAY)]).await? {
        let table = TouchedTable { parent: row.try_get(2)?, facts: BTreeMap::new() };
        found.insert(row.try_get(0)?, (row.try_get(1)?, table));
    }
    let oids: Vec<u32> = found.keys().copied().collect();
    for row in client.query_typed(FACTS, &[(&oids, Type::OID_ARRAY)]).await? {
        if let Some((_, table)) = found.get_mut(&row.try_get(0)?) {
            table.facts.insert(row.try_get(1)?, row.try_get(2)?);
        }
    }
    let function = function.map(ToString::to_string);
    let rows = client.query_typed(FUNCTIONS, &[(&oids, Type::OID_ARRAY), (&function, Type::TEXT)]).await?;
    let functions = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok(Touched {
        tables: found.into_values().collect(),
        functions: functions.collect::<Result<_, tokio_postgres::Error>>()?,
    })
}

impl Touched {
    /// What is different in `now` and counts, as lines of a diff: `-` as it was, `+` as it is.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, table) in &self.tables {
            match now.tables.get(name) {
                Some(present) => table.changes(present, &mut lines),
                None if table.parent.is_some() => {}
                None => lines.push(format!("- table {name}: it is gone")),
            }
        }
        for (name, table) in now.tables.iter().filter(|(name, _)| !self.tables.contains_key(*name)) {
            let is = |of: &str, table: &TouchedTable, word: &str| {
                table.facts.get(&format!("table {of} row security")).is_some_and(|value| value == word)
            };
            let parent = table.parent.as_ref().and_then(|parent| Some((parent, now.tables.get(parent)?)));
            if let Some((parent, of)) = parent
                && is(parent, of, "enabled")
                && is(name, table, "disabled")
            {
                lines.push(format!("+ table {name}: new, without row-level security, which its parent {parent} has"));
            }
        }
        for (name, definition) in &self.functions {
            fact(&format!("function {name}"), Some(definition), now.functions.get(name), &mut lines);
        }
        lines
    }
}

impl TouchedTable {
    fn changes(&self, now: &Self, lines: &mut Vec<String>) {
        for (key, value) in &self.facts {
            fact(key, Some(value), now.facts.get(key), lines);
        }
        let counts = |key: &str| {
            key.ends_with(" enforcing triggers")
                || ["policy ", "trigger ", "rule "].iter().any(|kind| key.starts_with(kind))
        };
        for (key, value) in now.facts.iter().filter(|(key, _)| counts(key) && !self.facts.contains_key(*key)) {
            fact(key, None, Some(value), lines);
        }
    }
}

fn fact(key: &str, was: Option<&String>, is: Option<&String>, lines: &mut Vec<String>) {
    if was == is {
        return;
    }
    let line = |sign: &str, value: &String| format!("{sign} {key}: {}", value.trim_end().replace('\n', "\n    "));
    lines.extend(was.map(|value| line("-", value)));
    lines.extend(is.map(|value| line("+", value)));
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn table(parent: Option<&str>, facts: &[(&str, &str)]) -> TouchedTable {
        let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TouchedTable { parent: parent.map(str::to_owned), facts }
    }

    #[track_caller]
    fn check(was: &[(&str, TouchedTable)], is: &[(&str, TouchedTable)], expect: &[&str]) {
        let of = |tables: &[(&str, TouchedTable)]| Touched {
            tables: tables.iter().map(|(name, table)| ((*name).to_owned(), table.clone())).collect(),
            functions: BTreeMap::new(),
        };
        assert_eq!(of(was).changes(&of(is)), expect);
    }

    #[test]
    fn what_is_there_may_not_change_and_what_decides_rows_may_not_come() {
        let was = table(None, &[("column t.a", "integer"), ("policy t.p", "x"), ("index i", "d")]);
        check(&[("t", was.clone())], &[("t", was.clone())], &[]);
        let is =
            table(None, &[("column t.a", "bigint"), ("column t.b", "new"), ("index j", "new"), ("policy t.q", "y")]);
        let expect =
            ["- column t.a: integer", "+ column t.a: bigint", "- index i: d", "- policy t.p: x", "+ policy t.q: y"];
        check(&[("t", was.clone())], &[("t", is)], &expect);
        check(&[("t", was)], &[], &["- table t: it is gone"]);
    }

    #[test]
    fn partitions_come_and_go_unless_they_are_open_below_a_protected_parent() {
        let parent = |word: &str| table(None, &[("table p row security", word)]);
        let child = |word: &str| table(Some("p"), &[("table c row security", word)]);
        check(&[("p", parent("enabled")), ("c", child("enabled"))], &[("p", parent("enabled"))], &[]);
        check(&[("p", parent("disabled"))], &[("p", parent("disabled")), ("c", child("disabled"))], &[]);
        check(&[("p", parent("enabled"))], &[("p", parent("enabled")), ("c", child("enabled"))], &[]);
        check(
            &[("p", parent("enabled"))],
            &[("p", parent("enabled")), ("c", child("disabled"))],
            &["+ table c: new, without row-level security, which its parent p has"],
        );
    }

    /// A print in the ledger was made by the queries of its format. Whoever changes them gives the format another number, and the
    /// digest below.
    #[test]
    fn the_format_is_that_of_the_queries() {
        let text = [TABLES, FACTS, FUNCTIONS].concat();
        let digest: String = Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((FORMAT, digest.as_str()), (1, "ce7f4f955c0c5427"));
    }
}

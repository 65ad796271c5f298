//! No partition or child of a protected table, at any level, is without the protection that the table has.
//!
//! Reads the catalogue only. A query that names a partition is bound by the partition's own policies and flags, and a partition
//! that is made later has none. With `tables` these are looked at, and must be protected themselves; without, every table of the
//! database that has row-level security on. Each finding has the statements that mend it.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::Site,
    sql,
    sql::{Ident, List, Literal, QName, Stmt, policy},
};

/// A check of the kind `unprotected`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unprotected {
    #[serde(default)]
    pub tables: Vec<QName>,
    /// The policies that must stand on everything below; all of the table's own where it is left out.
    #[serde(default)]
    pub policies: Vec<Ident>,
    /// Whether the owner must be bound; as the table itself where it is left out.
    pub force: Option<bool>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind = "unprotected"
"#;

impl CheckKind for Unprotected {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.tables.is_empty() && !self.policies.is_empty() {
            site.error("policies", "TM0352", "policies of which tables?").help("write `tables` beside it");
        }
    }

    fn lower(&self) -> Gate {
        let names: Vec<String> = self.tables.iter().map(QName::to_string).collect();
        let (id, title) = if names.is_empty() {
            ("unprotected".to_owned(), "nothing below a protected table is without its protection".to_owned())
        } else {
            let all = names.join(", ");
            (format!("unprotected:{all}"), format!("{all} and all below are protected"))
        };
        Gate {
            id,
            kind: "unprotected".to_owned(),
            title,
            query: self.query(),
            baseline: None,
            // Only the catalogue is read, which no policy hides.
            tables: Vec::new(),
            wait: None,
            measure: Measure::Query,
        }
    }
}

impl Unprotected {
    /// The tables from which it is looked downwards. regclass, and not to_regclass: a table that is not there is no pass.
    fn roots(&self) -> Stmt {
        if self.tables.is_empty() {
            return sql!(
                "c.relrowsecurity AND c.relpersistence <> 't' AND NOT EXISTS (
                     SELECT FROM pg_inherits h JOIN pg_class u ON u.oid = h.inhparent WHERE h.inhrelid = c.oid AND u.relrowsecurity)"
            );
        }
        let tables: Vec<Stmt> = self.tables.iter().map(|t| sql!("{}::regclass", Literal::new(t.to_string()))).collect();
        sql!("c.oid = ANY (ARRAY[{}])", List(&tables, ", "))
    }

    /// A row for each table that lacks something: `lacks` in words, `mends` as statements.
    fn query(&self) -> Stmt {
        let names: Vec<Literal> = self.policies.iter().map(|name| Literal::new(name.as_str())).collect();
        let named = sql!("ARRAY[{}]::text[]", List(&names, ", "));
        let force =
            self.force.map_or(sql!("r.relforcerowsecurity"), |force| Stmt::raw(if force { "true" } else { "false" }));
        sql!(
            "WITH RECURSIVE root AS (
                 SELECT c.oid AS root, format('%I.%I', n.nspname, c.relname) AS name, {1} AS force
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (SELECT c.relforcerowsecurity) r
                  WHERE {0}),
             family AS (
                 SELECT r.root, r.root AS rel FROM root r
                 UNION SELECT f.root, h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.rel),
             member AS (
                 SELECT f.root, r.name, r.force, f.rel, f.rel = f.root AS is_root, format('%I.%I', n.nspname, c.relname) AS tab, c.relkind = 'f' AS is_foreign,
                        c.relrowsecurity AS secured, c.relforcerowsecurity AS forced, c.relowner AS owner, c.relacl AS acl
                   FROM family f JOIN root r USING (root) JOIN pg_class c ON c.oid = f.rel JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relpersistence <> 't'),
             want AS (
                 SELECT r.root, p.polname::text AS policy FROM root r JOIN pg_policy p ON p.polrelid = r.root WHERE cardinality({2}) = 0
                 UNION SELECT r.root, unnest({2}) FROM root r),
             lack AS (
                 SELECT m.rel, m.root, 1 AS rank, 'row-level security is off' AS lacks, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', m.tab) AS mends
                   FROM member m WHERE NOT m.secured AND NOT m.is_foreign
                 UNION ALL
                 SELECT m.rel, m.root, 2, 'it does not bind the owner', format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', m.tab)
                   FROM member m WHERE m.force AND NOT m.forced AND NOT m.is_foreign
                 UNION ALL
                 SELECT m.rel, m.root, 0, format('policy %I %s', w.policy, CASE WHEN o.oid IS NULL THEN 'is missing' ELSE format('differs from that of %s', m.name) END),
                        concat_ws('; ', CASE WHEN o.oid IS NOT NULL THEN format('DROP POLICY %I ON %s', w.policy, m.tab) END, d.made)
                   FROM member m JOIN want w USING (root)
                   LEFT JOIN pg_policy o ON o.polrelid = m.rel AND o.polname = w.policy
                   LEFT JOIN LATERAL (SELECT p.oid, {3} AS made FROM pg_policy p WHERE p.polrelid = m.root AND p.polname = w.policy) d ON true
                  WHERE NOT m.is_foreign AND (o.oid IS NULL OR NOT m.is_root AND d.oid IS NOT NULL
                        AND NOT EXISTS (SELECT FROM pg_policy w, pg_policy p WHERE w.oid = o.oid AND p.oid = d.oid AND {4}))
                 UNION ALL
                 SELECT m.rel, m.root, 0, format('it is a foreign table, which cannot have row-level security, and %s may use it', g.who),
                        format('REVOKE ALL ON %s FROM %s', m.tab, g.who)
                   FROM member m CROSS JOIN LATERAL (
                        SELECT string_agg(DISTINCT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(e.grantee)) END, ', ') AS who
                          FROM (SELECT x.grantee FROM aclexplode(m.acl) x
                                UNION ALL SELECT x.grantee FROM pg_attribute b CROSS JOIN LATERAL aclexplode(b.attacl) x WHERE b.attrelid = m.rel) e
                         WHERE e.grantee <> m.owner) g
                  WHERE m.is_foreign AND g.who IS NOT NULL)
             SELECT CASE WHEN m.is_root THEN format('%s is not protected: ', m.tab) ELSE format('%s, below %s, is not protected when a query names it: ', m.tab, m.name) END
                      || string_agg(l.lacks, ', ' ORDER BY l.rank, l.lacks)
                      || coalesce('; BEGIN; ' || string_agg(nullif(l.mends, ''), '; ' ORDER BY l.rank, l.lacks) || '; COMMIT', '') AS what,
                    1::bigint AS found, m.tab AS example
               FROM lack l JOIN member m ON m.rel = l.rel AND m.root = l.root
              GROUP BY m.is_root, m.tab, m.name ORDER BY m.is_root DESC, m.tab",
            self.roots(),
            force,
            named,
            policy::definition(&sql!("m.tab")),
            policy::same()
        )
    }
}

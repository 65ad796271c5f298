//! Ways around a table: views, materialised views, definer functions and partitions that the role may read: P12.

use tokio_postgres::{Client, types::Type};

use super::{
    actor::Actor,
    reads::look,
    transaction::{BOUNDS, rolled_back},
};
use crate::{
    isolation::{Answer, Spec, Verdict},
    pg::{Fault, connect::Connection},
    sql::Stmt,
};

/// The most that are asked of one table.
const WAYS_MAX: usize = 100;

/// Something else through which a table's rows can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Around {
    kind: Kind,
    /// What stands behind FROM.
    relation: String,
    /// Who reads the table's rows there, where that is not the role itself and nothing binds it.
    exempt: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Partition,
    View,
    Materialised,
    Function,
}

/// $1 the role, $2 the table. A view reads with its owner's rights unless it is a security_invoker; a view over views with those of
/// the innermost. A function that may write is not called.
const AROUND: &str = r"
    WITH RECURSIVE t AS (SELECT c.oid, c.relname, c.relowner, c.relforcerowsecurity AS forced FROM pg_class c WHERE c.oid = to_regclass($2)),
    role AS (SELECT r.oid FROM pg_roles r WHERE r.rolname = $1),
    below AS (SELECT h.inhrelid AS rel FROM t JOIN pg_inherits h ON h.inhparent = t.oid
              UNION SELECT h.inhrelid FROM below b JOIN pg_inherits h ON h.inhparent = b.rel),
    free AS (SELECT r.oid, r.rolname::text AS name FROM pg_roles r CROSS JOIN t
              WHERE r.rolsuper OR r.rolbypassrls OR NOT t.forced AND pg_has_role(r.oid, t.relowner, 'USAGE')),
    seen AS (
        SELECT v.oid, v.relkind, CASE WHEN v.relkind = 'm' THEN coalesce(f.name, '') WHEN i.invokes THEN NULL ELSE f.name END AS exempt
          FROM (SELECT t.oid FROM t UNION SELECT b.rel FROM below b) s (rel)
          JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.rel AND d.classid = 'pg_rewrite'::regclass
          JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
          CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM unnest(v.reloptions) o WHERE lower(o) ~ '^security_invoker=(true|on|yes|1)$') AS invokes) i
          LEFT JOIN free f ON f.oid = v.relowner
        UNION
        SELECT v.oid, v.relkind, CASE WHEN v.relkind = 'm' THEN coalesce(s.exempt, '') ELSE s.exempt END
          FROM seen s JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_rewrite'::regclass
          JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm') AND v.oid <> s.oid)
    SELECT x.kind, format('%I.%I', n.nspname, c.relname) AS relation, x.exempt
      FROM (SELECT b.rel AS oid, 'p' AS kind, NULL::text AS exempt FROM below b
            UNION SELECT s.oid, s.relkind::text, max(s.exempt) FROM seen s GROUP BY 1, 2) x
      JOIN pg_class c ON c.oid = x.oid JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN role
     WHERE has_schema_privilege(role.oid, n.oid, 'USAGE') AND has_any_column_privilege(role.oid, c.oid, 'SELECT')
    UNION ALL
    SELECT 'f', format('%I.%I()', n.nspname, p.proname), f.name
      FROM t CROSS JOIN role CROSS JOIN pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LEFT JOIN free f ON f.oid = p.proowner
     WHERE p.prosecdef AND p.pronargs = 0 AND p.proretset AND p.provolatile <> 'v' AND p.prokind = 'f'
       AND (p.prosrc ~* ('\m' || regexp_replace(t.relname, '(\W)', '\\\1', 'g') || '\M')
            OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid))
       AND has_schema_privilege(role.oid, n.oid, 'USAGE') AND has_function_privilege(role.oid, p.oid, 'EXECUTE')
    ORDER BY 1, 2";

/// What there is.
pub(super) async fn around(admin: &Connection, actor: &Actor<'_>, spec: &Spec) -> Result<Vec<Around>, Fault> {
    let (role, table) = (actor.name.as_str(), spec.table.to_string());
    let rows = rolled_back(admin, BOUNDS, async |client: &Client| {
        Ok(client.query_typed(AROUND, &[(&role, Type::TEXT), (&table, Type::TEXT)]).await?)
    })
    .await?;
    let read = |row: &tokio_postgres::Row| {
        let kind: &str = row.try_get(0)?;
        let kind = match kind {
            "p" => Kind::Partition,
            "m" => Kind::Materialised,
            "f" => Kind::Function,
            _ => Kind::View,
        };
        Ok(Around { kind, relation: row.try_get(1)?, exempt: row.try_get(2)? })
    };
    rows.iter().map(read).collect()
}

/// Asks each of them in a context. A view that counts has a row whatever it sees, so a row is a leak only where something reads
/// past the policies.
pub(super) async fn through(
    actor: &Actor<'_>,
    spec: &Spec,
    ways: &[Around],
    value: Option<&str>,
) -> Result<Vec<Verdict>, Fault> {
    let mut verdicts = Vec::new();
    for way in ways.iter().take(WAYS_MAX) {
        let answer = look(actor, spec, BOUNDS, &Stmt::raw(way.relation.clone()), value).await?;
        verdicts.push(judged(way, spec, answer));
    }
    if ways.len() > WAYS_MAX {
        verdicts
            .push(Verdict::Weak(format!("of {} views, functions and partitions {WAYS_MAX} were asked", ways.len())));
    }
    Ok(verdicts)
}

fn judged(way: &Around, spec: &Spec, answer: Answer) -> Verdict {
    let name = &way.relation;
    match (answer, way.kind, &way.exempt) {
        (Answer::Rows { rows: 0, .. }, _, _) => Verdict::Holds(format!("{name}: no row")),
        (Answer::Rows { .. }, Kind::Partition, _) => Verdict::Leak(format!(
            "{name} shows rows to whoever names it: give it the policies and flags of {}",
            spec.table
        )),
        (Answer::Rows { .. }, Kind::Materialised, _) => Verdict::Leak(format!(
            "{name} is a materialised view, which no policy binds, and has rows: REVOKE SELECT ON {name}"
        )),
        (Answer::Rows { .. }, Kind::View, Some(who)) => Verdict::Leak(format!(
            "{name} shows rows that {who} sees, whom no policy binds: ALTER VIEW {name} SET (security_invoker = true) on 15 and later, or \
             another owner"
        )),
        (Answer::Rows { .. }, Kind::Function, Some(who)) => Verdict::Leak(format!(
            "{name} returns rows that {who} sees, whom no policy binds: make it SECURITY INVOKER, or give it another owner"
        )),
        (Answer::Rows { .. }, Kind::View | Kind::Function, None) => {
            Verdict::Holds(format!("{name} has rows, which are not those of {}: who reads there is bound", spec.table))
        }
        (Answer::Refused(refusal), _, _) if refusal.is_denied() => Verdict::Holds(format!("{name}: refused, 42501")),
        (Answer::Refused(refusal), _, _) => Verdict::Untried(format!("{name}: {}", refusal.told())),
        (Answer::Unasked(why) | Answer::Glance(why), _, _) => Verdict::Untried(format!("{name}: {why}")),
        (Answer::Unmeasured(why), _, _) => Verdict::Unmeasured(format!("{name}: {why}")),
    }
}

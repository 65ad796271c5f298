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
    /// A function that is not called here: it may write, wants arguments or does not return rows.
    Uncalled,
    /// A view through which the role may write.
    Written,
}

/// $1 the role, $2 the table. A view reads with its owner's rights unless it is a security_invoker; a view over views with those of
/// the innermost. Whom nothing binds is decided for each table that is read: a partition may be without what its parent has. A
/// function that may write is not called.
const AROUND: &str = r"
    WITH RECURSIVE t AS (SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass($2)),
    role AS (SELECT r.oid FROM pg_roles r WHERE r.rolname = $1),
    below AS (SELECT h.inhrelid AS rel FROM t JOIN pg_inherits h ON h.inhparent = t.oid
              UNION SELECT h.inhrelid FROM below b JOIN pg_inherits h ON h.inhparent = b.rel),
    bases AS (SELECT c.oid, c.relname, c.relowner, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced FROM pg_class c
               WHERE c.oid IN (SELECT t.oid FROM t UNION SELECT b.rel FROM below b)),
    seen AS (
        SELECT v.oid, v.relkind, CASE WHEN v.relkind = 'm' THEN coalesce(f.rolname, '') WHEN i.invokes THEN NULL ELSE f.rolname END::text AS exempt
          FROM bases s
          JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_rewrite'::regclass
          JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
          CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM unnest(v.reloptions) o WHERE lower(o) ~ '^security_invoker=(true|on|yes|1)$') AS invokes) i
          LEFT JOIN pg_roles f ON f.oid = v.relowner
           AND (f.rolsuper OR f.rolbypassrls OR NOT s.secured OR NOT s.forced AND pg_has_role(f.oid, s.relowner, 'USAGE'))
        UNION
        SELECT v.oid, v.relkind, CASE WHEN v.relkind = 'm' THEN coalesce(s.exempt, '') ELSE s.exempt END
          FROM seen s JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_rewrite'::regclass
          JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm') AND v.oid <> s.oid),
    definers AS (
        SELECT p.oid, p.pronargs = 0 AND p.proretset AND p.provolatile <> 'v' AND p.prokind = 'f' AS callable, n.nspname, p.proname, p.proargtypes,
               CASE WHEN f.rolsuper OR f.rolbypassrls OR EXISTS (SELECT FROM bases b WHERE NOT b.secured OR NOT b.forced AND pg_has_role(f.oid, b.relowner, 'USAGE'))
                    THEN f.rolname::text END AS exempt
          FROM role CROSS JOIN pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles f ON f.oid = p.proowner
         WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND p.proname NOT LIKE 'tenantmig%'
           AND EXISTS (SELECT FROM bases b WHERE p.prosrc ~* ('\m' || regexp_replace(b.relname, '(\W)', '\\\1', 'g') || '\M')
                OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid))
           AND has_schema_privilege(role.oid, n.oid, 'USAGE') AND has_function_privilege(role.oid, p.oid, 'EXECUTE'))
    SELECT x.kind, format('%I.%I', n.nspname, c.relname) AS relation, x.exempt
      FROM (SELECT b.rel AS oid, 'p' AS kind, NULL::text AS exempt FROM below b
            UNION SELECT s.oid, s.relkind::text, max(s.exempt) FROM seen s GROUP BY 1, 2) x
      JOIN pg_class c ON c.oid = x.oid JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN role
     WHERE has_schema_privilege(role.oid, n.oid, 'USAGE') AND has_any_column_privilege(role.oid, c.oid, 'SELECT')
    UNION ALL
    SELECT CASE WHEN d.callable THEN 'f' ELSE 'u' END, format('%I.%I(%s)', d.nspname, d.proname, oidvectortypes(d.proargtypes)), d.exempt
      FROM definers d WHERE d.callable OR d.exempt IS NOT NULL
    UNION ALL
    SELECT 'w', format('%I.%I', n.nspname, c.relname), max(s.exempt)
      FROM seen s JOIN pg_class c ON c.oid = s.oid AND c.relkind = 'v' JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN role
     WHERE s.exempt IS NOT NULL AND has_schema_privilege(role.oid, n.oid, 'USAGE') AND pg_relation_is_updatable(c.oid, true) <> 0
       AND (has_any_column_privilege(role.oid, c.oid, 'INSERT, UPDATE') OR has_table_privilege(role.oid, c.oid, 'DELETE'))
     GROUP BY n.nspname, c.relname
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
            "u" => Kind::Uncalled,
            "w" => Kind::Written,
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
    let asked = || ways.iter().filter(|way| !matches!(way.kind, Kind::Uncalled | Kind::Written));
    for way in asked().take(WAYS_MAX) {
        let answer = look(actor, spec, BOUNDS, &Stmt::raw(way.relation.clone()), value).await?;
        verdicts.push(judged(way, spec, answer));
    }
    let many = asked().count();
    if many > WAYS_MAX {
        verdicts.push(Verdict::Weak(format!("of {many} views, functions and partitions {WAYS_MAX} were asked")));
    }
    Ok(verdicts)
}

/// What passes over the policies and is not asked: a call may write, and so does what is written through a view.
pub(super) fn unasked(ways: &[Around]) -> Option<Verdict> {
    let told = ways.iter().filter_map(|way| {
        let (name, who) = (&way.relation, way.exempt.as_ref()?);
        match way.kind {
            Kind::Uncalled => Some(format!(
                "{name} runs as {who}, whom no policy binds, names the table and is not called here: read what it does"
            )),
            Kind::Written => Some(format!("{name} can be written as {who}, whom no policy binds")),
            Kind::Partition | Kind::View | Kind::Materialised | Kind::Function => None,
        }
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| Verdict::Weak(told.join("; ")))
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
        (Answer::Rows { .. }, Kind::View | Kind::Function | Kind::Uncalled | Kind::Written, _) => {
            Verdict::Holds(format!("{name} has rows, which are not those of {}: who reads there is bound", spec.table))
        }
        (Answer::Refused(refusal), _, _) if refusal.is_denied() => Verdict::Holds(format!("{name}: refused, 42501")),
        // It would have shown rows of everybody's, had it had the time.
        (Answer::Refused(refusal), _, Some(who)) if ["57014", "55P03"].contains(&refusal.sqlstate.as_str()) => {
            Verdict::Unmeasured(format!("{name}, which reads as {who}, whom no policy binds: {}", refusal.told()))
        }
        (Answer::Refused(refusal), _, _) => Verdict::Untried(format!("{name}: {}", refusal.told())),
        (Answer::Unasked(why) | Answer::Glance(why), _, _) => Verdict::Untried(format!("{name}: {why}")),
        (Answer::Unmeasured(why), _, _) => Verdict::Unmeasured(format!("{name}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_too_slow_to_tell_is_not_passed_over() {
        let spec = serde_json::from_value::<Spec>(serde_json::json!({
            "table": "app.t", "column": "org_id", "setting": "app.org", "roles": [], "registry": ["app.orgs", "id"], "force": true
        }));
        let judge = |kind: Kind, exempt: Option<&str>, state: &str| {
            let way = Around { kind, relation: "app.v".to_owned(), exempt: exempt.map(str::to_owned) };
            let verdict = spec.as_ref().map(|spec| judged(&way, spec, Answer::refused(state, "late")));
            verdict.map(|verdict| matches!(verdict, Verdict::Unmeasured(_))).ok()
        };
        for kind in [Kind::View, Kind::Function] {
            assert_eq!(judge(kind, Some("postgres"), "57014"), Some(true));
            assert_eq!(judge(kind, Some("postgres"), "55P03"), Some(true));
            assert_eq!(judge(kind, Some("postgres"), "42501"), Some(false));
            assert_eq!(judge(kind, None, "57014"), Some(false));
        }
    }
}

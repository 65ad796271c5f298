//! Nobody did for so long what row-level security would change, as the shadow of the plan noted it (`shadow_rls`): read without a
//! tenant, or with something in its place that is none, or wrote a row of another tenant than its own.
//!
//! `for` says how long, `tables` which tables (all that are noted where it is left out). Reads with a tenant that met rows of
//! others are noted, and hold the gate up only with `others = true`: the statement may join or filter them away. A transaction
//! that has not ended is found by its lock on the log; a log that is younger than that time is a finding, and so is a role of
//! [tenancy] that no policy binds: what it does is not noted. With `wait` the gate is measured again while it finds something;
//! when that is spent the run pauses, and nothing is undone. Without it a finding is a failure of the phase.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::{Millis, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
};

/// A session notes the same thing once in so many seconds: what it did in the rest of them is not known.
pub const SLOT_S: u32 = 10;
const FOR_MIN: Millis = Millis(1_000);
/// How many findings are told: one for each table, application, user and case.
const FINDINGS_MAX: u32 = 50;

/// A check of the kind `unseen`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    /// The table of a step `shadow_log`.
    pub log: QName,
    pub r#for: Millis,
    pub wait: Option<Millis>,
    #[serde(default)]
    pub tables: Vec<QName>,
    /// Whether reads with a tenant that met rows of others count as well.
    #[serde(default)]
    pub others: bool,
    #[serde(skip)]
    roles: Vec<Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind = "unseen"
log  = "app.shadow"
for  = "10min"
"#;

impl CheckKind for Unseen {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.r#for < FOR_MIN {
            site.error("for", "TM0358", "a time of less than a second says nothing")
                .help("write for how long nothing may have been noted: for = \"10min\"");
        }
        if let Some(tenancy) = site.tenancy() {
            self.roles.clone_from(&tenancy.roles);
        }
    }

    fn lower(&self) -> Gate {
        let length = humantime::format_duration(self.r#for.duration()).to_string();
        let mut queries = vec![self.notes(), self.young(&length), self.under_way()];
        queries.extend(self.tables.iter().filter_map(|table| self.unbound(table)));
        let names: Vec<String> = self.tables.iter().map(ToString::to_string).collect();
        let (on, of) = if names.is_empty() {
            (String::new(), String::new())
        } else {
            (format!(" on {}", names.join(", ")), format!(":{}", names.join(",")))
        };
        Gate {
            id: format!("unseen:{}{of}", self.log),
            kind: "unseen".to_owned(),
            title: format!("nobody did{on} for {length} what row-level security would change ({})", self.log),
            query: sql!("{}", List(&queries, " UNION ALL ")),
            baseline: None,
            tables: vec![self.log.clone()],
            wait: self.wait,
            measure: Measure::Query,
        }
    }
}

impl Unseen {
    /// `for` before now.
    fn since(&self) -> Stmt {
        sql!("(clock_timestamp() - {}::interval)", Literal::new(format!("{}ms", self.r#for.0)))
    }

    fn notes(&self) -> Stmt {
        let names: Vec<Literal> = self.tables.iter().map(|table| Literal::new(table.to_string())).collect();
        let of = if names.is_empty() { Stmt::raw("") } else { sql!(" AND n.relation IN ({})", List(&names, ", ")) };
        let others = Stmt::raw(if self.others { "" } else { " AND NOT (n.command = 'read' AND n.tenant = 'other')" });
        sql!(
            "(SELECT format('%s as %s %s %s %s, last at %s', coalesce(nullif(n.application, ''), 'an application without a name'), n.username,
                            CASE n.command WHEN 'read' THEN 'read' ELSE 'wrote to' END, n.relation,
                            CASE n.tenant WHEN 'missing' THEN 'without a tenant' WHEN 'unreadable' THEN 'with a setting that is no tenant'
                                 ELSE CASE n.command WHEN 'read' THEN 'and met rows of other tenants than its own' ELSE 'a row of another tenant than its own' END END,
                            to_char(max(n.at), 'YYYY-MM-DD HH24:MI:SS TZ')) AS what,
                    count(*)::bigint AS found,
                    coalesce(nullif((array_agg(n.statement ORDER BY n.at DESC))[1], ''), format('pid %s', max(n.pid))) AS example
               FROM {} AS n WHERE n.slot > {} - {} * interval '1 second' AND n.relation <> ''{}{}
              GROUP BY n.application, n.username, n.relation, n.command, n.tenant ORDER BY max(n.at) DESC LIMIT {})",
            self.log,
            self.since(),
            SLOT_S,
            of,
            others,
            FINDINGS_MAX
        )
    }

    fn young(&self, length: &str) -> Stmt {
        sql!(
            "SELECT format('what row-level security would change is noted since %s only, not for %s',
                           coalesce(to_char(l.first, 'YYYY-MM-DD HH24:MI:SS TZ'), 'now'), {}), 1::bigint, NULL::text
               FROM (SELECT (SELECT n.at FROM {} AS n ORDER BY n.slot LIMIT 1) AS first) AS l
              WHERE l.first IS NULL OR l.first > {}",
            Literal::new(length),
            self.log,
            self.since()
        )
    }

    /// A prepared transaction has a lock and no process.
    fn under_way(&self) -> Stmt {
        sql!(
            "SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction did what row-level security would change'
                         ELSE format('%s as %s did what row-level security would change, in a transaction that has not ended',
                                     coalesce(nullif(a.application_name, ''), 'an application without a name'), coalesce(a.usename, '?')) END,
                    1::bigint, 'pid ' || l.pid
               FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
              WHERE l.locktype = 'relation' AND l.relation = {}::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())",
            Literal::new(self.log.to_string())
        )
    }

    /// Roles of the application to which the policy does not apply. An owner is bound again by FORCE.
    fn unbound(&self, table: &QName) -> Option<Stmt> {
        let names: Vec<Literal> = self.roles.iter().map(|role| Literal::new(role.as_str())).collect();
        (!names.is_empty()).then(|| {
            sql!(
                "SELECT format('nothing that %I does on %s is noted: %s', r.rolname, {0},
                               CASE WHEN r.rolsuper THEN 'it is a superuser' WHEN r.rolbypassrls THEN 'it has BYPASSRLS'
                                    ELSE 'it has the rights of the owner' END), 1::bigint, NULL::text
                   FROM pg_roles AS r JOIN pg_class AS c ON c.oid = to_regclass({0})
                  WHERE r.rolname IN ({1}) AND (r.rolsuper OR r.rolbypassrls OR NOT c.relforcerowsecurity AND pg_has_role(r.oid, c.relowner, 'USAGE'))",
                Literal::new(table.to_string()),
                List(&names, ", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::parse;

    #[track_caller]
    fn check(keys: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = 'p'\n[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'assert'\nsql = 'SELECT true'\n[[phase.gate]]\nkind = 'unseen'\nlog = 'app.shadow'\n{keys}"
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{keys}: {diags:?}");
    }

    #[test]
    fn times_have_units() {
        check("for = '10min'\nwait = '24h'\ntables = ['app.trades']\nothers = true", &[]);
        check("for = 600", &["TM0103"]);
        check("for = '500ms'", &["TM0358"]);
    }
}

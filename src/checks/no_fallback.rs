//! Nobody went on for so long as the tenant of `[tenancy] fallback`, as the context function noted it (`fallback_log`): whoever
//! says no tenant can be refused now.
//!
//! `for` says how long. Told are the application, the session user, how often, when last, from where and with what statement. A
//! transaction that has not ended is found by its lock on the log. A session that fell back in a read-only transaction could not write a
//! note: it is told by an advisory lock that it keeps, until it ends or has done nothing for that time. A log that is younger than that time is a
//! finding, and so is a context function that falls back and notes nothing. Once the context function no longer falls back nothing is a finding.
//! With `wait` the gate is measured again while it finds something; when that is spent the run pauses, and nothing is undone.
//! Without it a finding is a failure of the phase. Not seen: what reads on a standby, and a short session that
//! began and ended between two looks and only read in read-only transactions.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::{Millis, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
};

/// A session is noted once in so many seconds: whether it fell back in the rest of them is not known.
pub const SLOT_S: u32 = 10;
/// The second key of the advisory lock of sessions that fell back in a read-only transaction; the first is [`lock`].
pub const READERS: u32 = 1;
const FOR_MIN: Millis = Millis(1_000);
/// How many findings are told: one for each application and user.
const FINDINGS_MAX: u32 = 50;

/// The function that a context function calls when its session falls back.
pub fn note(log: &QName) -> QName {
    log.sibling(Ident::derived(&[log.name.as_str(), "note"]))
}

/// The first key of the advisory lock: of this log, and hardly of anything else. pg_locks shows it as an oid, so it has no sign.
pub fn lock(log: &QName) -> u32 {
    let digest = Sha256::digest(log.to_string().as_bytes());
    digest.iter().take(size_of::<u32>()).fold(0, |key, byte| key << 8 | u32::from(*byte)) & (u32::MAX >> 1)
}

/// A check of the kind `no_fallback`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoFallback {
    /// The table of a step `fallback_log`; `tenantmig_fallback` beside the registry where it is left out.
    pub log: Option<QName>,
    pub r#for: Millis,
    pub wait: Option<Millis>,
    #[serde(skip)]
    context: Option<Context>,
}

/// What [tenancy] says of it.
#[derive(Debug)]
struct Context {
    function: QName,
    key: Literal,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind = "no_fallback"
log  = "app.fallen"
for  = "10min"
"#;

impl CheckKind for NoFallback {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.r#for < FOR_MIN {
            site.error("for", "TM0359", "a time of less than a second says nothing")
                .help("write for how long nobody may have fallen back: for = \"10min\"");
        }
        let Some(tenancy) = site.tenancy() else {
            if site.lacks_tenancy() && self.log.is_none() {
                site.error("log", "TM0354", "the plan has no [tenancy], beside whose registry the log would stand")
                    .help("write log = \"…\", the table of the step fallback_log");
            }
            return;
        };
        self.log.get_or_insert_with(|| tenancy.fallback_log());
        self.context =
            tenancy.function.clone().zip(tenancy.fallback.clone()).map(|(function, key)| Context { function, key });
    }

    fn lower(&self) -> Gate {
        // Without one the plan has an error, which `check` has told.
        let log = self
            .log
            .clone()
            .unwrap_or_else(|| QName::new(Ident::derived(&["public"]), Ident::derived(&["tenantmig_fallback"])));
        let length = humantime::format_duration(self.r#for.duration()).to_string();
        let queries = [self.notes(&log), self.young(&log, &length), under_way(&log), self.readers(&log, &length)];
        let mut query = sql!("{}", List(&queries, " UNION ALL "));
        if let Some(context) = &self.context {
            query = context.around(&query, &log);
        }
        Gate {
            id: format!("no_fallback:{log}"),
            kind: "no_fallback".to_owned(),
            title: format!("nobody went on as the tenant of the fallback for {length} ({log})"),
            query,
            baseline: None,
            tables: vec![log],
            wait: self.wait,
            measure: Measure::Query,
        }
    }
}

impl NoFallback {
    /// `for` before now.
    fn since(&self) -> Stmt {
        sql!("(clock_timestamp() - {}::interval)", Literal::new(format!("{}ms", self.r#for.0)))
    }

    fn notes(&self, log: &QName) -> Stmt {
        sql!(
            "(SELECT format('%s as %s said no tenant and went on as that of the fallback, last at %s',
                            coalesce(nullif(n.application, ''), 'an application without a name'), n.username,
                            to_char(max(n.at), 'YYYY-MM-DD HH24:MI:SS TZ')) AS what,
                    count(*)::bigint AS found,
                    (array_agg(concat_ws(': ', format('pid %s%s', n.pid, ' from ' || host(n.address)), nullif(n.statement, '')) ORDER BY n.at DESC))[1] AS example
               FROM {} AS n WHERE n.slot > {} - {} * interval '1 second' AND n.pid <> 0
              GROUP BY n.application, n.username ORDER BY max(n.at) DESC LIMIT {})",
            log,
            self.since(),
            SLOT_S,
            FINDINGS_MAX
        )
    }

    /// The last time that it began: the function may have been another one in between.
    fn young(&self, log: &QName, length: &str) -> Stmt {
        sql!(
            "SELECT format('who falls back is noted since %s only, not for %s', coalesce(to_char(l.began, 'YYYY-MM-DD HH24:MI:SS TZ'), 'now'), {}),
                    1::bigint, NULL::text
               FROM (SELECT max(n.at) AS began FROM {} AS n WHERE n.pid = 0) AS l WHERE l.began IS NULL OR l.began > {}",
            Literal::new(length),
            log,
            self.since()
        )
    }

    /// Of sessions of others a role without pg_read_all_stats sees no more than the name. Our own fall back while they ask
    /// as the application.
    fn readers(&self, log: &QName, length: &str) -> Stmt {
        sql!(
            "(SELECT format('%s as %s fell back in a read-only transaction, and counts until it ends or does nothing for %s',
                            coalesce(nullif(a.application_name, ''), 'an application without a name'), coalesce(a.usename, '?'), {}),
                     count(*)::bigint, format('pid %s%s', max(a.pid), ' from ' || host(max(a.client_addr)))
                FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
               WHERE l.locktype = 'advisory' AND l.classid = {} AND l.objid = {} AND l.objsubid = 2
                 AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                 AND NOT starts_with(a.application_name, 'tenantmig ')
                 AND (a.state IS DISTINCT FROM 'idle' OR a.state_change > {})
               GROUP BY a.application_name, a.usename LIMIT {})",
            Literal::new(length),
            lock(log),
            READERS,
            self.since(),
            FINDINGS_MAX
        )
    }
}

/// A prepared transaction has a lock and no process.
fn under_way(log: &QName) -> Stmt {
    sql!(
        "SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction said no tenant'
                     ELSE format('%s as %s said no tenant, in a transaction that has not ended',
                                 coalesce(nullif(a.application_name, ''), 'an application without a name'), coalesce(a.usename, '?')) END,
                1::bigint, 'pid ' || l.pid
           FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
          WHERE l.locktype = 'relation' AND l.relation = {}::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())",
        Literal::new(log.to_string())
    )
}

impl Context {
    /// Once nobody can fall back any more the findings are past; while somebody can and is not noted, they say nothing.
    fn around(&self, findings: &Stmt, log: &QName) -> Stmt {
        let within = |text: String| sql!("position({} IN p.prosrc) > 0", Literal::new(text));
        sql!(
            "WITH context AS (SELECT {} AS notes, {} AS falls FROM pg_proc AS p WHERE p.oid = to_regprocedure({})),
                  findings (what, found, example) AS ({})
             SELECT f.what, f.found, f.example FROM findings AS f WHERE EXISTS (SELECT FROM context AS c WHERE c.notes)
             UNION ALL SELECT {}, 1::bigint, NULL::text FROM context AS c WHERE c.falls AND NOT c.notes",
            within(note(log).to_string()),
            within(sql!("{}", self.key).as_str().to_owned()),
            Literal::new(format!("{}()", self.function)),
            findings,
            Literal::new(format!("{} falls back and notes nobody: somebody replaced it", self.function))
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::parse;

    #[track_caller]
    fn check(keys: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = 'p'\n[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'assert'\nsql = 'SELECT true'\n[[phase.gate]]\nkind = 'no_fallback'\n{keys}"
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{keys}: {diags:?}");
    }

    #[test]
    fn times_have_units_and_the_log_a_place() {
        check("log = 'app.fallen'\nfor = '10min'\nwait = '24h'", &[]);
        check("log = 'app.fallen'\nfor = 600", &["TM0103"]);
        check("log = 'app.fallen'\nfor = '500ms'", &["TM0359"]);
        check("for = '10min'", &["TM0354"]);
    }
}

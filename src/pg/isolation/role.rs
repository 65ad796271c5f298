//! What the application's role is: P0.

use tokio_postgres::{Client, types::Type};

use super::{
    actor::Actor,
    facts::Facts,
    transaction::{BOUNDS, rolled_back},
};
use crate::{
    hazards::becomes,
    isolation::{Spec, Verdict},
    pg::{Fault, connect::Connection},
    sql,
    sql::{Ident, Literal, Stmt},
};

/// From this version on a membership says whether SET ROLE may be used.
const SET_OPTION: i32 = 160_000;

/// Whether a role is there, and may be taken by SET ROLE in a session of this login's.
pub(in crate::pg) async fn takeable(session: &Connection, role: &Ident) -> Result<Result<(), String>, Fault> {
    let set = Literal::new(if session.server_version_num >= SET_OPTION { "SET" } else { "MEMBER" });
    let query = sql!(
        "SELECT session_user::text, pg_has_role(session_user, r.oid, {}) FROM pg_roles r WHERE r.rolname = $1",
        set
    );
    let name = role.as_str();
    let look =
        async |client: &Client| Ok::<_, Fault>(client.query_typed_opt(query.as_str(), &[(&name, Type::TEXT)]).await?);
    let Some(row) = session.with(look).await? else {
        return Ok(Err(format!("there is no role {role}")));
    };
    let (login, may): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(if may { Ok(()) } else { Err(format!("{login} may not SET ROLE {role}: GRANT {role} TO {login}")) })
}

/// $1 the role, $2 the table, $3 the setting's name.
fn query(version: i32) -> Stmt {
    sql!(
        "SELECT r.rolsuper, r.rolbypassrls, c.relowner = r.oid, pg_has_role(r.oid, c.relowner, 'MEMBER'), c.relforcerowsecurity,
                ARRAY(SELECT x.rolname::text FROM pg_roles x WHERE (x.rolsuper OR x.rolbypassrls) AND x.oid <> r.oid
                         AND {} ORDER BY 1) AS above,
                ARRAY(SELECT s.line FROM (SELECT unnest(d.setconfig) AS line FROM pg_db_role_setting d
                         WHERE d.setrole IN (0, r.oid) AND d.setdatabase IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))) s
                       WHERE lower(split_part(s.line, '=', 1)) IN (lower($3), 'row_security', 'role') ORDER BY 1) AS preset,
                ARRAY(SELECT p.oid::regprocedure::text FROM pg_proc p CROSS JOIN LATERAL unnest(p.proconfig) AS f (line)
                       WHERE lower(split_part(f.line, '=', 1)) = lower($3) AND split_part(f.line, '=', 2) <> '' AND has_function_privilege(r.oid, p.oid, 'EXECUTE') ORDER BY 1) AS functions,
                ARRAY(SELECT DISTINCT p.oid::regprocedure::text FROM pg_policy y
                        CROSS JOIN regexp_matches(concat(y.polqual::text, ' ', y.polwithcheck::text), ':(?:funcid|opfuncid) (\\d+)', 'g') m
                        JOIN pg_proc p ON p.oid = m[1]::oid AND p.oid >= 16384
                       WHERE y.polrelid = c.oid AND pg_has_role(r.oid, p.proowner, 'MEMBER') ORDER BY 1) AS replaceable
           FROM pg_roles r CROSS JOIN pg_class c WHERE r.rolname = $1 AND c.oid = to_regclass($2)",
        becomes(u32::try_from(version).unwrap_or_default(), "r", "x")
    )
}

/// P0. `actor` is on a session in which nothing was set yet.
pub(super) async fn role(admin: &Connection, actor: &Actor<'_>, spec: &Spec, facts: &Facts) -> Result<Verdict, Fault> {
    let (name, table, setting) = (actor.name.as_str(), spec.table.to_string(), spec.setting.as_str());
    let query = query(admin.server_version_num);
    let row = rolled_back(admin, BOUNDS, async |client: &Client| {
        let of = [
            (&name as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT),
            (&table, Type::TEXT),
            (&setting, Type::TEXT),
        ];
        Ok(client.query_typed_opt(query.as_str(), &of).await?)
    })
    .await?;
    let Some(row) = row else { return Ok(Verdict::Unmeasured(format!("there is no role {name}"))) };
    let (superuser, bypass, owns, owners): (bool, bool, bool, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let (above, preset, functions): (Vec<String>, Vec<String>, Vec<String>) =
        (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
    let replaceable: Vec<String> = row.try_get(8)?;
    let mut verdicts = Vec::new();
    let mut leak = |what: String| verdicts.push(Verdict::Leak(what));
    if superuser || bypass {
        leak(format!("{name} is {}, whom no policy binds", if superuser { "a superuser" } else { "BYPASSRLS" }));
    }
    if !facts.secured {
        leak(format!("row-level security is off on {table}"));
    }
    if !superuser && !above.is_empty() {
        leak(format!(
            "{name} can become {}, whom no policy binds, by SET ROLE or after a grant to itself",
            above.join(", ")
        ));
    }
    let (active, value) = active(actor, spec).await?;
    if !active && facts.secured && !superuser && !bypass {
        leak(format!("row_security_active is false for {name}"));
    }
    for line in &preset {
        leak(format!("a default of {name}'s sessions: {line}"));
    }
    if let Some(value) = value.filter(|value| !actor.session.pooled || !value.is_empty()) {
        leak(format!("a new session has a tenant: {setting} is '{value}'"));
    }
    if !superuser && (owns || owners) {
        let what = format!(
            "{name} {} and can take the protection off",
            if owns { "owns the table" } else { "is a member of the owner" }
        );
        verdicts.push(if facts.forced { Verdict::Weak(what) } else { Verdict::Leak(what) });
    }
    for function in &functions {
        verdicts.push(Verdict::Weak(format!("{function} sets a tenant for itself, and {name} may call it")));
    }
    if !superuser && !replaceable.is_empty() {
        let functions = replaceable.join(", ");
        verdicts.push(Verdict::Weak(format!("{name} may replace {functions}, by which the policies know the tenant")));
    }
    Ok(Verdict::worst(verdicts)
        .unwrap_or_else(|| Verdict::Holds("neither superuser, BYPASSRLS nor owner; policies are active".to_owned())))
}

/// `row_security_active`, and what the setting says.
async fn active(actor: &Actor<'_>, spec: &Spec) -> Result<(bool, Option<String>), Fault> {
    let query = sql!(
        "SELECT row_security_active(to_regclass({})::oid), current_setting({}, true)",
        Literal::new(spec.table.to_string()),
        Literal::new(spec.setting.clone())
    );
    actor
        .act(BOUNDS, async |client: &Client| {
            let row = client.query_typed_one(query.as_str(), &[]).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        })
        .await
}

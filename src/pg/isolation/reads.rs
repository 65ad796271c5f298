//! What is visible: P1 to P5, P9 to P11.

use tokio_postgres::Client;

use super::{
    actor::{Actor, enter},
    facts::{Facts, Rights},
    tenant::{Eye, SAMPLE, Tenants, open, owed},
    transaction::{BOUNDS, Form, GLANCE, ask, become_role, refusal, rolled_back, set},
};
use crate::{
    isolation::{Answer, Spec, Verdict},
    pg::{Bounds, Fault, connect::Connection},
    sql,
    sql::{Ident, Literal, Stmt},
};

/// So many rows that must not be there are enough.
const LEAK: u32 = 5;
/// From the sixth time on a prepared statement may have a plan for all values.
const EXECUTIONS: usize = 6;

/// Rows that are there, up to a few.
fn any(table: &Stmt) -> Stmt {
    sql!("SELECT count(*), 0::bigint FROM (SELECT 1 FROM {} LIMIT {}) s", table, LEAK)
}

/// Whether the setting is as a login leaves it.
pub(super) async fn is_fresh(client: &Client, spec: &Spec) -> Result<bool, Fault> {
    let query = sql!("SELECT current_setting({}, true) IS NULL", Literal::new(spec.setting.clone()));
    Ok(client.query_typed_one(query.as_str(), &[]).await?.try_get(0)?)
}

/// P1 to P4: rows of `table` in a context. A large table that no index helps with is read for a glance.
pub(super) async fn visible(
    actor: &Actor<'_>,
    spec: &Spec,
    facts: &Facts,
    value: Option<&str>,
) -> Result<Answer, Fault> {
    let bounds = if facts.is_long() { Bounds { statement: GLANCE, ..BOUNDS } } else { BOUNDS };
    let relation = match &spec.fallback {
        // Of rows that the fallback tenant may see, those that are not its own.
        Some(fallback) if value.is_none_or(str::is_empty) => sql!(
            "(SELECT 1 FROM (SELECT {0} AS tenant FROM {1} LIMIT {2}) s WHERE s.tenant IS DISTINCT FROM {3}) f",
            spec.column,
            spec.table,
            SAMPLE,
            Literal::new(fallback.clone())
        ),
        Some(_) | None => sql!("{}", spec.table),
    };
    let answer = look(actor, spec, bounds, &relation, value).await?;
    if facts.is_long() && matches!(&answer, Answer::Refused(refusal) if refusal.sqlstate == "57014") {
        let (glance, column) = (GLANCE.as_millis(), &spec.column);
        return Ok(Answer::Glance(format!(
            "no row in the first {glance} ms of reading it; no index begins with {column}"
        )));
    }
    Ok(answer)
}

/// Rows of any relation in a context.
pub(super) async fn look(
    actor: &Actor<'_>,
    spec: &Spec,
    bounds: Bounds,
    relation: &Stmt,
    value: Option<&str>,
) -> Result<Answer, Fault> {
    actor
        .act(bounds, async |client: &Client| {
            if value.is_none() && !is_fresh(client, spec).await? {
                return Ok(Answer::Unasked("no session here is without a tenant".to_owned()));
            }
            enter(client, spec, value).await?;
            ask(client, Form::Count, &any(relation)).await
        })
        .await
}

/// P5: what a real tenant sees, and what it must see where somebody can count that. One snapshot for both where one session
/// can be both.
pub(super) async fn own(
    admin: &Connection,
    actor: &Actor<'_>,
    spec: &Spec,
    facts: &Facts,
    tenants: &Tenants,
    real: &str,
) -> Result<(Answer, Option<i64>), Fault> {
    // Without an index more than the first row may be far away.
    let most = if facts.is_long() { 1 } else { SAMPLE };
    let see = sql!(
        "SELECT count(*), count(*) FILTER (WHERE s.tenant IS DISTINCT FROM {3}) FROM (SELECT {0}::text AS tenant FROM {1} LIMIT {2}) s",
        spec.column,
        spec.table,
        most,
        Literal::new(real)
    );
    let count = async |client: &Client| {
        if tenants.eye == Eye::Nobody {
            return Ok(None);
        }
        open(client, &tenants.eye).await?;
        owed(client, spec, real, most).await.map(Some)
    };
    // Behind a pooler a transaction has had a query before we get it.
    if let (Some(role), false) = (actor.role, actor.session.pooled) {
        return rolled_back(actor.session, BOUNDS, async |client: &Client| {
            client.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
            let owed = count(client).await?;
            become_role(client, Some(role)).await?;
            set(client, &spec.setting, real).await?;
            Ok((ask(client, Form::Count, &see).await?, owed))
        })
        .await;
    }
    // Two sessions: what was there before and after is there in between, but for rows that came and went.
    let before = rolled_back(admin, BOUNDS, count).await?;
    let answer = actor
        .act(BOUNDS, async |client: &Client| {
            set(client, &spec.setting, real).await?;
            ask(client, Form::Count, &see).await
        })
        .await?;
    let after = rolled_back(admin, BOUNDS, count).await?;
    Ok((answer, before.zip(after).map(|(a, b)| a.min(b))))
}

/// P9: the owner without a tenant.
pub(super) async fn owner(session: &Connection, spec: &Spec, facts: &Facts) -> Result<Answer, Fault> {
    let owner = Actor { session, role: Some(&facts.owner), name: &facts.owner, way: crate::isolation::Way::SetRole };
    match visible(&owner, spec, facts, None).await {
        Err(fault) => {
            Ok(Answer::Unasked(format!("the migrating role may not be {}: {}", facts.owner, refusal(fault)?.told())))
        }
        answer => answer,
    }
}

/// P10: a plan that was made for one tenant is used for the next.
pub(super) async fn prepared(actor: &Actor<'_>, spec: &Spec, phantom: &str, real: &str) -> Result<Verdict, Fault> {
    if actor.session.pooled {
        return Ok(Verdict::Untried("through a pooler a prepared statement may be another session's".to_owned()));
    }
    let stmt = any(&sql!("{}", spec.table));
    let counted = actor.act(BOUNDS, async |client: &Client| {
        set(client, &spec.setting, real).await?;
        let statement = client.prepare(stmt.as_str()).await?;
        let mut counts = Vec::new();
        for (value, times) in [(real, EXECUTIONS), (phantom, 1), ("", 1)] {
            set(client, &spec.setting, value).await?;
            let mut rows = 0;
            for _ in 0..times {
                rows = client.query_one(&statement, &[]).await?.try_get::<_, i64>(0)?;
            }
            counts.push(rows);
            // In strict mode there is no third answer, and with a fallback another one.
            if value == phantom && (spec.strict || spec.fallback.is_some()) {
                break;
            }
        }
        Ok(counts)
    });
    Ok(match counted.await {
        Ok(counts) => match counts.as_slice() {
            [_, 0] | [_, 0, 0] => Verdict::Holds("its rows, then none".to_owned()),
            [_, rows, ..] => Verdict::Leak(format!(
                "prepared as one tenant and executed as another, or as none, a statement shows {} rows of the first: a function in \
                 the policy is not as volatile as what it reads (STABLE, not IMMUTABLE)",
                rows.max(counts.last().unwrap_or(&0))
            )),
            [] | [_] => Verdict::Unmeasured("no answer".to_owned()),
        },
        Err(fault) => Verdict::Unmeasured(refusal(fault)?.told()),
    })
}

/// P11: whoever may switch policies off sees everything.
pub(super) async fn switched_off(actor: &Actor<'_>, spec: &Spec) -> Result<Verdict, Fault> {
    let answer = actor
        .act(BOUNDS, async |client: &Client| {
            client.batch_execute("SET LOCAL row_security = off").await?;
            ask(client, Form::Count, &any(&sql!("{}", spec.table))).await
        })
        .await?;
    Ok(match answer {
        Answer::Refused(refusal) if refusal.is_denied() => Verdict::Holds("refused, 42501".to_owned()),
        Answer::Refused(refusal) => Verdict::Unmeasured(refusal.told()),
        Answer::Rows { .. } => Verdict::Leak("with row_security = off the role reads past the policies".to_owned()),
        Answer::Glance(why) | Answer::Unasked(why) => Verdict::Untried(why),
        Answer::Unmeasured(why) => Verdict::Unmeasured(why),
    })
}

/// Why a role that may read nothing is not asked.
pub(super) fn may_read(rights: &Rights, role: &Ident) -> Result<(), String> {
    if rights.select { Ok(()) } else { Err(format!("{role} may not read it")) }
}

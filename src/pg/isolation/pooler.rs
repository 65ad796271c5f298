//! The application's pooler: B1 to B5. Whether what one client's session says reaches another's, by the same server session.
//!
//! Nothing of the application's is set for a session here: the negative control and the residue use names of our own, and take
//! away again what a pooler lets stand.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::transaction::{BOUNDS, refusal};
use crate::{
    isolation::{Asked, Probe, Spec, Verdict},
    pg::{
        Fault,
        connect::{ConnectError, Connection, SessionSpec, connect},
        settings::{Origin, Setting, Settings},
    },
    sql,
    sql::{Literal, Stmt},
};

/// Short connections of B1: more than a pool usually has server sessions.
const CANARIES: usize = 20;
/// How often it is tried to get the server session that the other client has just had.
const MEETINGS: usize = 50;
/// A setting of our own for the negative control.
const CONTROL: &str = "tenantmig.residue";

/// B1 to B5, once for a connection string: they are about the pooler and not about a table.
pub(super) async fn pooler(app: &Settings, spec: &Spec, phantom: &str) -> Result<Vec<Asked>, Fault> {
    let (one, two) = match (session(app).await, session(app).await) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(error), _) | (_, Err(error)) => {
            return Ok(vec![Asked::new(Probe::Canary, Verdict::Unmeasured(error.to_string()))]);
        }
    };
    Ok(vec![
        Asked::new(Probe::Canary, canaries(app, spec).await?),
        Asked::new(Probe::SharedBackend, shared(&one.client, &two.client, spec, phantom).await?),
        Asked::new(Probe::SessionSetting, control(&one.client, &two.client).await?),
        Asked::new(Probe::Residue, residue(&one.client, &two.client).await?),
        Asked::new(Probe::StartupOption, startup(app, spec, phantom).await?),
    ])
}

async fn session(app: &Settings) -> Result<Connection, ConnectError> {
    let mut spec = SessionSpec::new("tenantmig probe", BOUNDS.lock);
    spec.statement_timeout = Some(BOUNDS.statement);
    connect(app, &spec).await
}

/// The first value of the first row. One message is one transaction, so that it is all of one server session.
async fn value(client: &Client, stmt: &Stmt) -> Result<Option<String>, Fault> {
    let messages = client.simple_query(stmt.as_str()).await?;
    let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
    Ok(row.map(str::to_owned))
}

fn setting(name: &str) -> Stmt {
    sql!("SELECT current_setting({}, true)", Literal::new(name))
}

/// B1: new connections that set nothing.
async fn canaries(app: &Settings, spec: &Spec) -> Result<Verdict, Fault> {
    for number in 1..=CANARIES {
        let session = match session(app).await {
            Ok(session) => session,
            Err(error) => return Ok(Verdict::Unmeasured(error.to_string())),
        };
        if let Some(tenant) = value(&session.client, &setting(&spec.setting)).await?.filter(|tenant| !tenant.is_empty())
        {
            return Ok(Verdict::Leak(format!(
                "connection {number} of {CANARIES} that set nothing has a tenant: {} is '{tenant}'; the application sets it for the \
                 session: set_config(…, true) or SET LOCAL sets it for the transaction",
                spec.setting
            )));
        }
    }
    Ok(Verdict::Holds(format!("none of {CANARIES} has one")))
}

/// Lets `first` do something, and `second` look, until both were served by one server session.
async fn meet(first: &Client, does: &Stmt, second: &Client, looks: &Stmt) -> Result<Option<String>, Fault> {
    for _ in 0..MEETINGS {
        let before = value(first, does).await?;
        let messages = second.simple_query(looks.as_str()).await?;
        let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
        if let Some(row) = row
            && row.get(0) == before.as_deref()
        {
            return Ok(Some(row.get(1).unwrap_or_default().to_owned()));
        }
    }
    Ok(None)
}

fn never_met() -> Verdict {
    Verdict::Untried(format!("in {MEETINGS} tries no server session served both clients"))
}

/// B2: what is set for a transaction ends with it.
async fn shared(one: &Client, two: &Client, spec: &Spec, phantom: &str) -> Result<Verdict, Fault> {
    let name = Literal::new(spec.setting.clone());
    let does = sql!("BEGIN; SELECT pg_backend_pid(), set_config({}, {}, true); COMMIT", name, Literal::new(phantom));
    let looks = sql!("SELECT pg_backend_pid(), current_setting({}, true)", name);
    Ok(match meet(one, &does, two, &looks).await? {
        None => never_met(),
        Some(tenant) if tenant.is_empty() => {
            Verdict::Holds("after SET LOCAL and COMMIT the next client has no tenant".to_owned())
        }
        Some(tenant) => Verdict::Leak(format!("the next client on the same server session has a tenant: '{tenant}'")),
    })
}

/// B3, the negative control: it also shows that B2 would have seen something.
async fn control(one: &Client, two: &Client) -> Result<Verdict, Fault> {
    let name = Literal::new(CONTROL);
    let does = sql!("SELECT pg_backend_pid(), set_config({}, 'here', false)", name);
    let looks = sql!("SELECT pg_backend_pid(), current_setting({0}, true), set_config({0}, '', false)", name);
    Ok(match meet(one, &does, two, &looks).await? {
        None => never_met(),
        Some(left) if left.is_empty() => Verdict::Holds("the pooler resets what is set for a session".to_owned()),
        Some(_) => Verdict::Weak(
            "what one client sets for its session reaches the next: the tenant must be set for the transaction only (SET LOCAL, \
             set_config(…, true)); server_reset_query_always = 1 of PgBouncer takes it away"
                .to_owned(),
        ),
    })
}

/// What a session can leave behind: its name, what makes it, whether it is there, and what takes it away.
fn kinds() -> [(&'static str, Stmt, Stmt, Stmt); 4] {
    const KEY: u32 = 1_952_804_711;
    [
        (
            "a prepared statement",
            sql!("PREPARE tenantmig_residue AS SELECT 1"),
            sql!(
                "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_prepared_statements WHERE name = 'tenantmig_residue')"
            ),
            sql!("DEALLOCATE tenantmig_residue"),
        ),
        (
            "a temporary table",
            sql!("CREATE TEMPORARY TABLE tenantmig_residue ()"),
            sql!(
                "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_class WHERE relname = 'tenantmig_residue' AND relnamespace = pg_my_temp_schema())"
            ),
            sql!("DROP TABLE pg_temp.tenantmig_residue"),
        ),
        (
            "a cursor WITH HOLD",
            sql!("DECLARE tenantmig_residue CURSOR WITH HOLD FOR SELECT 1"),
            sql!("SELECT pg_backend_pid(), (SELECT count(*) FROM pg_cursors WHERE name = 'tenantmig_residue')"),
            sql!("CLOSE tenantmig_residue"),
        ),
        (
            "an advisory lock",
            sql!("SELECT pg_advisory_lock({})", KEY),
            sql!(
                "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = {})",
                KEY
            ),
            sql!("SELECT pg_advisory_unlock({})", KEY),
        ),
    ]
}

/// B4: what else a session leaves.
async fn residue(one: &Client, two: &Client) -> Result<Verdict, Fault> {
    let (mut left, mut met) = (Vec::new(), false);
    for (what, make, look, clear) in kinds() {
        // The first says by whom it was served; each try makes it anew, so what is there is taken away by whoever finds it.
        for _ in 0..MEETINGS {
            let made = one.simple_query(sql!("SELECT pg_backend_pid(); {}", make).as_str()).await;
            let served = match made {
                Ok(messages) => messages.iter().find_map(|m| {
                    if let SimpleQueryMessage::Row(row) = m { row.get(0).map(str::to_owned) } else { None }
                }),
                Err(error) => return Ok(Verdict::Untried(format!("{what}: {}", refusal(Fault::from(error))?.told()))),
            };
            let there = two.simple_query(look.as_str()).await?;
            let row = there.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
            let (by, count) = row.map_or((None, None), |row| (row.get(0), row.get(1)));
            let found = count.is_some_and(|count| count != "0");
            if found {
                two.simple_query(clear.as_str()).await?;
            }
            if by == served.as_deref() {
                met = true;
                left.extend(found.then_some(what));
                break;
            }
            // Made in a session that the other did not get: the first takes it away where it gets that session again.
            if let Err(error) = one.simple_query(clear.as_str()).await {
                tracing::debug!("{what} stays in the pool until its server session ends: {error}");
            }
        }
    }
    Ok(match (met, left.is_empty()) {
        (false, _) => never_met(),
        (true, true) => Verdict::Holds("nothing".to_owned()),
        (true, false) => Verdict::Weak(format!(
            "a session leaves to the next client: {}; server_reset_query_always = 1 of PgBouncer takes it away",
            left.join(", ")
        )),
    })
}

/// B5: a tenant in the startup packet.
async fn startup(app: &Settings, spec: &Spec, phantom: &str) -> Result<Verdict, Fault> {
    let option = format!("-c {}={phantom}", spec.setting);
    let with = Settings { options: Some(Setting::new(option, Origin::Default)), ..app.clone() };
    let session = match session(&with).await {
        Ok(session) => session,
        Err(error) => return Ok(Verdict::Holds(format!("refused: {error}"))),
    };
    Ok(match value(&session.client, &setting(&spec.setting)).await? {
        Some(tenant) if !tenant.is_empty() => {
            Verdict::Weak("a tenant in the connection's options holds for all that the session does".to_owned())
        }
        Some(_) | None => Verdict::Holds("without effect".to_owned()),
    })
}

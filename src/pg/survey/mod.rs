//! Looks for hazards: asks each kind's query of the database, read-only and within a bound, and says what it could not ask.

mod places;

use std::time::Duration;

use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

pub(super) use self::places::Places;
use super::{Bounds, Class, Fault, connect::Connection, in_transaction};
use crate::{
    hazards::{Kind, Needs, Scope, Server, Survey, Unmeasured, kinds},
    sql::Stmt,
};

/// The longest that one kind may be asked for: on 2,000 tables each takes a fraction of a second, and a catalogue so large or a
/// server so busy that one takes longer is no reason to keep a person waiting for the rest. The lock is AccessShare on catalogues,
/// which nobody holds back but a VACUUM FULL of them.
const BOUNDS: Bounds = Bounds { lock: Duration::from_secs(2), statement: Duration::from_secs(5) };

/// Names print qualified; nothing can be written; compiling costs more than a query of the catalogue.
const SETTINGS: &str = "SET TRANSACTION READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off";

/// Looks for every kind of hazard over `scope`. What cannot be asked is told in the answer; only a lost connection is an error.
pub async fn survey(session: &Connection, scope: &Scope) -> Result<Survey, Fault> {
    let places = read_only(session, async |client: &Client| Places::find(client, scope).await).await?;
    let server = places.server(session);
    let mut survey = Survey::default();
    let (mut blind, mut without) = (Vec::new(), Vec::new());
    for kind in kinds() {
        match kind.needs {
            Needs::Statements if places.statements.is_none() => without.push(kind.code),
            Needs::Statements | Needs::Activity if !places.sees_others => blind.push(kind.code),
            Needs::Catalog | Needs::Activity | Needs::Statements => {
                ask(session, kind, &server, &places, scope, &mut survey).await?
            }
        }
    }
    told(&mut survey, without, blind);
    Ok(survey)
}

/// Says which kinds could not be looked for: without the extension, and without the right to see other sessions.
pub(super) fn told(survey: &mut Survey, without: Vec<&'static str>, blind: Vec<&'static str>) {
    let advice = |text: &str| Some(text.to_owned());
    if !without.is_empty() {
        let why = "pg_stat_statements is not installed here, so nobody knows which statements the application runs"
            .to_owned();
        let advice = advice("add it to shared_preload_libraries, then: CREATE EXTENSION pg_stat_statements");
        survey.unmeasured.push(Unmeasured { codes: without, why, advice });
    }
    if !blind.is_empty() {
        let why = "this role may not see what other roles do".to_owned();
        survey.unmeasured.push(Unmeasured { codes: blind, why, advice: advice("GRANT pg_read_all_stats to it") });
    }
}

async fn ask(
    session: &Connection,
    kind: &Kind,
    server: &Server,
    places: &Places,
    scope: &Scope,
    survey: &mut Survey,
) -> Result<(), Fault> {
    match answer(session, kind.title, &kind.query(server), places, scope).await {
        Ok(rows) => rows.into_iter().for_each(|row| survey.add(kind, row)),
        Err(fault) if fault.class == Class::Ambiguous => return Err(fault),
        Err(fault) => survey.unmeasured.push(unasked(kind.code, &fault)),
    }
    Ok(())
}

/// What a kind's query answers: object, what, evidence, fix.
pub(super) type Answer = Vec<(String, String, Option<String>, Option<String>)>;

pub(super) async fn answer(
    session: &Connection,
    title: &str,
    query: &Stmt,
    places: &Places,
    scope: &Scope,
) -> Result<Answer, Fault> {
    let rows = rows(session, title, query, places, scope).await?;
    let row = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
    rows.iter().map(row).collect::<Result<Vec<_>, tokio_postgres::Error>>().map_err(Fault::from)
}

/// Asks `query`, which sees the scope as parameters, in a transaction that can write nothing.
pub(super) async fn rows(
    session: &Connection,
    title: &str,
    query: &Stmt,
    places: &Places,
    scope: &Scope,
) -> Result<Vec<Row>, Fault> {
    let names = places.names(scope);
    let params: [(&(dyn ToSql + Sync), Type); 12] = [
        (&places.tables, Type::OID_ARRAY),
        (&places.written, Type::OID_ARRAY),
        (&places.moved, Type::OID_ARRAY),
        (&places.roles, Type::OID_ARRAY),
        (&places.known, Type::OID_ARRAY),
        (&names.column, Type::TEXT),
        (&places.column_type, Type::TEXT),
        (&names.setting, Type::TEXT),
        (&names.ways, Type::JSONB),
        (&names.function, Type::TEXT),
        (&names.old_after_ms, Type::INT8),
        (&names.deals, Type::JSONB),
    ];
    read_only(session, async |client: &Client| {
        client.query_typed(query.as_str(), &params).await.map_err(|e| Fault::from(e).in_statement(title))
    })
    .await
}

/// One that could not be looked for.
pub(super) fn unasked(code: &'static str, fault: &Fault) -> Unmeasured {
    let advice = Some("look for it by hand, or try again".to_owned());
    Unmeasured { codes: vec![code], why: fault.to_string(), advice }
}

pub(super) async fn read_only<T>(
    session: &Connection,
    work: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
) -> Result<T, Fault> {
    in_transaction(session, BOUNDS, async |client: &Client| {
        client.batch_execute(SETTINGS).await?;
        work(client).await
    })
    .await
}

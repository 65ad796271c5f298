//! Reads the facts of a run: the ledger first, as of one event, then the catalogue as it is now.

use std::time::Duration;

use tokio_postgres::Client;
use uuid::Uuid;

use super::{measured::measured, options::Report};
use crate::{
    cli::{failure::CliError, session::Context},
    engine::Approved,
    evidence::{Approval, Asked, Facing, Facts, Head, Logged, Print, Progress, RangeRow, RunFacts, Section, Server},
    exit::Exit,
    ledger::{self, Cursor, Kept, LedgerError},
    pg::{
        Bounds, Fault,
        connect::{Connection, Identity},
        fingerprint::{Touched, touched},
        in_transaction,
    },
    sql::Ident,
};

/// A run that is under way may go on while it is read; then it is read again, so often.
const READS_MAX: u32 = 5;
/// For the catalogue: nobody's lock is waited for longer, nor its queries.
const BOUNDS: Bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(120) };

/// What the ledger says, and when it was read.
struct Read {
    kept: Kept,
    damage: Option<String>,
    head: Option<ledger::Head>,
    progress: Vec<ledger::Progress>,
    ranges: Vec<ledger::KeptRange>,
    prints: Vec<ledger::KeptPrint>,
    requests: Vec<ledger::KeptRequest>,
    approvals: Vec<ledger::KeptApproval>,
    server: Identity,
    ledger_version: Option<i32>,
    about: About,
}

/// What the server says of itself.
struct About {
    now: chrono::DateTime<chrono::Utc>,
    role: String,
    database: String,
    version: String,
}

/// Everything that a page needs.
pub(super) async fn gather(context: &Context, args: &Report) -> Result<(Facts, Vec<CliError>), CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    let mut read = read(&session, &schema, args.run).await?;
    for _ in 1..READS_MAX {
        let id = read.kept.record.id;
        let now = session.with(async |client: &Client| ledger::head(client, &schema, id).await).await?;
        if now == read.head {
            break;
        }
        read = self::read(&session, &schema, Some(id)).await?;
    }
    let now = catalogue(&session, &read).await;
    let mut measured = measured(context, &session, &schema, &read.kept.record, args).await?;
    let errors = std::mem::take(&mut measured.errors);
    Ok((facts(read, &session, &schema, now, measured), errors))
}

async fn read(session: &Connection, schema: &Ident, run: Option<Uuid>) -> Result<Read, CliError> {
    let read = async |client: &Client| {
        ledger::require(client, schema).await?;
        let newest = ledger::runs(client, schema).await?;
        let Some(id) = run.or_else(|| newest.first().map(|name| name.id)) else { return Err(LedgerError::Missing) };
        let head = ledger::head(client, schema, id).await?;
        let (kept, damage) = match ledger::read(client, schema, id).await {
            Ok(kept) => (kept, None),
            // What can be followed is shown, with what is wrong with it.
            Err(LedgerError::Damaged { what, .. }) => {
                (ledger::read_as_it_stands(client, schema, id).await?, Some(what))
            }
            Err(error) => return Err(error),
        };
        let Some(kept) = kept else { return Ok(Err(id)) };
        Ok(Ok(Read {
            kept,
            damage,
            head,
            progress: ledger::progress(client, schema, id).await?,
            ranges: ledger::all_ranges(client, schema, id).await?,
            prints: ledger::prints(client, schema, id).await?,
            requests: ledger::all_requests(client, schema, id).await?,
            approvals: ledger::all_approvals(client, schema, id).await?,
            server: ledger::last_server(client, schema).await?,
            ledger_version: ledger::version(client, schema).await?,
            about: about(client).await?,
        }))
    };
    session.with(read).await?.map_err(|id: Uuid| {
        CliError::new(
            Exit::Refused,
            format!("the ledger has no run {id}; nothing was written"),
            "tenantmig status prints the run's id",
        )
    })
}

async fn about(client: &Client) -> Result<About, Fault> {
    const QUERY: &str =
        "SELECT clock_timestamp(), current_user::text, current_database()::text, current_setting('server_version')";
    let row = client.query_typed_one(QUERY, &[]).await?;
    Ok(About { now: row.try_get(0)?, role: row.try_get(1)?, database: row.try_get(2)?, version: row.try_get(3)? })
}

/// The touched objects as they are, or why that cannot be told.
async fn catalogue(session: &Connection, read: &Read) -> Section<Facing> {
    let program = &read.kept.record.program;
    let function = program.tenancy.as_ref().and_then(|tenancy| tenancy.function.as_ref());
    let look = async |client: &Client| touched(client, &program.touches(), function).await;
    match in_transaction(session, BOUNDS, look).await {
        Ok(touched) => Section::Given(facing(touched)),
        Err(fault) => Section::Missing(format!("the catalogue could not be read: {}", fault.message)),
    }
}

fn facing(touched: Touched) -> Facing {
    let tables = touched.tables.into_iter().map(|(name, table)| (format!("table {name}"), table.facts));
    let functions = touched
        .functions
        .into_iter()
        .map(|(name, definition)| (format!("function {name}"), [("definition".to_owned(), definition)].into()));
    tables.chain(functions).collect()
}

fn facts(
    read: Read,
    session: &Connection,
    schema: &Ident,
    now: Section<Facing>,
    verified: super::measured::Measured,
) -> Facts {
    let Read { kept, damage, head, progress, ranges, prints, requests, approvals, server, ledger_version, about } =
        read;
    let Kept { record, events, run } = kept;
    let logged = |e: ledger::Recorded| Logged {
        number: e.number,
        at: e.at,
        epoch: e.epoch,
        actor: e.actor,
        host: e.host,
        event: e.event,
    };
    Facts {
        made_at: about.now,
        made_by: about.role,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        run: RunFacts {
            id: record.id.to_string(),
            plan_path: record.plan_path,
            plan_text: record.plan_text,
            fingerprint: record.fingerprint,
            baselines: record
                .baselines
                .iter()
                .filter_map(|(gate, value)| Some((gate.clone(), value.as_i64()?)))
                .collect(),
            created_at: record.created_at,
            created_by: record.created_by,
            host: record.host,
            tool_version: record.tool_version,
        },
        program: record.program,
        state: run,
        log: events.into_iter().map(logged).collect(),
        damage,
        head: head.map(|head| Head { number: head.number, digest: head.digest, base: head.base }),
        server: Server {
            database: about.database,
            at: session.at.clone(),
            version: about.version,
            system_identifier: session.identity.system,
            timeline: session.identity.timeline,
            ledger_system_identifier: server.system,
            ledger_schema: schema.to_string(),
            ledger_version,
        },
        progress: progress.into_iter().map(walk).collect(),
        ranges: ranges.into_iter().map(range).collect(),
        prints: prints.into_iter().filter_map(print).collect(),
        now,
        requests: requests.into_iter().map(asked).collect(),
        approvals: approvals.into_iter().map(approval).collect(),
        verified: verified.verified,
        isolation: verified.isolation,
        audit: verified.audit,
        latency: verified.latency,
    }
}

fn walk(row: ledger::Progress) -> Progress {
    // One that cannot be read says nothing of where the walk was to end, and the page says that it is not kept.
    let cursor = row.cursor.and_then(|cursor| serde_json::from_value::<Cursor>(cursor).ok());
    Progress { unit: crate::unit::UnitId(row.unit), walk: cursor.map(|cursor| (cursor.sweep, cursor.heaps)) }
}

fn range(row: ledger::KeptRange) -> RangeRow {
    let ledger::KeptRange { unit, range, rows, rows_hot, claimed_at, updated_at } = row;
    RangeRow { unit, range, rows, rows_hot, claimed_at, updated_at }
}

fn print(print: ledger::KeptPrint) -> Option<Print> {
    let ledger::KeptPrint { phase, format, server, taken_at, touched } = print;
    Some(Print { phase, format, server, taken_at, facts: facing(touched?) })
}

fn asked(request: ledger::KeptRequest) -> Asked {
    let ledger::KeptRequest { id, asked_at, actor, host, what, event, refused } = request;
    Asked { number: id, at: asked_at, actor, host, what, event, refused }
}

/// Which event took it, the log says.
fn approval(kept: ledger::KeptApproval) -> Approval {
    let ledger::KeptApproval { phase, at, approved: Approved { number, by, host, reason, at: _ } } = kept;
    Approval { number, phase, at, by, host, reason, event: None }
}

//! `approvals`: who let a phase begin, or what it did stay. Whoever approves writes a row, from any host; the holder of the lease,
//! who waits for it, asks here.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio_postgres::{GenericClient, Row, types::Type};
use uuid::Uuid;

use super::error::LedgerError;
use crate::{
    engine::Approved,
    sql,
    sql::{Ident, Stmt},
    unit::UnitId,
};

/// What a phase that waits for an approval finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub given: Option<Approved>,
    /// How long it has been waited for, by the server's clock; for what is approved beforehand nobody counts.
    pub waited: Duration,
}

/// Approves it, and gives the approval's number. Who does, and when, the server notes.
pub async fn approve(
    client: &impl GenericClient,
    schema: &Ident,
    (run, phase): (Uuid, &str),
    host: &str,
    reason: Option<&str>,
) -> Result<i64, LedgerError> {
    let insert = sql!(
        "INSERT INTO {}.approvals (run_id, phase, host, reason) VALUES ($1, $2, $3, $4) RETURNING approval_id",
        schema
    );
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
        [(&run, Type::UUID), (&phase, Type::TEXT), (&host, Type::TEXT), (&reason, Type::TEXT)];
    Ok(client.query_typed_one(insert.as_str(), &params).await?.try_get(0)?)
}

/// Which approvals count.
#[derive(Debug, Clone, Copy)]
pub enum Counts<'a> {
    /// Those since anything of the run was undone last.
    SinceUndone,
    /// Those within the time, since the last of these units was done.
    Within { units: &'a [UnitId], within: Duration },
}

/// Whether somebody approved: by the events in the ledger, so that every process sees the same.
pub async fn approval(
    client: &impl GenericClient,
    schema: &Ident,
    (run, phase): (Uuid, &str),
    counts: Counts<'_>,
) -> Result<Approval, LedgerError> {
    let (units, within) = match counts {
        Counts::SinceUndone => (&[][..], Duration::ZERO),
        Counts::Within { units, within } => (units, within),
    };
    let (since, till) = match counts {
        Counts::SinceUndone => (Stmt::raw("e.kind = 'undo_started'"), Stmt::raw("'infinity'::timestamptz")),
        Counts::Within { .. } => {
            (Stmt::raw("e.kind = 'succeeded' AND e.unit = ANY ($3)"), Stmt::raw("s.at + $4 * interval '1 ms'"))
        }
    };
    let query = sql!(
        "SELECT a.approval_id, a.approved_at, a.actor, a.host, a.reason, coalesce(extract(epoch FROM clock_timestamp() - s.at) * 1000, 0)::bigint
           FROM (SELECT max(e.at) AS at FROM {0}.events AS e WHERE e.run_id = $1 AND {1}) AS s
           LEFT JOIN LATERAL (SELECT a.* FROM {0}.approvals AS a
                               WHERE a.run_id = $1 AND a.phase = $2 AND a.approved_at > coalesce(s.at, '-infinity') AND a.approved_at <= {2}
                               ORDER BY a.approval_id LIMIT 1) AS a ON true",
        schema,
        since,
        till
    );
    let units: Vec<&str> = units.iter().map(|unit| unit.0.as_str()).collect();
    let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
        [(&run, Type::UUID), (&phase, Type::TEXT), (&units, Type::TEXT_ARRAY), (&within, Type::INT8)];
    let row = client.query_typed_one(query.as_str(), &params).await?;
    let waited: i64 = row.try_get(5)?;
    let given = row.try_get::<_, Option<i64>>(0)?.is_some().then(|| approved(&row)).transpose()?;
    Ok(Approval { given, waited: Duration::from_millis(u64::try_from(waited).unwrap_or(0)) })
}

/// An approval of a run, whether it counts or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptApproval {
    pub phase: String,
    pub at: DateTime<Utc>,
    pub approved: Approved,
}

/// Every approval of the run, oldest first.
pub async fn all_approvals(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
) -> Result<Vec<KeptApproval>, LedgerError> {
    let query = sql!(
        "SELECT approval_id, approved_at, actor, host, reason, phase FROM {}.approvals WHERE run_id = $1 ORDER BY approval_id",
        schema
    );
    let kept = |row: &Row| Ok(KeptApproval { approved: approved(row)?, at: row.try_get(1)?, phase: row.try_get(5)? });
    client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?.iter().map(kept).collect()
}

fn approved(row: &Row) -> Result<Approved, tokio_postgres::Error> {
    let at: DateTime<Utc> = row.try_get(1)?;
    Ok(Approved {
        number: row.try_get(0)?,
        at: at.to_rfc3339_opts(SecondsFormat::Secs, true),
        by: row.try_get(2)?,
        host: row.try_get(3)?,
        reason: row.try_get(4)?,
    })
}

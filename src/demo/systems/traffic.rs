//! A system's application at work: releases of before and of after, each write with its receipt.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, error::SqlState, types::Type};
use uuid::Uuid;

use super::{System, Write};
use crate::{
    demo::traffic::connect,
    sql,
    sql::{Literal, Stmt},
};

/// Sessions of each release.
const SESSIONS: u32 = 2;
/// Between two writes of a session: the demo shows traffic, not load.
const PAUSE: Duration = Duration::from_millis(5);

/// One release of the application; `stop` ends it.
#[derive(Debug)]
pub struct Traffic {
    ended: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Report>>,
}

/// What a release wrote.
#[derive(Debug, Default)]
pub struct Report {
    /// Every acknowledged write, by table and key column.
    receipts: BTreeMap<(&'static str, &'static str), Vec<Uuid>>,
    /// Writes that were refused as they must be: by a policy for whoever names no tenant, or because the table or the column
    /// of the new release is not there.
    pub refused: u64,
    /// What should not have happened, first of all.
    pub first_error: Option<String>,
}

impl Traffic {
    /// The release of before: knows no tenant.
    pub fn old(system: &'static System, url: &str) -> Self {
        Self::start(system, url, false)
    }

    /// The release of after: each transaction names its tenant.
    pub fn new(system: &'static System, url: &str) -> Self {
        Self::start(system, url, true)
    }

    fn start(system: &'static System, url: &str, new: bool) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let session = |number: u32| {
            let (url, ended) = (url.to_owned(), Arc::clone(&ended));
            tokio::spawn(async move {
                let mut report = Report::default();
                if let Err(error) = write(system, &url, new, number, &ended, &mut report).await {
                    report.first_error.get_or_insert(format!("{error:?}"));
                }
                report
            })
        };
        Self { tasks: (0..SESSIONS).map(session).collect(), ended }
    }

    /// Lets every session finish what it does, and collects what they did.
    pub async fn stop(self) -> Report {
        self.ended.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        for task in self.tasks {
            match task.await {
                Ok(one) => report.merge(one),
                Err(error) => report.first_error = Some(format!("a session ended: {error}")),
            }
        }
        report
    }
}

impl Report {
    /// Adds another's.
    pub fn merge(&mut self, other: Self) {
        for (table, keys) in other.receipts {
            self.receipts.entry(table).or_default().extend(keys);
        }
        self.refused += other.refused;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Acknowledged writes.
    pub fn writes(&self) -> usize {
        self.receipts.values().map(Vec::len).sum()
    }

    /// Acknowledged writes into `tables` that are not there. `client` sees every row.
    pub async fn lost(&self, client: &Client, tables: &[&str]) -> Result<i64, Error> {
        let mut lost = 0;
        for ((table, key), written) in self.receipts.iter().filter(|((table, _), _)| tables.contains(table)) {
            // Names of ours.
            let (table, key) = (Stmt::raw(*table), Stmt::raw(*key));
            let query = sql!(
                "SELECT count(*) FROM unnest($1::uuid[]) AS w (key) WHERE NOT EXISTS (SELECT FROM {} AS t WHERE t.{} = w.key)",
                table,
                key
            );
            lost +=
                client.query_typed_one(query.as_str(), &[(written, Type::UUID_ARRAY)]).await?.try_get::<_, i64>(0)?;
        }
        Ok(lost)
    }
}

async fn write(
    system: &System,
    url: &str,
    new: bool,
    session: u32,
    ended: &AtomicBool,
    report: &mut Report,
) -> Result<(), Error> {
    let client = connect(url).await?;
    let writes = if new { system.new } else { system.old };
    let mut number = i64::from(session) * 1_000_000;
    while !ended.load(Ordering::Relaxed) {
        for write in writes {
            number += 1;
            let key = Uuid::from_u128(rand::random());
            match one(&client, system, write, new, (key, number)).await {
                Ok(rows) if rows > 0 => report.receipts.entry((write.table, write.key)).or_default().push(key),
                Ok(_) => report.refused += 1,
                Err(error) if expected(&error) => report.refused += 1,
                Err(error) => {
                    report.first_error.get_or_insert(format!("{error:?}: {}", write.sql));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn expected(error: &Error) -> bool {
    let known = [
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
    ];
    error.code().is_some_and(|code| known.contains(code))
}

/// One transaction.
async fn one(
    client: &Client,
    system: &System,
    write: &Write,
    named: bool,
    (key, number): (Uuid, i64),
) -> Result<u64, Error> {
    client.batch_execute("BEGIN").await?;
    let tenant = system.tenants[usize::try_from(number % 3).unwrap_or(0)];
    let done = async {
        if named {
            context(client, system, tenant).await?;
        }
        client.execute_typed(write.sql, &[(&key, Type::UUID), (&number, Type::INT8)]).await
    }
    .await;
    match done {
        Ok(rows) => client.batch_execute("COMMIT").await.map(|()| rows),
        Err(error) => {
            client.batch_execute("ROLLBACK").await?;
            Err(error)
        }
    }
}

/// Names the tenant for the transaction.
pub(super) async fn context(client: &Client, system: &System, tenant: &str) -> Result<(), Error> {
    let set = sql!("SELECT set_config({}, {}, true)", Literal::new(system.setting), Literal::new(tenant));
    client.batch_execute(set.as_str()).await
}

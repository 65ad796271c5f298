//! How many sessions a backfill may write with, by the server's cores and load.

use super::{Fault, connect::Connection};

/// What is known, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    pub workers: u32,
    /// In words.
    pub why: String,
}

/// Beyond this, more workers write more WAL at once than most replicas replay.
const WORKERS_MAX: u32 = 4;

/// PostgreSQL does not say how many cores it has. Its host's file does, to a role that may read it (superuser,
/// pg_read_server_files); a server on this machine has ours.
pub async fn cores(connection: &Connection) -> Result<Cores, Fault> {
    let turn = connection.turn().await?;
    let client = turn.client();
    let allowed = "SELECT has_function_privilege('pg_read_file(text)', 'EXECUTE') AND pg_has_role('pg_read_server_files', 'USAGE'),
         (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND application_name NOT LIKE 'tenantmig%')";
    let row = client.query_typed_one(allowed, &[]).await?;
    let (allowed, active): (bool, i64) = (row.try_get(0)?, row.try_get(1)?);
    let counted = match allowed {
        true => {
            let query = "SELECT count(*) FROM regexp_matches(pg_read_file('/proc/cpuinfo'), '^processor\\s*:', 'gn')";
            // Another system than Linux has no such file.
            let counted = client.query_typed_one(query, &[]).await.and_then(|row| row.try_get::<_, i64>(0));
            counted.ok().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)
        }
        false => None,
    };
    let ours = || std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    turn.end(Ok::<_, Fault>(())).await?;
    let cores = counted.or_else(|| if connection.is_local() { ours() } else { None });
    let active = u32::try_from(active).unwrap_or(u32::MAX);
    Ok(match cores {
        Some(cores) => {
            let workers = (cores.saturating_sub(active) / 2).clamp(1, WORKERS_MAX);
            Cores { workers, why: format!("the server has {cores} cores and {active} active sessions") }
        }
        None => Cores { workers: 1, why: "how many cores the server has cannot be seen".to_owned() },
    })
}

//! The table that all start from: made once for a size, and copied for every run, page by page.

use anyhow::{Result, ensure};

use crate::server::Server;
use crate::session::Session;

/// What a size needs on disk for a row, in bytes: the original, a copy that doubles, and the WAL of the longest run.
const DISK_BYTES_A_ROW: u64 = 1_600;

/// Never less than this is left free, in bytes.
const DISK_BYTES_SPARE: u64 = 2 << 30;

/// The WAL of the longest run for a row, in bytes; made beforehand.
const WAL_BYTES_A_ROW: u64 = 800;

/// One message of the WAL that is made beforehand, in bytes.
const WAL_MESSAGE_BYTES: u64 = 1 << 20;

/// The table of one size.
#[derive(Debug)]
pub struct Ground<'a> {
    server: &'a Server,
    name: String,
    /// How many rows it has.
    pub rows: u64,
}

impl<'a> Ground<'a> {
    /// Makes it.
    pub fn lay(server: &'a Server, rows: u64, seed: u32) -> Result<Self> {
        if let Some(free) = server.free_bytes() {
            let need = rows * DISK_BYTES_A_ROW + DISK_BYTES_SPARE;
            ensure!(free >= need, "{rows} rows need {} GB of disk, and {} GB are free", need >> 30, free >> 30);
        }
        let ground = Self { server, name: format!("ground_{rows}"), rows };
        let admin = server.session("postgres")?;
        admin.run(&format!("CREATE DATABASE {}", ground.name))?;
        let session = server.session(&ground.name)?;
        let table = include_str!("sql/table.sql");
        session.run(&table.replace("{rows}", &rows.to_string()).replace("{seed}", &seed.to_string()))?;
        // Sets every hint bit, which otherwise the first reader would do, at the cost of a page image each.
        session.run("VACUUM (ANALYZE) trades")?;
        session.run("VACUUM (ANALYZE) users")?;
        session.run("VACUUM (ANALYZE) tenants")?;
        // What the load has written is free to be used again.
        session.run("CHECKPOINT")?;
        session.run(&format!(
            "SELECT pg_logical_emit_message(false, 'benchmark', repeat('x', {WAL_MESSAGE_BYTES})) FROM generate_series(1, {})",
            rows * WAL_BYTES_A_ROW / WAL_MESSAGE_BYTES + 1
        ))?;
        session.run("CHECKPOINT")?;
        Ok(ground)
    }

    /// A fresh copy, with nothing left to write. The caller drops it.
    pub fn copy(&self) -> Result<Copy<'a>> {
        let name = "run".to_owned();
        let admin = self.server.session("postgres")?;
        drop_database(self.server, &admin, &name)?;
        // Before 15 there was no other way than the files.
        let strategy = if self.server.major() >= 15 { " STRATEGY file_copy" } else { "" };
        admin.run(&format!("CREATE DATABASE {name} TEMPLATE {}{strategy}", self.name))?;
        admin.run("CHECKPOINT")?;
        Ok(Copy { server: self.server, name, rows: self.rows })
    }

    /// Drops it.
    pub fn clear(self) -> Result<()> {
        drop_database(self.server, &self.server.session("postgres")?, &self.name)
    }
}

/// A database for one run.
#[derive(Debug)]
pub struct Copy<'a> {
    pub server: &'a Server,
    pub name: String,
    pub rows: u64,
}

impl Copy<'_> {
    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// A session for the benchmark's own work.
    pub fn session(&self) -> Result<Session> {
        self.server.session(&self.name)
    }

    /// Ends what a killed client has left at work: the server itself notices only when it answers.
    pub fn quiet(&self) -> Result<()> {
        quiet(&self.server.session("postgres")?, &self.name)
    }

    /// Drops it.
    pub fn drop(self) -> Result<()> {
        drop_database(self.server, &self.server.session("postgres")?, &self.name)
    }
}

/// Without sessions of others, which a client that has just ended may still have.
fn drop_database(server: &Server, admin: &Session, name: &str) -> Result<()> {
    let force = if server.major() >= 13 { " WITH (FORCE)" } else { "" };
    admin.run(&format!("DROP DATABASE IF EXISTS {name}{force}"))
}

/// Ends the sessions of a database and waits until they are gone.
fn quiet(admin: &Session, name: &str) -> Result<()> {
    /// A backend ends within moments of being told, unless it rolls much back; polls of 100 ms.
    const POLLS_MAX: u32 = 600;
    for _ in 0..POLLS_MAX {
        let left = admin.number(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
        ))?;
        if left == 0 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    anyhow::bail!("sessions of {name} do not end")
}

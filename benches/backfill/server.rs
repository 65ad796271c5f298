//! The benchmark's own server: durable, and set as the figures of the report say.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use tenantmig::demo::cluster::{Cluster, ClusterOptions};

use crate::disk::file_system;
use crate::figures::Head;
use crate::options::Options;
use crate::process::family_cpu_seconds;
use crate::session::Session;

/// What differs from a server as it is installed, and how it is shown in the report.
///
/// No checkpoint comes by itself within a run: its page images would go to whoever runs when it comes. One is forced at about
/// half of max_wal_size, and 20M rows of the big UPDATE write 14 GB. As much of the WAL's segments is kept (min_wal_size), so
/// that no run pays for making them; more never collects, for each run begins with a checkpoint. No autovacuum, likewise.
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "256MB"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "replica"),
    ("max_wal_size", "64GB"),
    ("min_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
];

/// Told beside them, as the server has them.
const TOLD: &[&str] =
    &["data_checksums", "work_mem", "maintenance_work_mem", "max_parallel_maintenance_workers", "deadlock_timeout"];

/// For what the benchmark does itself between the runs: copies of databases, checkpoints, proofs.
pub const CHORE: Duration = Duration::from_secs(1_800);

/// A throwaway server, gone with this value.
#[derive(Debug)]
pub struct Server {
    cluster: Cluster,
}

impl Server {
    /// Starts it.
    pub fn start(bindir: Option<PathBuf>) -> Result<Self> {
        let extra_conf = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = ClusterOptions { bindir, extra_conf, data_checksums: true, ..ClusterOptions::default() };
        Ok(Self { cluster: Cluster::start(options).context("start the benchmark's server")? })
    }

    /// A URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    /// A program of the server's version, or of the PATH.
    pub fn program(&self, name: &str) -> PathBuf {
        self.cluster.binaries().program(name)
    }

    /// 15, for example.
    pub fn major(&self) -> u32 {
        self.cluster.binaries().major()
    }

    /// A session for the benchmark's own work.
    pub fn session(&self, database: &str) -> Result<Session> {
        Session::open(&self.url(database), CHORE)
    }

    /// User and system time of all its processes until now.
    pub fn cpu_seconds(&self) -> Option<f64> {
        family_cpu_seconds(u32::try_from(self.cluster.pid()?).ok()?)
    }

    /// Free bytes where its data are.
    pub fn free_bytes(&self) -> Option<u64> {
        file_system(self.cluster.data_dir()).1
    }

    /// The circumstances, for the report.
    pub fn head(&self, options: &Options) -> Result<Head> {
        let session = self.session("postgres")?;
        let setting = |name: &str| Ok((name.to_owned(), session.text(&format!("SHOW {name}"))?));
        let names = SETTINGS.iter().map(|(name, _)| *name).chain(TOLD.iter().copied());
        let settings = names.map(setting).collect::<Result<_>>()?;
        let (kind, free) = file_system(self.cluster.data_dir());
        let folder = self.cluster.data_dir().parent().and_then(|home| home.parent()).unwrap_or(self.cluster.data_dir());
        let free = free.map_or("unknown".to_owned(), |bytes| format!("{} GB", bytes >> 30));
        Ok(Head {
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            tool: format!("tenantmig {}", env!("CARGO_PKG_VERSION")),
            server: self.cluster.binaries().version().to_owned(),
            machine: machine(),
            disk: format!("{kind} under {}, {free} free", folder.display()),
            load: load(),
            seed: options.seed,
            rounds: options.rounds,
            settings,
        })
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
        .map_or("unknown memory".to_owned(), |kilobytes| format!("{} GB", kilobytes >> 20));
    format!("{cores} cores ({model}), {memory}")
}

/// Others at work on the machine make the figures worse, for all.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first: Vec<&str> = text.split(' ').take(3).collect();
    if first.len() == 3 { first.join(" ") } else { "unknown".to_owned() }
}

//! What the kernel says of processes. Linux only: elsewhere nothing is known, and the report says so by a dash.

use std::fs;

/// The kernel counts in hundredths of a second for whoever reads /proc, whatever its own clock (USER_HZ).
const TICKS_A_SECOND: f64 = 100.0;

/// A line of /proc/PID/stat.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    parent: u32,
    own_ticks: u64,
    /// Of its children that have ended and been collected.
    reaped_ticks: u64,
}

impl Stat {
    /// As it is now; `None` when the process is gone, or this is not Linux.
    pub fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold blanks and parentheses itself.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks(11)? + ticks(12)?,
            reaped_ticks: ticks(13)? + ticks(14)?,
        })
    }

    /// User and system time of the process and of its children that have ended.
    pub fn cpu_seconds(&self) -> f64 {
        seconds(self.own_ticks + self.reaped_ticks)
    }
}

/// The most memory that a process has ever held, in bytes.
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// User and system time of a parent, of its children that live and of those that it has collected. A server's backends, workers
/// and helpers are all children of the postmaster.
pub fn family_cpu_seconds(parent: u32) -> Option<f64> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(stat) = pid.and_then(Stat::read).filter(|stat| stat.parent == parent) {
            ticks += stat.own_ticks + stat.reaped_ticks;
        }
    }
    let own = Stat::read(parent)?;
    Some(seconds(ticks + own.own_ticks + own.reaped_ticks))
}

/// Processor time of everything on the machine, in seconds since it started.
pub fn machine_cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map(|field| field.parse::<u64>().ok());
    let ticks = fields.collect::<Option<Vec<u64>>>()?;
    // user nice system idle iowait irq softirq steal; what guests use is in user already.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum();
    Some(seconds(busy))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_A_SECOND
}

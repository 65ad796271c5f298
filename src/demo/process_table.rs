//! Looks at other processes: whose children they are, what they run, whether they are gone.
//! Linux answers through /proc; elsewhere `ps` does.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The direct children of `parent`.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let raw = parent.as_raw_pid();
    pairs().into_iter().filter(|(_, ppid)| *ppid == raw).filter_map(|(pid, _)| Pid::from_raw(pid)).collect()
}

/// True when `pid` runs no more: absent, or a zombie that its parent has not collected.
/// (A container whose first process reaps nobody keeps such zombies for ever.)
pub(super) fn is_gone(pid: Pid) -> bool {
    match stat(pid.as_raw_pid()) {
        Some((state, _)) => matches!(state, 'Z' | 'X'),
        None => test_kill_process(pid) == Err(rustix::io::Errno::SRCH),
    }
}

/// The command line of `pid`, its arguments joined by blanks; empty when it is gone.
pub(super) fn command_line(pid: Pid) -> String {
    let raw = pid.as_raw_pid();
    if has_proc() {
        let bytes = std::fs::read(format!("/proc/{raw}/cmdline")).unwrap_or_default();
        return String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned();
    }
    ps(&["-p", &raw.to_string(), "-o", "args="])
}

/// Sends `signal`; a process that is gone already is no error.
pub(super) fn send(pid: Pid, signal: Signal) -> std::io::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

/// (process id, parent's id) of every process that can be seen.
fn pairs() -> Vec<(i32, i32)> {
    if !has_proc() {
        return ps(&["-A", "-o", "pid=,ppid="])
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace().map(str::parse);
                Some((fields.next()?.ok()?, fields.next()?.ok()?))
            })
            .collect();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.1)))
        .collect()
}

/// State letter and parent's id from /proc/PID/stat. The name before them may hold blanks and parentheses.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn ps(arguments: &[&str]) -> String {
    Command::new("ps")
        .args(arguments)
        .output()
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn sees_a_child_and_its_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(children_of(rustix::process::getpid()).contains(&pid));
        assert!(!is_gone(pid));
        send(pid, Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(is_gone(pid));
        assert_eq!(command_line(pid), "");
        send(pid, Signal::KILL).unwrap();
    }
}

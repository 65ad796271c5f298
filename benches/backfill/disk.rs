//! The disk that the server's data are on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The file system that a path is on: its type, and its free bytes.
pub fn file_system(path: &Path) -> (String, Option<u64>) {
    let out = Command::new("df").arg("-Pk").arg(path).output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let fields: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    let free = fields.get(3).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).map(|kilobytes| kilobytes * 1024);
    let mount = fields.get(5).copied().unwrap_or_default();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let kind = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .rfind(|fields| fields.get(1) == Some(&mount))
        .and_then(|fields| fields.get(2).map(|kind| (*kind).to_owned()));
    (kind.unwrap_or_else(|| "unknown".to_owned()), free)
}

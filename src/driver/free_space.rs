//! How much is free in a place: by the plan's command, by its limits, or not known.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command};

use crate::{
    disk::Free,
    pg::{Class, Fault, connect::Connection, room},
    plan::{Bytes, Disk},
};

/// The longest that the plan's command may take: a step waits for it.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// What of its output is read: a number and its unit, or an error of some lines.
const OUTPUT_BYTES_MAX: u64 = 4_096;
/// What of its error is told.
const ERROR_CHARS_MAX: usize = 300;

/// What is free in each of these places.
pub async fn free_space<'a>(
    session: &Connection,
    disk: &Disk,
    places: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, Free>, Fault> {
    let mut out = BTreeMap::new();
    for place in places {
        out.insert(place.clone(), one(session, disk, place).await?);
    }
    Ok(out)
}

/// Where a command and a limit speak of the same place, the smaller counts.
async fn one(session: &Connection, disk: &Disk, place: &str) -> Result<Free, Fault> {
    let limited = match disk.limit_of(place) {
        Some(Bytes(limit)) => match room::held(session, place).await {
            Ok(held) => Some(Free::Bytes { free: limit.saturating_sub(held), limit: Some(limit) }),
            Err(fault) if fault.class == Class::Ambiguous => return Err(fault),
            Err(fault) => Some(Free::Unknown(fault.to_string())),
        },
        None => None,
    };
    let told = match &disk.free {
        Some(free) => {
            Some(ask(&free.command, place).await.map_or_else(Free::Unknown, |free| Free::Bytes { free, limit: None }))
        }
        None => None,
    };
    Ok(match (limited, told) {
        (None, None) => Free::Untold,
        (Some(only), None) | (None, Some(only)) => only,
        (Some(Free::Bytes { free: a, limit }), Some(Free::Bytes { free: b, .. })) if a <= b => {
            Free::Bytes { free: a, limit }
        }
        (Some(Free::Bytes { .. }), Some(other)) => other,
        (Some(unknown), Some(_)) => unknown,
    })
}

/// Whether a variable may hold a password of the database's: these are not handed to the command.
fn is_secret(variable: &str) -> bool {
    variable == "PGPASSWORD" || variable.ends_with("DATABASE_URL") || variable.ends_with("DIRECT_URL")
}

/// Runs the command without a shell; the error is the reason in words.
async fn ask(command: &[String], place: &str) -> Result<u64, String> {
    let mut words = command.iter().map(|word| word.replace("{tablespace}", place));
    let program = words.next().unwrap_or_default();
    let failed = |what: String| format!("the command {program} {what}");
    let mut run = Command::new(&program);
    run.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_secret(&name.to_string_lossy())) {
        run.env_remove(name);
    }
    let mut child = run.spawn().map_err(|error| failed(format!("could not be run: {error}")))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("has no output".to_owned()));
    };
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let (mut out, mut err) = (out.take(OUTPUT_BYTES_MAX), err.take(OUTPUT_BYTES_MAX));
    let read = async { tokio::try_join!(out.read_to_end(&mut said), err.read_to_end(&mut complained), child.wait()) };
    let ended = match tokio::time::timeout(COMMAND_MAX, read).await {
        Err(_) => return Err(failed(format!("had not ended after {} s", COMMAND_MAX.as_secs()))),
        Ok(Err(error)) => return Err(failed(format!("could not be read: {error}"))),
        Ok(Ok((.., status))) => status,
    };
    let text = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).trim().replace(['\n', '\r'], " ").chars().take(ERROR_CHARS_MAX).collect()
    };
    if !ended.success() {
        return Err(failed(format!("ended with {ended}: {}", text(&complained))));
    }
    let printed = text(&said);
    let bytes = printed.parse::<Bytes>();
    bytes.map(|bytes| bytes.0).map_err(|_| failed(format!("printed no amount of bytes but `{printed}`")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(script: &str) -> Result<u64, String> {
        let command = ["sh", "-c", script, "sh", "{tablespace}"].map(str::to_owned);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&command, "fast"))
    }

    #[test]
    fn a_command_prints_bytes_or_says_why_not() {
        assert_eq!(said("echo 4096"), Ok(4096));
        assert_eq!(said("echo ' 12GB'"), Ok(12_000_000_000));
        assert_eq!(said("test $1 = fast && echo 1"), Ok(1));
        let fails = |script: &str, with: &str| {
            let why = said(script).unwrap_err();
            assert!(why.contains(with), "{why}");
        };
        fails("echo much", "printed no amount of bytes but `much`");
        fails("echo -5", "printed no amount");
        fails("echo no such host >&2; exit 3", "exit status: 3: no such host");
        fails("kill -9 $$", "signal: 9");
        assert!(is_secret("PGPASSWORD") && is_secret("TENANTMIG_DATABASE_URL") && is_secret("TENANTMIG_DIRECT_URL"));
        assert!(!is_secret("PGHOST"));
    }

    #[test]
    fn a_program_that_is_not_there_is_said() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let why = runtime.block_on(ask(&["/no/such/program".to_owned()], "fast")).unwrap_err();
        assert!(why.contains("/no/such/program could not be run"), "{why}");
    }
}

//! Tries the servers in turn until one gives a session.

use std::net::IpAddr;

use rand::seq::SliceRandom;

use super::attempt::{Attempt, resolve_host};
use super::connect_error::ConnectError;
use super::connection::Connection;
use super::session_spec::SessionSpec;
use crate::pg::settings::{Address, Settings, Target, TargetSessionAttrs};

/// Opens a session: each host of the list in turn, each address of a host in turn, each within the connect timeout.
/// A refused login ends the search, as in libpq; a server that is away, starting, full or of the wrong kind does not.
///
/// Calling it again after a loss is how one reconnects: with several hosts it finds the new primary.
///
/// # Errors
/// [`ConnectError`], with several attempts `Several`.
pub async fn connect(settings: &Settings, spec: &SessionSpec) -> Result<Connection, ConnectError> {
    let mut targets: Vec<&Target> = settings.targets.iter().collect();
    if settings.shuffle {
        targets.shuffle(&mut rand::rng());
    }
    let wanted = settings.target_session_attrs.value;
    let passes: &[TargetSessionAttrs] = match wanted {
        TargetSessionAttrs::PreferStandby => &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any],
        TargetSessionAttrs::Any
        | TargetSessionAttrs::ReadWrite
        | TargetSessionAttrs::ReadOnly
        | TargetSessionAttrs::Primary
        | TargetSessionAttrs::Standby => &[wanted],
    };
    let mut attempts = Vec::new();
    for wanted in passes {
        attempts.clear();
        for target in &targets {
            match connect_to(settings, spec, target, *wanted).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    let go_on = error.try_next_host();
                    attempts.push(error);
                    if !go_on {
                        return Err(one_or_several(attempts));
                    }
                }
            }
        }
    }
    Err(one_or_several(attempts))
}

async fn connect_to(
    settings: &Settings,
    spec: &SessionSpec,
    target: &Target,
    wanted: TargetSessionAttrs,
) -> Result<Connection, ConnectError> {
    let addresses: Vec<Option<IpAddr>> = match &target.address {
        Address::Socket(_) => vec![None],
        Address::Tcp { hostaddr: Some(ip), .. } => vec![Some(*ip)],
        Address::Tcp { host, hostaddr: None } => {
            let found = resolve_host(host, target.port.value, settings.connect_timeout.value).await?;
            found.into_iter().map(Some).collect()
        }
    };
    let mut attempts: Vec<ConnectError> = Vec::new();
    for ip in addresses {
        match (Attempt { settings, spec, target, ip, wanted }).run().await {
            Ok(connection) => return Ok(connection),
            Err(error) if error.try_next_host() => {
                // localhost is ::1 and 127.0.0.1: the same words twice help nobody.
                if !attempts.iter().any(|e| e.to_string() == error.to_string()) {
                    attempts.push(error);
                }
            }
            // What an answering server said outweighs the addresses where none answers.
            Err(error) => return Err(error),
        }
    }
    Err(one_or_several(attempts))
}

fn one_or_several(mut attempts: Vec<ConnectError>) -> ConnectError {
    match attempts.pop() {
        Some(only) if attempts.is_empty() => only,
        Some(last) => {
            attempts.push(last);
            ConnectError::Several { attempts }
        }
        None => ConnectError::Several { attempts },
    }
}

//! Tries the servers in turn until one gives a session.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};

use super::attempt::{Attempt, resolve_host};
use super::connect_error::ConnectError;
use super::connection::Connection;
use super::identity::Difference;
use super::reach_error::ReachError;
use super::session_spec::SessionSpec;
use crate::pg::settings::{Address, Settings, Target, TargetSessionAttrs};

/// Once one host of a list has answered, the others have this long: a silent one would take the whole connect timeout.
const SURVEY_MORE: Duration = Duration::from_secs(3);

/// Opens a session: each host of the list in turn, each address of a host in turn, each within the connect timeout.
/// A refused login ends the search, as in libpq; a server that is away, starting, full, of the wrong kind, another one than
/// before or older than before does not.
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
    let (passes, primary): (&[TargetSessionAttrs], bool) = match wanted {
        TargetSessionAttrs::PreferStandby => (&[TargetSessionAttrs::Standby, TargetSessionAttrs::Any], false),
        TargetSessionAttrs::Any | TargetSessionAttrs::ReadOnly | TargetSessionAttrs::Standby => (&[wanted], false),
        TargetSessionAttrs::ReadWrite | TargetSessionAttrs::Primary => (&[wanted], true),
    };
    if primary && targets.len() > 1 && (spec.survey || settings.fleet.server().is_none()) {
        return survey(settings, spec, &targets, wanted).await;
    }
    let mut attempts = Vec::new();
    for wanted in passes {
        attempts.clear();
        for target in &targets {
            // On the heap: unoptimised, this future is larger than what is left of some stacks.
            match Box::pin(connect_to(settings, spec, target, *wanted, true)).await {
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

/// Looks at all hosts at once and takes the one on the newest timeline, the first of the list among equals: after a failover
/// the old primary may be back, writable as ever, and first in the list.
async fn survey(
    settings: &Settings,
    spec: &SessionSpec,
    targets: &[&Target],
    wanted: TargetSessionAttrs,
) -> Result<Connection, ConnectError> {
    let ask = |(at, target)| async move { (at, Box::pin(connect_to(settings, spec, target, wanted, false)).await) };
    let mut asked: FuturesUnordered<_> = targets.iter().copied().enumerate().map(ask).collect();
    let (mut open, mut failed) = (Vec::new(), Vec::new());
    let mut end: Option<Instant> = None;
    loop {
        let next = match end {
            None => asked.next().await,
            Some(end) => timeout_at(end, asked.next()).await.unwrap_or_default(),
        };
        match next {
            None => break,
            Some((at, Ok(session))) => {
                end.get_or_insert_with(|| Instant::now() + SURVEY_MORE);
                open.push((at, session));
            }
            Some((at, Err(error))) => failed.push((at, error)),
        }
    }
    open.sort_by_key(|(at, session)| (std::cmp::Reverse(session.identity.timeline), *at));
    let known = settings.fleet.server();
    // Without one to compare with, the first host of the list says which cluster is meant.
    let meant = known.or_else(|| open.iter().min_by_key(|(at, _)| *at).map(|(_, session)| session.identity));
    let mut chosen: Option<Connection> = None;
    for (at, session) in open {
        let same = meant.and_then(|meant| meant.system) == session.identity.system;
        match &mut chosen {
            Some(chosen) if same && session.identity.timeline < chosen.identity.timeline => {
                chosen.notes.push(stale(&session, chosen));
            }
            None if same || known.is_some() => match admit(settings, &session) {
                Ok(()) => chosen = Some(session),
                Err(error) => failed.push((at, error.into())),
            },
            Some(_) | None => {}
        }
    }
    failed.sort_by_key(|(at, _)| *at);
    chosen.ok_or_else(|| {
        // As libpq, which asks one after the other: what follows a refused login is not told.
        let told = failed.iter().position(|(_, error)| !error.try_next_host()).map_or(failed.len(), |at| at + 1);
        one_or_several(failed.into_iter().take(told).map(|(_, error)| error).collect())
    })
}

fn stale(session: &Connection, chosen: &Connection) -> String {
    let timeline = |session: &Connection| session.identity.timeline.unwrap_or_default();
    format!(
        "{} is a stale primary: it takes writes on timeline {}, and {} is on timeline {}; take it out of service",
        session.at,
        timeline(session),
        chosen.at,
        timeline(chosen)
    )
}

/// Whether the session's server is the one that this process works with.
fn admit(settings: &Settings, session: &Connection) -> Result<(), ReachError> {
    let at = session.at.clone();
    settings.fleet.admit(session).map_err(|difference| match difference {
        Difference::Other { found, known } => ReachError::OtherServer { at, found, known },
        Difference::Stale { found, known } => ReachError::StalePrimary { at, found, known },
    })
}

async fn connect_to(
    settings: &Settings,
    spec: &SessionSpec,
    target: &Target,
    wanted: TargetSessionAttrs,
    admitted: bool,
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
        let opened = Box::pin((Attempt { settings, spec, target, ip, wanted }).run()).await;
        let opened = opened.and_then(|session| {
            if admitted {
                admit(settings, &session)?;
            }
            Ok(session)
        });
        match opened {
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

//! Who wrote the log: by role and host, and by epoch of the lease; and who approved what.

use std::collections::BTreeMap;

use super::{
    facts::{Facts, Logged},
    model::{Actor, Approval, Term},
};
use crate::engine::{Event, Program};

/// Everybody who wrote events, first come first.
pub(super) fn actors(log: &[Logged]) -> Vec<Actor> {
    let mut all: Vec<Actor> = Vec::new();
    for logged in log {
        match all.iter_mut().find(|actor| (&actor.role, &actor.host) == (&logged.actor, &logged.host)) {
            Some(actor) => {
                actor.events += 1;
                actor.last = logged.at;
            }
            None => all.push(Actor {
                role: logged.actor.clone(),
                host: logged.host.clone(),
                events: 1,
                first: logged.at,
                last: logged.at,
            }),
        }
    }
    all
}

/// Every approval, oldest first, with the event that took it: only where the log says the same of it.
pub(super) fn approvals(facts: &Facts) -> Vec<Approval> {
    let took = |given: &Approval| {
        let told = (given.number, &given.by, &given.host, &given.reason);
        let took = |logged: &&Logged| {
            matches!(&logged.event, Event::GatePassed { phase, approved: Some(of), .. }
                if *phase == given.phase && (of.number, &of.by, &of.host, &of.reason) == told)
        };
        facts.log.iter().find(took).map(|logged| logged.number)
    };
    facts.approvals.iter().map(|given| Approval { event: took(given), ..given.clone() }).collect()
}

/// The holders of the lease in their order. An epoch in which nothing was written left no trace.
pub(super) fn terms(program: &Program, log: &[Logged]) -> Vec<Term> {
    let mut all: Vec<Term> = Vec::new();
    let mut under_way: BTreeMap<String, String> = BTreeMap::new();
    for logged in log {
        match all.last_mut().filter(|term| term.epoch == logged.epoch) {
            Some(term) => (term.last_event, term.to) = (logged.number, logged.at),
            None => {
                let took_over: Vec<&str> = under_way.values().map(String::as_str).collect();
                all.push(Term {
                    epoch: logged.epoch,
                    role: logged.actor.clone(),
                    host: logged.host.clone(),
                    first_event: logged.number,
                    last_event: logged.number,
                    from: logged.at,
                    to: logged.at,
                    took_over: (!took_over.is_empty()).then(|| took_over.join("; ")),
                });
            }
        }
        follow(program, &logged.event, &mut under_way);
    }
    all
}

/// Which units are begun and not concluded.
fn follow(program: &Program, event: &Event, under_way: &mut BTreeMap<String, String>) {
    let Some(unit) = event.unit() else { return };
    let begins = matches!(event, Event::Started { .. } | Event::UndoStarted { .. });
    let waits = matches!(event, Event::Throttled { .. } | Event::Unthrottled { .. });
    if begins {
        let title = program.find(unit).map_or(unit.to_string(), |(_, _, unit)| unit.title.clone());
        under_way.insert(unit.0.clone(), title);
    } else if !waits {
        under_way.remove(&unit.0);
    }
}

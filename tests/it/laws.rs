//! The laws that every kind of step obeys, and every kind of check, run for the example of each through the real driver.
//!
//! A kind that is added to the table inherits all of them. They run under an owner who is no superuser and has no BYPASSRLS.

mod crash;
mod failure;
mod repeat;
mod world;

use std::sync::{Mutex, PoisonError};

use tenantmig::steps::{KINDS, Kind};

use world::World;

/// How many kinds one law looks at at a time; each has a few sessions.
const THREADS: usize = 4;

/// Runs `law` for every kind of step, each in a database of its own, and reports all that break it.
pub fn every_kind(name: &str, law: impl AsyncFn(&World, &Kind) -> Result<(), String> + Sync) {
    let (next, broken) = (Mutex::new(KINDS.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let kind = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(kind) = kind else { return };
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let result = runtime.block_on(async { law(&World::new(&format!("{name}_{}", kind.name)).await, kind).await });
                    if let Err(why) = result {
                        broken.lock().unwrap_or_else(PoisonError::into_inner).push(format!("=== {}: {why}", kind.name));
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{} of {} kinds break the law:\n{}", broken.len(), KINDS.len(), broken.join("\n"));
}

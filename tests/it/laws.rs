//! The laws that every kind of step obeys, and every kind of check, run for the example of each through the real driver.
//!
//! A kind that is added to the table inherits all of them. They run under an owner who is no superuser and has no BYPASSRLS.

mod captures;
mod cases;
mod copies;
mod crash;
mod failure;
mod families;
mod gates;
mod keeps;
mod keys;
mod repeat;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use cases::{Case, cases, deep};
use world::World;

/// How many cases one law looks at at a time; each has a few sessions.
const THREADS: usize = 6;

/// Runs `law` for every case, each in a database of its own, and reports all that break it.
fn every_case(name: &str, law: impl AsyncFn(&World, &Case) -> Result<(), String> + Sync) {
    every(name, cases().collect(), law);
}

/// As [`every_case`], for the cases that every seam is tried on.
fn every_deep_case(name: &str, law: impl AsyncFn(&World, &Case) -> Result<(), String> + Sync) {
    every(name, deep().collect(), law);
}

/// Every case with TENANTMIG_SEAMS=all, as `make laws` has it; otherwise those of [`every_deep_case`].
fn every_case_in_full(name: &str, law: impl AsyncFn(&World, &Case) -> Result<(), String> + Sync) {
    if all_seams() { every_case(name, law) } else { every_deep_case(name, law) }
}

/// Whether there is time for all of it.
fn all_seams() -> bool {
    std::env::var("TENANTMIG_SEAMS").is_ok_and(|seams| seams == "all")
}

/// `TENANTMIG_LAW=key_` looks at the cases only whose name has that, while one is worked on.
fn every(name: &str, cases: Vec<Case>, law: impl AsyncFn(&World, &Case) -> Result<(), String> + Sync) {
    let wanted = std::env::var("TENANTMIG_LAW").unwrap_or_default();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name.contains(&wanted)).collect();
    let count = cases.len();
    let (next, broken) = (Mutex::new(cases.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let case = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(case) = case else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                        runtime.block_on(async {
                            law(&World::new(&format!("{name}_{}", case.name), case.setup).await, &case).await
                        })
                    }));
                    if let Err(why) = result.unwrap_or_else(|_| Err("it panicked, see above".to_owned())) {
                        let why = format!("=== {}: {why}", case.name);
                        broken.lock().unwrap_or_else(PoisonError::into_inner).push(why);
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{} of {count} cases break the law:\n{}", broken.len(), broken.join("\n"));
}

//! A crash at every seam, up and down, and a lost connection at every event: whoever goes on ends where nothing had happened. Without
//! TENANTMIG_SEAMS=all a fifth of them is tried.

use super::{
    all_seams,
    cases::Case,
    every_case_in_full, every_deep_case,
    world::{Crash, Draft, Driven, End, Way, World, same},
};
use tenantmig::{driver::Rest, engine::Outcome, pg::fingerprint::Fingerprint};

/// Of which seams each case is tried on one where not all are asked for.
const ONE_IN: usize = 5;

/// All of them with TENANTMIG_SEAMS=all, as `make laws` has it. Otherwise every fifth and the last; which ones the case's name says, so
/// that what all cases have in common is tried everywhere.
fn chosen(case: &Case, seams: usize) -> impl Iterator<Item = usize> {
    let all = all_seams();
    let shift: usize = case.name.bytes().map(usize::from).sum();
    (1..=seams).filter(move |seam| all || *seam == seams || (seam + shift).is_multiple_of(ONE_IN))
}

/// On a busy machine a batch is smaller than in the run that counted, or a wait is told: that many notices another run may lack.
const NOTICES_FEWER_MAX: usize = 4;

/// Whether this run had no such seam any more: it told less than the one in which they were counted.
fn over(driven: &Driven, seam: usize, seams: usize) -> Result<bool, String> {
    match driven.end {
        End::Crashed => Ok(false),
        End::Rest(Rest::At(Outcome::Completed | Outcome::RolledBack { .. }))
            if driven.notices.len() < seam && driven.notices.len() + NOTICES_FEWER_MAX >= seams =>
        {
            Ok(true)
        }
        End::Rest(_) | End::Error(_) => Err(format!("no crash {seam} of {seams}: {:?}", driven.end)),
    }
}

#[test]
fn a_crash_at_every_seam_of_up_and_a_resume_is_up() {
    every_deep_case("crashup", async |world, case| {
        let draft = world.draft("law", case.steps);
        let start = world.print().await;
        let seams = world.up(&draft).await?.len();
        let up = world.print().await;
        for seam in chosen(case, seams) {
            world.reset().await;
            let driven = world.go(&draft, Way::Up, Crash::At(seam)).await;
            if over(&driven, seam, seams)? {
                break;
            }
            let at = format!("crash {seam} at {:?}", driven.notices.last());
            world.up(&draft).await.map_err(|why| format!("{at}: {why}"))?;
            same(&at, &up, &world.print().await)?;
            world.verified().await.map_err(|why| format!("{at}: {why}"))?;
            // And the other way out of the same crash; of the notices between two events one will do.
            if seam % 2 == 1 && !super::repeat::fills_rows(&draft.program) {
                world.reset().await;
                world.go(&draft, Way::Up, Crash::At(seam)).await;
                world.down(&draft).await.map_err(|why| format!("{at}, down: {why}"))?;
                same(&format!("{at}, down"), &start, &world.print().await)?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_crash_at_every_seam_of_down_and_a_resume_is_down() {
    every_deep_case("crashdown", async |world, case| {
        let draft = world.draft("law", case.steps);
        world.up(&draft).await?;
        let seams = world.down(&draft).await?.len();
        let down = world.print().await;
        for seam in chosen(case, seams) {
            world.reset().await;
            world.up(&draft).await?;
            let driven = world.go(&draft, Way::Down, Crash::At(seam)).await;
            if over(&driven, seam, seams)? {
                break;
            }
            let at = format!("crash {seam} at {:?}", driven.notices.last());
            world.down(&draft).await.map_err(|why| format!("{at}: {why}"))?;
            same(&at, &down, &world.print().await)?;
            world.verified().await.map_err(|why| format!("{at}: {why}"))?;
        }
        Ok(())
    });
}

/// The server ends the session when the event is written and not yet committed: of a transaction nothing is left, of what runs
/// outside one the deed stands without its outcome. The driver connects again and goes on by itself.
#[test]
fn a_connection_lost_at_every_event_changes_nothing_about_the_end() {
    every_deep_case("lost", async |world, case| {
        let draft = world.draft("law", case.steps);
        world.up(&draft).await?;
        let (up, ups) = (world.print().await, world.events().await);
        world.down(&draft).await?;
        let (down, all) = (world.print().await, usize::try_from(world.events().await).unwrap());
        let ups = usize::try_from(ups).unwrap();
        for number in chosen(case, all) {
            world.reset().await;
            world.prepare(&draft).await;
            let lose = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60)";
            world.strike(&format!("NEW.number = {number}"), lose).await;
            let lost = lost(world, &draft, number <= ups, &up, &down).await;
            lost.map_err(|why| format!("lost at event {number} of {all}: {why}"))?;
        }
        Ok(())
    });
}

async fn lost(
    world: &World,
    draft: &Draft,
    on_the_way_up: bool,
    up: &Fingerprint,
    down: &Fingerprint,
) -> Result<(), String> {
    world.up(draft).await?;
    same("up", up, &world.print().await)?;
    if !on_the_way_up {
        // The request for the rollback is written by the command and not by the loop, which would connect again.
        if let Err(why) = world.down(draft).await {
            was_the_loss(&why)?;
            world.down(draft).await?;
        }
        same("down", down, &world.print().await)?;
    }
    if !world.has_struck().await {
        return Err("nothing was lost".to_owned());
    }
    world.verified().await
}

/// Only the loss itself may end a command.
fn was_the_loss(why: &str) -> Result<(), String> {
    if why.contains("57P01") || why.contains("Ambiguous") { Ok(()) } else { Err(why.to_owned()) }
}

/// Killed in the middle of a statement: of a transaction nothing is left; of an index, its wreck.
#[test]
fn a_crash_in_a_waiting_statement_leaves_nothing_that_the_next_cannot_clear() {
    every_case_in_full("waiting", async |world, case| {
        let draft = world.draft("law", case.steps);
        let start = world.print().await;
        world.up(&draft).await?;
        let up = world.print().await;
        for way in [Way::Up, Way::Down] {
            world.reset().await;
            let writer = world.db.client().await;
            writer
                .batch_execute("BEGIN; DELETE FROM app.trades WHERE id = 1; DELETE FROM app.users WHERE id = 500")
                .await
                .unwrap();
            let driven = world.go(&draft, Way::Up, Crash::Waiting).await;
            writer.batch_execute("ROLLBACK").await.unwrap();
            match (&driven.end, way) {
                (End::Crashed, Way::Up) => {
                    world.up(&draft).await?;
                    same("up after a crash in a statement", &up, &world.print().await)?;
                }
                (End::Crashed, Way::Down) if !super::repeat::fills_rows(&draft.program) => {
                    world.down(&draft).await?;
                    same("down after a crash in a statement", &start, &world.print().await)?;
                }
                // It is not in the writer's way.
                (End::Rest(_), _) | (End::Crashed, Way::Down) => return Ok(()),
                (End::Error(error), _) => return Err(error.to_string()),
            }
            world.verified().await?;
        }
        Ok(())
    });
}

//! Doing and undoing again: up twice, up and down, down twice, what was there before, and what the probes say of it.

use tenantmig::{
    engine::{Event, Program},
    pg::{Bounds, connect::Connection, in_transaction, probe},
    sql::Stmt,
    unit::{Before, Down, Due, Op, Presence, Probe, Unit},
};

use super::{
    every_case,
    world::{events, same},
};

/// Whether the deed writes rows that stay when it is undone.
pub fn fills_rows(program: &Program) -> bool {
    program.units().any(|(_, unit)| matches!(unit.up, Op::Backfill(_)) && matches!(unit.down, Down::Nothing { .. }))
}

fn in_catalogue(unit: &Unit) -> bool {
    matches!(unit.probe, Probe::Catalog { .. })
}

#[test]
fn up_twice_is_up() {
    every_case("twice", async |world, case| {
        let draft = world.draft("law", case.steps);
        let before = world.print().await;
        world.up(&draft).await?;
        world.verified().await?;
        let (after, count) = (world.print().await, world.events().await);
        if draft.program.units().any(|(_, unit)| leaves_a_trace(unit)) {
            same("up", &before, &after).err().ok_or("up changed nothing")?;
        }
        world.up(&draft).await?;
        same("the second apply changed something", &after, &world.print().await)?;
        if world.events().await != count {
            return Err("the second apply appended events".to_owned());
        }
        // The same steps in another plan find everything done, and their undo leaves it. Nothing recognises free SQL.
        if draft.program.units().any(|(_, unit)| is_free(unit)) {
            return Ok(());
        }
        let other = world.draft("other", case.steps);
        let notices = world.up(&other).await?;
        adopted(&other.program, &events(&notices))?;
        same("another plan of the same steps changed something", &after, &world.print().await)?;
        if other.program.units().all(|(_, unit)| in_catalogue(unit)) {
            world.down(&other).await?;
            world.verified().await?;
            same("the undo of what was adopted changed something", &after, &world.print().await)?;
        }
        Ok(())
    });
}

/// Whether the deed changes what a fingerprint sees: a question and statistics do not.
fn leaves_a_trace(unit: &Unit) -> bool {
    !matches!((&unit.up, &unit.down), (Op::Assert(_) | Op::Watch(_), _) | (Op::Tx(_), Down::Nothing { .. }))
}

fn is_free(unit: &Unit) -> bool {
    matches!(unit.up, Op::Tx(_)) && unit.probe == Probe::Ledger
}

/// Every unit that the catalogue tells of was found there.
fn adopted(program: &Program, events: &[&Event]) -> Result<(), String> {
    for (_, unit) in program.units().filter(|(_, unit)| in_catalogue(unit)) {
        let found = found(unit, events);
        if found.map(|before| before.presence) != Some(Presence::Present) {
            return Err(format!("{} was not adopted: {found:?}", unit.id));
        }
    }
    Ok(())
}

/// What the run found in the unit's place when it first came to it.
fn found<'a>(unit: &Unit, events: &[&'a Event]) -> Option<&'a Before> {
    events.iter().find_map(|event| {
        if let Event::Started { unit: id, before } = event
            && *id == unit.id
        {
            Some(before)
        } else {
            None
        }
    })
}

#[test]
fn up_down_is_nothing_and_up_down_up_is_up() {
    every_case("updown", async |world, case| {
        let draft = world.draft("law", case.steps);
        let before = world.print().await;
        world.up(&draft).await?;
        let up = world.print().await;
        world.down(&draft).await?;
        world.verified().await?;
        let down = world.print().await;
        if fills_rows(&draft.program) {
            assert_eq!(before.catalog, down.catalog);
        } else {
            same("up and down is not nothing", &before, &down)?;
        }
        world.up(&draft).await?;
        world.verified().await?;
        same("up, down, up is not up", &up, &world.print().await)?;
        world.down(&draft).await?;
        same("down again is not down", &down, &world.print().await)
    });
}

#[test]
fn what_a_dba_did_before_is_adopted_and_stays() {
    every_case("adopt", async |world, case| {
        let draft = world.draft("law", case.steps);
        let session = world.session().await;
        for (_, unit) in draft.program.units() {
            match &unit.up {
                _ if is_free(unit) => return Ok(()),
                Op::Tx(_) | Op::Autocommit { .. } if look(&session, unit).await?.presence == Presence::Present => {}
                Op::Tx(stmts) => run(&session, stmts).await?,
                Op::Autocommit { due: Some(due), .. } => run(&session, &due_now(&session, due, &[]).await?).await?,
                Op::Autocommit { stmt, .. } => run(&session, std::slice::from_ref(stmt)).await?,
                // Neither is recognised by the catalogue.
                Op::Backfill(_) | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) => return Ok(()),
                // There is nothing to write back.
                Op::Restore(_) => {}
            }
        }
        let by_hand = world.print().await;
        let notices = world.up(&draft).await?;
        adopted(&draft.program, &events(&notices))?;
        same("apply changed what was there", &by_hand, &world.print().await)?;
        world.verified().await?;
        world.down(&draft).await?;
        same("rollback changed what was there", &by_hand, &world.print().await)
    });
}

#[test]
fn undo_twice_is_undo() {
    every_case("undo", async |world, case| {
        let draft = world.draft("law", case.steps);
        let before = world.print().await;
        let notices = world.up(&draft).await?;
        let session = world.session().await;
        let units: Vec<&Unit> = draft.program.units().map(|(_, unit)| unit).collect();
        for unit in units.into_iter().rev().filter(|unit| in_catalogue(unit)) {
            let Down::Op(down) = &unit.down else { continue };
            let was = found(unit, &events(&notices)).ok_or("never started")?;
            let again = async || {
                let stmts = match down {
                    Op::Tx(stmts) => [stmts.clone(), was.restore.clone()].concat(),
                    Op::Autocommit { due: Some(due), .. } => due_now(&session, due, &was.restore).await?,
                    Op::Autocommit { stmt, .. } => vec![stmt.clone()],
                    Op::Backfill(_) | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_) => {
                        return Err(format!("the undo of {} is no statement", unit.id));
                    }
                };
                run(&session, &stmts).await
            };
            if was.is_untouched() {
                continue;
            }
            again().await?;
            let once = world.print().await;
            again().await?;
            same(&format!("{} undone twice", unit.id), &once, &world.print().await)?;
            let now = look(&session, unit).await?;
            if now.presence != was.presence {
                return Err(format!("{} is undone, and its probe says {now:?}", unit.id));
            }
        }
        // The ledger still says done: a rollback finds each gone already.
        world.down(&draft).await?;
        if !fills_rows(&draft.program) {
            same("undone by hand and by rollback", &before, &world.print().await)?;
        }
        Ok(())
    });
}

#[test]
fn probes_say_absent_before_and_present_after() {
    every_case("probe", async |world, case| {
        let draft = world.draft("law", case.steps);
        let session = world.session().await;
        let units = || draft.program.units().map(|(_, unit)| unit).filter(|unit| in_catalogue(unit));
        for unit in units() {
            let found = look(&session, unit).await?;
            // A deed that takes something away is absent while that is there, and says how to bring it back.
            // What it is about to replace is told all the same.
            if case.absent && (found.presence, &found.found) != (Presence::Absent, &None) {
                return Err(format!("{} before: {found:?}", unit.id));
            }
        }
        world.up(&draft).await?;
        for unit in units() {
            let found = look(&session, unit).await?;
            if found.presence != Presence::Present {
                return Err(format!("{} after: {found:?}", unit.id));
            }
        }
        Ok(())
    });
}

/// What the probe of the unit says now.
async fn look(session: &Connection, unit: &Unit) -> Result<Before, String> {
    let bounds = Bounds { lock: std::time::Duration::from_secs(5), statement: std::time::Duration::from_secs(5) };
    let found = in_transaction(session, bounds, async |client| probe(client, &unit.probe).await).await;
    found.map_err(|fault| format!("the probe of {}: {fault}", unit.id))
}

/// What a deed of many statements still has to run.
async fn due_now(session: &Connection, due: &Due, before: &[Stmt]) -> Result<Vec<Stmt>, String> {
    let all = tenantmig::pg::due(&session.client, due, before).await.map_err(|fault| fault.to_string())?;
    Ok(all.into_iter().map(|errand| errand.stmt).collect())
}

/// The statements as a DBA would run them.
async fn run(session: &Connection, stmts: &[Stmt]) -> Result<(), String> {
    for stmt in stmts {
        let done = session.client.batch_execute(stmt.as_str()).await;
        done.map_err(|error| format!("{stmt}\n{:?}", error.as_db_error()))?;
    }
    Ok(())
}

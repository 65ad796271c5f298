//! A failure anywhere unwinds clean: a later step, the unit itself, its undo, a lock that is not had.

use tenantmig::{
    driver::{DriveError, Rest, Tell},
    engine::{Notice, Outcome},
    pg::{Class, fingerprint::Fingerprint},
    sql::Literal,
    unit::{Down, LockLevel, Op},
};

use super::{
    every_case_in_full,
    repeat::fills_rows,
    world::{Crash, Draft, End, Way, World, same},
};

const LOCK_ALL: &str = "DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p') ORDER BY oid LOOP
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', t);
    END LOOP; END $$";

const BACK: Outcome = Outcome::RolledBack { keep: 0 };

/// Whatever the trigger does, it does once: a sequence is not rolled back.
const STRIKE: &str = "
CREATE SCHEMA law;
CREATE SEQUENCE law.once;
CREATE FUNCTION law.strike() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF CONDITION THEN
        IF nextval('law.once') = 1 THEN ACTION; END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER strike BEFORE INSERT ON tenantmig.events FOR EACH ROW EXECUTE FUNCTION law.strike()";

impl World {
    /// From now on, the first event for which `condition` is true (SQL, over NEW) comes with `action`, in the transaction
    /// that carries it: the deed stands before its outcome.
    pub async fn strike(&self, condition: &str, action: &str) {
        self.sql(&STRIKE.replace("CONDITION", condition).replace("ACTION", action)).await;
    }

    /// Whether it happened.
    pub async fn has_struck(&self) -> bool {
        self.admin.query_one("SELECT is_called FROM law.once", &[]).await.unwrap().get(0)
    }

    /// Begins the run, so that the ledger is there, and does nothing of it.
    pub async fn prepare(&self, draft: &Draft) {
        let silent: Tell = std::sync::Arc::new(|_| {});
        let (_, lease) = self.open(draft, silent).await.unwrap();
        lease.give_back().await;
    }
}

/// The database is as before, but for rows that were filled and stay.
fn as_before(what: &str, draft: &Draft, before: &Fingerprint, after: &Fingerprint) -> Result<(), String> {
    if !fills_rows(&draft.program) {
        return same(what, before, after);
    }
    let diff = tenantmig::pg::fingerprint::diff(&before.catalog.lines, &after.catalog.lines);
    diff.map_or(Ok(()), |diff| Err(format!("{what}:\n{diff}")))
}

#[test]
fn a_later_step_that_fails_takes_the_phase_back() {
    every_case_in_full("later", async |world, case| {
        let fails = "[[phase.step]]\nid = \"no\"\nkind = \"assert\"\nsql = \"SELECT false\"\n";
        let draft = world.draft("law", &format!("{}\n{fails}", case.steps));
        let before = world.print().await;
        world.reach(&draft, Way::Up, BACK).await?;
        world.verified().await?;
        as_before("rolled back", &draft, &before, &world.print().await)?;
        // Again, forward from there: it fails again, and is taken back again.
        world.reach(&draft, Way::Up, BACK).await?;
        as_before("rolled back again", &draft, &before, &world.print().await)
    });
}

#[test]
fn a_unit_that_fails_at_its_end_unwinds_clean() {
    every_case_in_full("fails", async |world, case| {
        let draft = world.draft("law", case.steps);
        let before = world.print().await;
        for (_, unit) in draft.program.units() {
            world.reset().await;
            world.prepare(&draft).await;
            let condition = format!("NEW.kind = 'succeeded' AND NEW.unit = {}", Literal::new(unit.id.0.clone()));
            world.strike(&condition, "RAISE EXCEPTION 'struck'").await;
            let notices = world.reach(&draft, Way::Up, BACK).await?;
            if !world.has_struck().await {
                return Err(format!("{} did not fail: {notices:#?}", unit.id));
            }
            as_before(&format!("{} failed", unit.id), &draft, &before, &world.print().await)?;
            world.verified().await?;
            // What made it fail is gone.
            world.up(&draft).await?;
        }
        Ok(())
    });
}

#[test]
fn an_undo_that_fails_is_stuck_and_goes_on_later() {
    every_case_in_full("stuck", async |world, case| {
        let draft = world.draft("law", case.steps);
        let before = world.print().await;
        for (number, (_, unit)) in draft.program.units().enumerate() {
            world.reset().await;
            world.up(&draft).await?;
            let up = world.print().await;
            let condition = format!("NEW.kind = 'undone' AND NEW.unit = {}", Literal::new(unit.id.0.clone()));
            world.strike(&condition, "RAISE EXCEPTION 'struck'").await;
            if matches!(
                unit.down,
                Down::Nothing { .. } | Down::CoveredBy(_) | Down::With { .. } | Down::Irreversible { .. }
            ) {
                continue;
            }
            world.reach(&draft, Way::Down, Outcome::Stuck { unit: number }).await?;
            // The undo of a transaction is not half done.
            if matches!(unit.down, Down::Op(Op::Tx(_))) && number + 1 == draft.program.units().count() {
                same("the failed undo", &up, &world.print().await)?;
            }
            world.down(&draft).await?;
            world.verified().await?;
            as_before("down after being stuck", &draft, &before, &world.print().await)?;
        }
        Ok(())
    });
}

#[test]
fn a_lock_that_is_not_had_fails_the_unit_and_leaves_nothing() {
    every_case_in_full("locked", async |world, case| {
        let draft = world.draft("law", case.steps);
        let before = world.print().await;
        let lockless = draft.program.units().all(|(_, unit)| unit.lock.level == LockLevel::None);
        let needs_none = lockless || names_none(world, case.steps).await;
        let other = world.db.client().await;
        other.batch_execute(&format!("BEGIN; {LOCK_ALL}")).await.unwrap();
        let driven = world.go(&draft, Way::Up, Crash::Never).await;
        let waited = driven.notices.iter().any(|notice| matches!(notice, Notice::LockWait { .. }));
        match driven.end {
            End::Rest(Rest::At(BACK)) => {}
            // It met the lock when it looked at what was there, before it began anything.
            End::Error(DriveError::Server(fault)) if fault.class == Class::Transient => {}
            // It needs none of the tables.
            End::Rest(Rest::At(Outcome::Completed)) if needs_none => return Ok(()),
            end @ (End::Rest(_) | End::Crashed | End::Error(_)) => {
                return Err(format!("ended with {end:?}\n{:#?}", driven.notices));
            }
        }
        if !waited {
            return Err(format!("never tried again\n{:#?}", driven.notices));
        }
        other.batch_execute("ROLLBACK").await.unwrap();
        same("what could not be locked", &before, &world.print().await)?;
        world.up(&draft).await?;
        world.verified().await
    });
}

/// Whether the steps name no table that is there.
async fn names_none(world: &World, steps: &str) -> bool {
    let tables =
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p')";
    let rows = world.admin.query(tables, &[]).await.unwrap();
    rows.iter().all(|row| !steps.contains(row.get::<_, &str>(0)))
}

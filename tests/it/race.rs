//! Two operators at once, again and again: exactly one has the lease each time, and the other writes nothing.
//!
//! Both are held at the same place, the first look at the lease, until both have come to it; then they run.

use std::time::Duration;

use tenantmig::{
    ledger::{self, Hold, LedgerError, Purpose, Taker, Term},
    pg::{Bounds, connect::Connection, in_transaction},
    sql::Ident,
};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::connect::try_connect;
use crate::harness::{Output, Pooler, Running, Tool, database};
use crate::scene::{Scene, with_plan};

const ROUNDS: usize = 100;
/// Of processes, each of which takes a second of a core: RACES=100 for more.
const RACES: usize = 32;
const BOUNDS: Bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(5) };
/// So many pairs race at a time, each in a database of its own.
const LANES: usize = 4;

/// One step that says who did it, and takes long enough for the other to find the lease held.
const PLAN: &str = r#"
format = 1
name   = "race"
[[phase]]
id   = "one"
[[phase.step]]
id   = "who"
kind = "sql"
up   = "INSERT INTO app.won SELECT current_setting('application_name') FROM pg_sleep(0.15)"
down = "DELETE FROM app.won WHERE pg_sleep(0.15) IS NOT NULL"
"#;

/// How many of the round's two were turned away: the other one found everything done.
struct Round {
    turned_away: usize,
}

/// The two held until both are at the lease, and their ends.
fn race(scene: &Scene, both: impl FnOnce() -> [Running; 2]) -> [Output; 2] {
    let gate = scene.holding("LOCK TABLE tenantmig.lease IN ACCESS EXCLUSIVE MODE");
    let both = both();
    scene.wait_until(
        "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database()
            AND application_name LIKE 'tenantmig lease%' AND wait_event_type = 'Lock'",
    );
    drop(gate);
    both.map(Running::wait)
}

fn round(scene: &Scene, tool: &dyn Fn() -> Tool, forward: bool) -> Round {
    let before = scene.events();
    let ends = race(scene, || {
        [(), ()].map(|()| match forward {
            true => with_plan(tool(), PLAN).spawn(),
            false => tool().args(["rollback", "--to", "start", "--yes"]).spawn(),
        })
    });
    let won = |out: &&Output| out.code == 0 && !out.stdout.contains("nothing to");
    assert_eq!(ends.iter().filter(won).count(), 1, "{}\n{}", ends[0], ends[1]);
    for loser in ends.iter().filter(|out| !won(out)) {
        assert!(loser.code == 0 || loser.code == 75 && loser.stderr.contains("holds the lease"), "{loser}");
    }
    // Numbers are dense, so what is new is what has a higher one; all of it is the winner's, who was one.
    let epochs: i64 =
        scene.db.one(&format!("SELECT count(DISTINCT epoch) FROM tenantmig.events WHERE number > {before}"));
    assert_eq!(epochs, 1, "events of both");
    let (done, runs): (i64, i64) =
        (scene.db.one("SELECT count(*) FROM app.won"), scene.db.one("SELECT count(*) FROM tenantmig.runs"));
    assert_eq!((done, runs), (i64::from(forward), 1));
    Round { turned_away: ends.iter().filter(|out| out.code == 75).count() }
}

/// The sum over the lanes.
fn lanes(lane: impl Fn(usize) -> usize + Sync) -> usize {
    std::thread::scope(|threads| {
        let lane = &lane;
        let all: Vec<_> = (0..LANES).map(|number| threads.spawn(move || lane(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    })
}

/// Races of two processes, through the pooler if there is one.
fn races(name: &str, pooler: Option<&Pooler>) {
    let races = std::env::var("RACES").map_or(RACES, |races| races.parse().unwrap());
    let turned_away = lanes(|number| {
        let scene = Scene::new(&format!("{name}_{number}"), 1);
        let url = pooler.map_or_else(|| scene.db.url(), |pooler| pooler.url(scene.db.name()));
        let tool = || scene.tool().url(&url);
        scene.db.sql("CREATE TABLE app.won (who text NOT NULL)");
        // The ledger and the run are there, so that both get as far as the lease.
        let _ = with_plan(tool(), PLAN).run().expect_code(0);
        let _ = tool().args(["rollback", "--to", "start", "--yes"]).run().expect_code(0);
        let rounds = (0..races / LANES).map(|n| round(&scene, &tool, n % 2 == 0));
        let turned_away = rounds.map(|round| round.turned_away).sum::<usize>();
        scene.verified();
        turned_away
    });
    println!("of {races} races the other one was turned away in {turned_away}, and came too late in the rest");
    assert!(turned_away >= races / 2, "hardly a race: {turned_away} of {races}");
}

#[test]
fn two_operators_race_and_one_wins_each_time() {
    races("race", None);
}

/// Both racers at the lease are the whole pool of two.
#[test]
fn through_a_transaction_pooler_they_race_and_one_wins_each_time() {
    races("race_through", Some(&Pooler::start("transaction", "default_pool_size = 2")));
}

/// Two phases, so that from between them there is a way on and a way back.
const TWO_WAYS: &str = r#"
format = 1
name   = "ways"
[[phase]]
id   = "one"
[[phase.step]]
id   = "first"
kind = "sql"
up   = "INSERT INTO app.won SELECT 'one' FROM pg_sleep(0.3)"
down = "DELETE FROM app.won WHERE who = 'one' AND pg_sleep(0.3) IS NOT NULL"
[[phase]]
id   = "two"
[[phase.step]]
id   = "second"
kind = "sql"
up   = "INSERT INTO app.won SELECT 'two' FROM pg_sleep(0.3)"
down = "DELETE FROM app.won WHERE who = 'two'"
"#;

/// Apply against rollback, from between the phases; 1 where the second was turned away.
fn apply_against_rollback(scene: &Scene) -> usize {
    let _ = with_plan(scene.tool(), TWO_WAYS).run().expect_code(0);
    let _ = scene.run("rollback --to one --yes").expect_code(0);
    let before = scene.events();
    let [on, back] = race(scene, || {
        let back = scene.tool().args(["rollback", "--to", "start", "--yes"]);
        [with_plan(scene.tool(), TWO_WAYS).spawn(), back.spawn()]
    });
    let epochs: i64 =
        scene.db.one(&format!("SELECT count(DISTINCT epoch) FROM tenantmig.events WHERE number > {before}"));
    let won: Option<String> = scene.db.one("SELECT string_agg(who, ' ' ORDER BY who) FROM app.won");
    let asked: i64 = scene.db.one("SELECT count(*) FROM tenantmig.requests");
    assert_eq!(asked, 0, "{on}\n{back}");
    let turned_away = |out: &Output| out.code == 75 && out.stderr.contains("holds the lease");
    match (on.code, back.code) {
        (0, 75) => assert!(epochs == 1 && turned_away(&back) && won.as_deref() == Some("one two"), "{back}\n{won:?}"),
        (75, 0) => assert!(epochs == 1 && turned_away(&on) && won.is_none(), "{on}\n{won:?}"),
        // The second came after the end of the first, and did what it was asked for as if alone.
        (0, 0) => assert!(epochs == 2 && [None, Some("one two")].contains(&won.as_deref()), "{on}\n{back}\n{won:?}"),
        _ => panic!("{on}\n{back}"),
    }
    usize::from(on.code + back.code == 75)
}

#[test]
fn apply_races_rollback_and_whoever_loses_leaves_with_75_and_writes_nothing() {
    const PER_LANE: usize = 5;
    let turned_away = lanes(|number| {
        let scene = Scene::new(&format!("race_ways_{number}"), 1);
        scene.db.sql("CREATE TABLE app.won (who text NOT NULL)");
        let _ = with_plan(scene.tool(), TWO_WAYS).run().expect_code(0);
        let turned_away = (0..PER_LANE).map(|_| apply_against_rollback(&scene)).sum();
        scene.verified();
        turned_away
    });
    println!("of {} races the loser was turned away in {turned_away}, and came too late in the rest", PER_LANE * LANES);
    assert!(turned_away >= PER_LANE * LANES / 2, "hardly a race: {turned_away}");
}

async fn through(pooler: &Pooler, database: &str) -> Connection {
    let session = try_connect(&pooler.url(database), None).await.unwrap();
    assert!(session.pooled);
    session
}

/// Takes the lease, writes under its fence and gives it back; `None` where another one has it.
async fn turn(session: &Connection, schema: &Ident, holder: Uuid) -> Option<i64> {
    let taker =
        Taker { holder, host: "here", purpose: Purpose::Apply, term: Term(Duration::from_secs(30)), pooled: true };
    let epoch = match ledger::acquire(session, schema, &taker).await {
        Ok(acquired) => acquired.epoch,
        Err(LedgerError::Held(_)) => return None,
        Err(error) => panic!("{error}"),
    };
    let win = async |tx: &Client| {
        ledger::fence(tx, schema, Hold { holder, epoch }).await?;
        tx.batch_execute(&format!("INSERT INTO wins SELECT {epoch} FROM pg_sleep(0.02)")).await?;
        Ok::<_, LedgerError>(())
    };
    in_transaction(session, BOUNDS, win).await.unwrap();
    Some(epoch)
}

#[tokio::test]
async fn two_sessions_of_a_transaction_pooler_race_for_the_lease_and_one_wins_each_time() {
    let db = database("race_pooled");
    let pooler = Pooler::start("transaction", "default_pool_size = 2");
    let schema = Ident::new("tenantmig").unwrap();
    let client = db.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    ledger::install(&client, &schema).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    client.batch_execute("CREATE TABLE wins (epoch bigint PRIMARY KEY)").await.unwrap();
    let (one, two) = (through(&pooler, db.name()).await, through(&pooler, db.name()).await);
    let holders = [Uuid::now_v7(), Uuid::now_v7()];
    for round in 1..=ROUNDS {
        let (a, b) = tokio::join!(turn(&one, &schema, holders[0]), turn(&two, &schema, holders[1]));
        let (Some(epoch), None) = (a.or(b), a.and(b)) else { panic!("round {round}: {a:?} and {b:?}") };
        // The loser's word, and a former epoch's, meet the fence.
        let (loser, winner) = if a.is_some() { (&two, holders[0]) } else { (&one, holders[1]) };
        let former = Hold { holder: winner, epoch: epoch - 1 };
        let late = in_transaction(loser, BOUNDS, async |tx: &Client| ledger::fence(tx, &schema, former).await).await;
        assert!(matches!(late, Err(LedgerError::Fenced { .. })), "{late:?}");
        ledger::release(&one, &schema, Hold { holder: winner, epoch }).await.unwrap();
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM wins"), i64::try_from(ROUNDS).unwrap());
}

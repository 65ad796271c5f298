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
use crate::harness::{Output, Pooler, Running, database};
use crate::scene::{Scene, with_plan};

const ROUNDS: usize = 100;
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

fn racers(scene: &Scene, forward: bool) -> [Running; 2] {
    [(), ()].map(|()| match forward {
        true => with_plan(scene.tool(), PLAN).spawn(),
        false => scene.tool().args(["rollback", "--to", "start", "--yes"]).spawn(),
    })
}

fn round(scene: &Scene, forward: bool) -> Round {
    let before = scene.events();
    let gate = scene.holding("LOCK TABLE tenantmig.lease IN ACCESS EXCLUSIVE MODE");
    let both = racers(scene, forward);
    scene.wait_until(
        "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database()
            AND application_name LIKE 'tenantmig lease%' AND wait_event_type = 'Lock'",
    );
    drop(gate);
    let ends: Vec<Output> = both.into_iter().map(Running::wait).collect();
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

#[test]
fn two_operators_race_a_hundred_times_and_one_wins_each_time() {
    let lane = |number: usize| {
        let scene = Scene::new(&format!("race_{number}"), 1);
        scene.db.sql("CREATE TABLE app.won (who text NOT NULL)");
        // The ledger and the run are there, so that both get as far as the lease.
        let _ = with_plan(scene.tool(), PLAN).run().expect_code(0);
        let _ = scene.run("rollback --to start --yes").expect_code(0);
        let rounds = (0..ROUNDS / LANES).map(|n| round(&scene, n % 2 == 0));
        let turned_away = rounds.map(|round| round.turned_away).sum::<usize>();
        scene.verified();
        turned_away
    };
    let lanes: Vec<_> = (0..LANES).map(|number| std::thread::spawn(move || lane(number))).collect();
    let turned_away: usize = lanes.into_iter().map(|lane| lane.join().unwrap()).sum();
    println!("of {ROUNDS} races the other one was turned away in {turned_away}, and came too late in the rest");
    assert!(turned_away >= ROUNDS / 2, "hardly a race: {turned_away} of {ROUNDS}");
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

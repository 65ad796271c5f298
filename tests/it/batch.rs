//! The statement of a batch, by itself: what it does once, and what it refuses to do.

use tenantmig::{
    engine::ranges::Range,
    ledger::{self, Batch, LedgerError, Place},
    pg::batch::{Batches, Part},
    sql::{Ident, QName},
    unit::{BackfillSpec, BackfillValue, OnOrphan, UnitId},
};
use tokio_postgres::Client;

use crate::scene::Scene;

const RUN: &str = "00000000-0000-0000-0000-000000000001";

/// A scene with a ledger that the epoch 5 holds, one run, one unit and one claimed range over the whole of `app.users`.
async fn claimed(name: &str, stripes: u32) -> (Scene, Client, Batches, Range) {
    let scene = tokio::task::spawn_blocking({
        let name = name.to_owned();
        move || Scene::new(&name, 200)
    });
    let scene = scene.await.unwrap();
    let client = scene.db.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    ledger::install(&client, &Ident::new("tenantmig").unwrap()).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    let setup = format!(
        "ALTER TABLE app.users ADD COLUMN tenant_id uuid;
         UPDATE tenantmig.lease SET epoch = 5, holder = '{RUN}';
         INSERT INTO tenantmig.runs (run_id, plan, plan_text, fingerprint, program, host, tool_version) VALUES ('{RUN}', 'p', '', '', '{{}}', 'h', '0');
         INSERT INTO tenantmig.migration_progress (run_id, unit, ordinal, phase, step, title) VALUES ('{RUN}', 'a/b/c', 0, 'a', 'b', 't')"
    );
    client.batch_execute(&setup).await.unwrap();
    let ident = |name: &str| Ident::new(name).unwrap();
    let spec = BackfillSpec {
        table: QName::parse("app.users").unwrap(),
        column: ident("tenant_id"),
        value: BackfillValue::Parent {
            table: QName::parse("app.accounts").unwrap(),
            column: ident("tenant_id"),
            on: vec![(ident("account_id"), ident("id"))],
        },
        only: None,
        on_orphan: OnOrphan::Stop,
        batch_rows: 1_000,
    };
    let version: i32 = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await.unwrap().get(0);
    let batches = Batches::new(&client, &spec, version).await.unwrap();
    let (heaps, _) = batches.heaps(&client).await.unwrap();
    let range = Range {
        sweep: 0,
        number: 1,
        heap: heaps[0].name.clone(),
        lo: 0,
        hi: heaps[0].end,
        stripes,
        stripes_done: 0,
        skipping: false,
    };
    ledger::claim(&client, &place(5), &unit(), &range).await.unwrap();
    (scene, client, batches, range)
}

fn place(epoch: i64) -> Place {
    Place {
        schema: Ident::new("tenantmig").unwrap(),
        run: RUN.parse().unwrap(),
        holder: RUN.parse().unwrap(),
        epoch,
        host: "h".to_owned(),
    }
}

fn unit() -> UnitId {
    UnitId("a/b/c".to_owned())
}

async fn filled(client: &Client) -> i64 {
    client.query_one("SELECT count(tenant_id) FROM app.users", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_batch_under_an_epoch_that_is_over_writes_no_row() {
    for skipping in [false, true] {
        let (_scene, client, batches, range) = claimed(&format!("batch_epoch_{skipping}"), 1).await;
        let range = Range { skipping, ..range };
        let work = batches.work(&range, &Part::Stripe);
        for (what, done) in [
            ("whole", ledger::batch(&client, &place(4), &unit(), &range, &work).await),
            ("piece", ledger::piece(&client, &place(4), &unit(), &range, &work).await),
        ] {
            assert!(matches!(done, Err(LedgerError::Fenced { ours: 4 })), "{what}: {done:?}");
        }
        let claim = ledger::claim(&client, &place(4), &unit(), &Range { number: 2, ..range.clone() }).await;
        assert!(matches!(claim, Err(LedgerError::Fenced { ours: 4 })), "{claim:?}");
        assert_eq!(filled(&client).await, 0, "skipping: {skipping}");
    }
}

#[tokio::test]
async fn an_epoch_that_came_twice_is_the_other_holders() {
    let (scene, client, batches, range) = claimed("batch_holder", 1).await;
    scene.db.sql("UPDATE tenantmig.lease SET holder = gen_random_uuid()");
    let work = batches.work(&range, &Part::Stripe);
    let next = Range { number: 2, ..range.clone() };
    for (what, done) in [
        ("batch", ledger::batch(&client, &place(5), &unit(), &range, &work).await.map(drop)),
        ("piece", ledger::piece(&client, &place(5), &unit(), &range, &work).await.map(drop)),
        ("claim", ledger::claim(&client, &place(5), &unit(), &next).await),
        ("abandon", ledger::abandon(&client, &place(5), &unit(), &range).await),
        ("fence", ledger::fence(&client, &place(5).schema, place(5).hold()).await),
    ] {
        assert!(matches!(done, Err(LedgerError::Fenced { ours: 5 })), "{what}: {done:?}");
    }
    ledger::works_on(&client, &place(5).schema, place(5).hold(), place(5).run).await.unwrap();
    let untouched =
        "SELECT run_id IS NULL AND (SELECT count(*) = 1 AND bool_and(stripes_done = 0) FROM tenantmig.backfill_ranges)
        FROM tenantmig.lease";
    assert!(scene.db.one::<bool>(untouched));
    assert_eq!(filled(&client).await, 0);
}

#[tokio::test]
async fn a_batch_that_is_committed_is_not_done_again() {
    for skipping in [false, true] {
        let (_scene, client, batches, range) = claimed(&format!("batch_twice_{skipping}"), 4).await;
        let range = Range { skipping, ..range };
        let work = batches.work(&range, &Part::Stripe);
        let first = ledger::batch(&client, &place(5), &unit(), &range, &work).await.unwrap();
        let Batch::Done(written) = first else { panic!("{first:?}") };
        assert_eq!(i64::try_from(written.rows), Ok(filled(&client).await));
        assert!((30..80).contains(&written.rows), "a quarter of 200 rows, not {}", written.rows);
        client.batch_execute("UPDATE app.users SET tenant_id = NULL").await.unwrap();
        // The same batch once more: its answer was lost, and somebody asks again.
        let again = ledger::batch(&client, &place(5), &unit(), &range, &work).await.unwrap();
        assert_eq!(again, Batch::Elsewhere);
        assert_eq!(filled(&client).await, 0, "skipping: {skipping}");
        let now = ledger::range_now(&client, &place(5), &unit(), &range).await.unwrap().unwrap();
        assert_eq!(now.stripes_done, 1);
    }
}

#[tokio::test]
async fn a_takeover_waits_for_a_batch_and_turns_the_next_one_away() {
    let (scene, client, batches, range) = claimed("batch_takeover", 4).await;
    client.batch_execute("BEGIN").await.unwrap();
    let work = batches.work(&range, &Part::Stripe);
    let _ = ledger::batch(&client, &place(5), &unit(), &range, &work).await.unwrap();
    let taking = scene.db.client().await;
    let refused = "SET lock_timeout = '200ms'; SELECT FROM tenantmig.lease FOR UPDATE";
    assert!(taking.batch_execute(refused).await.is_err(), "taken over while a batch was under way");
    client.batch_execute("COMMIT").await.unwrap();
    taking.batch_execute("UPDATE tenantmig.lease SET epoch = 6").await.unwrap();
    let next = Range { stripes_done: 1, ..range };
    let late = ledger::batch(&client, &place(5), &unit(), &next, &batches.work(&next, &Part::Stripe)).await;
    assert!(matches!(late, Err(LedgerError::Fenced { ours: 5 })), "{late:?}");
}

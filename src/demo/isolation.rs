//! Tenant isolation, tried as the application's role.

use tokio_postgres::{Client, error::SqlState};

use super::{
    alphapulse::{OWNER, TABLES, TENANTS, Tenant},
    screen::Screen,
    seed::Scale,
    stage::{DATABASE, Stage},
    traffic::{begin, connect},
};
use crate::{
    sql,
    sql::{Ident, Literal, Stmt},
};

/// Shows that a session sees its tenant's rows, all of them and no others, and cannot write into another one.
pub async fn prove(stage: &mut Stage) -> anyhow::Result<()> {
    let app = connect(&stage.app_url()).await?;
    let (scale, mut seen) = (stage.scale, Vec::new());
    let mut total = 0;
    for table in TABLES {
        total += count(&app, None, table, i64::MAX).await?.0;
    }
    stage.screen.proof(total == 0, &format!("without a tenant: {total} rows in all seven tables"))?;
    for tenant in &TENANTS {
        let (mut whole, mut foreign, mut mine) = (true, 0, 0);
        for table in TABLES {
            let (rows, others) = count(&app, Some(tenant), table, scale.rows(table)).await?;
            whole &= rows == owned(&stage.eye, tenant, table, scale).await?;
            foreign += others;
            mine += rows;
        }
        seen.push(mine);
        let claim = format!(
            "as {}: {mine} of the seeded rows, which is all of its own, and {foreign} of anyone else",
            tenant.name
        );
        stage.screen.proof(whole && foreign == 0, &claim)?;
    }
    let all: i64 = seen.iter().sum();
    stage.screen.proof(all == scale.total(), &format!("together {all} rows: each belongs to exactly one tenant"))?;
    trespass(&mut stage.screen, &app).await?;
    let owner = connect(&stage.cluster.url_as(OWNER, DATABASE)).await?;
    let rows = count(&owner, None, "trades", i64::MAX).await?.0;
    stage.screen.proof(rows == 0, &format!("even the owner of the tables, without a tenant: {rows} trades"))?;
    Ok(())
}

/// What a session sees of `table` up to row `last`: rows, and rows that are not the tenant's.
async fn count(
    client: &Client,
    tenant: Option<&Tenant>,
    table: &str,
    last: i64,
) -> Result<(i64, i64), tokio_postgres::Error> {
    if let Some(tenant) = tenant {
        begin(client, tenant.id).await?;
    }
    let id = Literal::new(tenant.map_or(uuid::Uuid::nil(), |t| t.id).to_string());
    let query = sql!(
        "SELECT count(*), count(*) FILTER (WHERE tenant_id <> {}) FROM {} WHERE id <= {}",
        id,
        // A name of TABLES.
        Stmt::raw(table),
        last
    );
    let row = client.query_typed_one(query.as_str(), &[]).await?;
    if tenant.is_some() {
        client.batch_execute("COMMIT").await?;
    }
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The seeded rows of a tenant's users, by the users' e-mail addresses and not by what the migration wrote.
async fn owned(eye: &Client, tenant: &Tenant, table: &str, scale: Scale) -> anyhow::Result<i64> {
    let user = if table == "users" { "id" } else { "user_id" };
    let query = sql!(
        "SELECT count(*) FROM {} t JOIN users u ON u.id = t.{} WHERE t.id <= {} AND split_part(u.email, '@', 2) = {}",
        Ident::new(table)?,
        Ident::new(user)?,
        scale.rows(table),
        Literal::new(tenant.domain)
    );
    Ok(eye.query_typed_one(query.as_str(), &[]).await?.try_get(0)?)
}

/// Writes that would cross from one tenant into another.
async fn trespass(screen: &mut Screen, app: &Client) -> anyhow::Result<()> {
    let [mine, other, _] = &TENANTS;
    let theirs = Literal::new(other.id.to_string());
    let attempts = [
        (
            "insert a trade for",
            sql!(
                "INSERT INTO trades (user_id, symbol, side, quantity, price, tenant_id) VALUES (1, 'SPY', 'buy', 1, 1, {})",
                theirs
            ),
        ),
        ("move a trade to", sql!("UPDATE trades SET tenant_id = {} WHERE id = (SELECT max(id) FROM trades)", theirs)),
    ];
    for (what, statement) in attempts {
        begin(app, mine.id).await?;
        let outcome = app.query_typed(statement.as_str(), &[]).await;
        app.batch_execute("ROLLBACK").await?;
        let refused = outcome.as_ref().err().and_then(|e| e.code()) == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let said = match &outcome {
            Ok(_) => "it was let through".to_owned(),
            Err(error) => error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()),
        };
        screen.proof(refused, &format!("as {}, {what} {}: {said}", mine.name, other.name))?;
    }
    begin(app, mine.id).await?;
    let statement = sql!("DELETE FROM trades WHERE tenant_id = {}", theirs);
    let deleted = app.execute(statement.as_str(), &[]).await;
    app.batch_execute("ROLLBACK").await?;
    let rows = deleted?;
    screen.proof(rows == 0, &format!("as {}, delete all trades of {}: {rows} rows", mine.name, other.name))?;
    Ok(())
}

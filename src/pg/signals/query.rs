//! The user's own number.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{pace::Seen, pg::Fault, sql, sql::Expr};

/// It is asked with every look, twice a second, and all other signals wait for it meanwhile.
const MS_MAX: u64 = 1_000;

/// Asks, in the open transaction, under a savepoint within which nothing can be written. What goes wrong in the query itself
/// makes it unknown; a lost session is a fault.
pub(super) async fn ask(client: &Client, expr: &Expr) -> Result<Seen<f64>, Fault> {
    let query = sql!(
        "SET LOCAL transaction_read_only = on; SET LOCAL statement_timeout = {}; SELECT ({})::double precision",
        MS_MAX,
        expr
    );
    // Apart, because of a text that is no SQL nothing runs at all.
    client.batch_execute("SAVEPOINT tenantmig_query").await?;
    let seen = match client.simple_query(query.as_str()).await.map_err(Fault::from) {
        Ok(messages) => number(&messages),
        Err(fault) if fault.sqlstate.is_some() && !client.is_closed() => {
            Seen::Unknown(format!("the plan's query failed: {fault}"))
        }
        Err(fault) => return Err(fault),
    };
    client.batch_execute("ROLLBACK TO SAVEPOINT tenantmig_query; RELEASE SAVEPOINT tenantmig_query").await?;
    Ok(seen)
}

fn number(messages: &[SimpleQueryMessage]) -> Seen<f64> {
    let row =
        messages.iter().find_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    match row.and_then(|row| row.get(0)).map(str::parse::<f64>) {
        Some(Ok(number)) if !number.is_nan() => Seen::Known(number),
        Some(Ok(_) | Err(_)) => Seen::Unknown("the plan's query gives no number".to_owned()),
        None => Seen::Unknown("the plan's query gives NULL".to_owned()),
    }
}

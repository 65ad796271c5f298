//! The user's own number.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{
    pace::Seen,
    pg::Fault,
    sql,
    sql::{Expr, Stmt},
};

/// It is asked with every look, twice a second, and all other signals wait for it meanwhile.
const MS_MAX: u64 = 1_000;

/// Asks, in a transaction that cannot write. What goes wrong in the query itself makes it unknown; a lost session is a fault.
pub(super) async fn ask(client: &Client, expr: &Expr) -> Result<Seen<f64>, Fault> {
    let query = sql!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SELECT ({})::double precision; ROLLBACK",
        MS_MAX,
        expr
    );
    match client.simple_query(query.as_str()).await.map_err(Fault::from) {
        Ok(messages) => Ok(number(&messages)),
        Err(fault) if fault.sqlstate.is_some() && !client.is_closed() => {
            // The transaction is aborted, not ended.
            client.batch_execute(Stmt::raw("ROLLBACK").as_str()).await?;
            Ok(Seen::Unknown(format!("the plan's query failed: {fault}")))
        }
        Err(fault) => Err(fault),
    }
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

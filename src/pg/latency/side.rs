//! One execution: on which side of the policies, as whom, as which tenant.

use tokio_postgres::{
    Client,
    types::{Format, IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};

use crate::{
    latency::{Shape, Spec},
    pg::{
        Bounds, Fault,
        connect::Connection,
        isolation::{become_role, rolled_back, set},
    },
    sql,
    sql::Ident,
};

/// Whether policies apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side<'a> {
    /// As the application's role.
    Policies(&'a Ident),
    /// As the migrating role, or as one that policies do not bind.
    Exempt(Option<&'a Ident>),
}

impl<'a> Side<'a> {
    /// Who may ask without policies: the migrating role, or else one of [tenancy].bypass.
    pub fn eyes(spec: &'a Spec) -> Vec<Self> {
        let bypass = spec.bypass.iter().map(|role| Self::Exempt(Some(role)));
        std::iter::once(Self::Exempt(None)).chain(bypass).collect()
    }

    /// From here to the transaction's end.
    pub async fn enter(self, client: &Client) -> Result<(), Fault> {
        match self {
            Self::Policies(role) => become_role(client, Some(role)).await,
            // `in_transaction` has switched row_security off: where policies would bind, the query fails instead of lying.
            Self::Exempt(None) => Ok(()),
            Self::Exempt(Some(role)) => set(client, "role", role.as_str()).await,
        }
    }
}

/// A value of the plan's, in the text form; the server gives it the type that the query asks for.
#[derive(Debug)]
struct Text<'a>(&'a str);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Runs `ask` as that side and that tenant, in a READ ONLY transaction that is rolled back.
async fn ask<T>(
    session: &Connection,
    bounds: Bounds,
    side: Side<'_>,
    spec: &Spec,
    tenant: &str,
    ask: impl AsyncFnOnce(&Client, &[(&(dyn ToSql + Sync), Type)]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    rolled_back(session, bounds, async |client: &Client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        side.enter(client).await?;
        set(client, &spec.setting, tenant).await?;
        let values: Vec<Text<'_>> = spec.params.iter().map(|value| Text(value)).collect();
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
        ask(client, &params).await
    })
    .await
}

/// How long it took on the server, in milliseconds, and by which plan.
pub(super) async fn explained(
    session: &Connection,
    bounds: Bounds,
    side: Side<'_>,
    spec: &Spec,
    tenant: &str,
) -> Result<(f64, Shape), Fault> {
    let stmt = sql!("EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, FORMAT JSON) {}", spec.sql);
    ask(session, bounds, side, spec, tenant, async |client: &Client, params: &[(&(dyn ToSql + Sync), Type)]| {
        let row = client.query_typed_one(stmt.as_str(), params).await?;
        let said: serde_json::Value = row.try_get(0)?;
        let of = |key: &str| said[0][key].as_f64().unwrap_or(0.0);
        Ok((of("Planning Time") + of("Execution Time"), Shape::read(&said)))
    })
    .await
}

/// The first value of the first row, as text.
pub(super) async fn first_value(
    session: &Connection,
    bounds: Bounds,
    side: Side<'_>,
    spec: &Spec,
    tenant: &str,
) -> Result<Option<String>, Fault> {
    let stmt = sql!("SELECT q.first::text FROM ({}) AS q (first) LIMIT 1", spec.sql);
    ask(session, bounds, side, spec, tenant, async |client: &Client, params: &[(&(dyn ToSql + Sync), Type)]| {
        let row = client.query_typed_opt(stmt.as_str(), params).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    })
    .await
}

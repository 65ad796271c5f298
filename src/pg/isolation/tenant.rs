//! A real tenant: one that has rows in the table. Found by whoever sees every row, by an index or at the table's beginning.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    facts::Facts,
    transaction::{BOUNDS, become_role, refusal, rolled_back, set},
};
use crate::{
    isolation::{Phantoms, Spec},
    pg::{Fault, connect::Connection},
    sql,
    sql::{Ident, List, Literal, Stmt},
};

/// The most tenants of the registry of which it is tried whether they have rows.
const CANDIDATES: u32 = 200;
/// The most rows of a tenant that are counted.
pub(super) const SAMPLE: u32 = 1_000;

const NO_ROW: &str = "the table has no row";

/// Who sees every row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Eye {
    /// The migrating role itself.
    Own,
    /// A role of `[tenancy].bypass`.
    Bypass(Ident),
    /// Nobody whom the migrating role may be: policies bind it as they bind the application.
    Nobody,
}

/// What is known of real tenants of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tenants {
    pub eye: Eye,
    /// One that has rows.
    pub real: Option<String>,
    /// Why none is known.
    pub why: String,
}

/// What the look for a tenant may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liberty {
    /// Nothing that anybody waits for.
    Looks,
    /// Besides, once, the lock that enforcing has just had, for as long: an owner whom FORCE binds looks for one row without it, in
    /// one message that ends with ROLLBACK. Nobody else ever sees the table without.
    MayLock,
}

/// Looks for a real tenant.
pub(super) async fn tenants(connection: &Connection, spec: &Spec, liberty: Liberty) -> Result<Tenants, Fault> {
    let mut eyes = vec![Eye::Own];
    eyes.extend(spec.bypass.iter().cloned().map(Eye::Bypass));
    for eye in eyes {
        let looked = rolled_back(connection, BOUNDS, async |client: &Client| {
            open(client, &eye).await?;
            first(client, &sql!("SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL LIMIT 1", spec.column, spec.table))
                .await
        });
        match looked.await {
            Ok(real) => return Ok(Tenants { eye, real, why: NO_ROW.to_owned() }),
            // Why, is told of the last way that is tried.
            Err(fault) => drop(refusal(fault)?),
        }
    }
    let mut known = among_registered(connection, spec).await?;
    if liberty == Liberty::MayLock && !matches!(known, Ok(Some(_))) {
        match unforced(connection, spec).await? {
            Ok(real) => return Ok(Tenants { eye: Eye::Nobody, real, why: NO_ROW.to_owned() }),
            Err(why) => known = known.map_err(|first| format!("{first}; {why}")),
        }
    }
    Ok(match known {
        Ok(real) => {
            let why = format!("none of the tenants in {} has a row here, of the first {CANDIDATES}", spec.registry.0);
            Tenants { eye: Eye::Nobody, real, why }
        }
        Err(why) => {
            let why = format!(
                "no tenant is known that has rows, since the migrating role may not see any ({why}): name a role with BYPASSRLS in \
                 [tenancy] bypass, and GRANT it TO the migrating role"
            );
            Tenants { eye: Eye::Nobody, real: None, why }
        }
    })
}

/// Values that no row has and that the column takes: a domain is asked which of them it does.
pub(super) async fn phantoms(admin: &Connection, facts: &Facts) -> Result<Phantoms, Fault> {
    let seeds = [rand::random(), rand::random(), rand::random()];
    let mut candidates = Phantoms::candidates(&facts.base_type, facts.length, seeds);
    let Some(domain) = &facts.domain else { return Ok(candidates.swap_remove(0)) };
    for candidate in &mut candidates {
        let [one, two] = &candidate.made_up;
        candidate.fit = is_of(admin, domain, &[&candidate.phantom, one, two]).await?;
        candidate.empty_is_a_value = candidate.empty_is_a_value && candidate.fit && is_of(admin, domain, &[""]).await?;
    }
    let fit = candidates.iter().position(|candidate| candidate.fit);
    Ok(candidates.swap_remove(fit.unwrap_or(0)))
}

/// Whether a domain takes these values.
async fn is_of(admin: &Connection, domain: &str, values: &[&str]) -> Result<bool, Fault> {
    let casts: Vec<Stmt> =
        values.iter().map(|value| sql!("CAST({} AS {})", Literal::new(*value), Stmt::raw(domain))).collect();
    let cast = sql!("SELECT {}", List(&casts, ", "));
    let asked = rolled_back(admin, BOUNDS, async |client: &Client| Ok(client.batch_execute(cast.as_str()).await?));
    match asked.await {
        Ok(()) => Ok(true),
        Err(fault) => refusal(fault).map(|_| false),
    }
}

/// See [`Liberty::MayLock`].
async fn unforced(connection: &Connection, spec: &Spec) -> Result<Result<Option<String>, String>, Fault> {
    let look = sql!(
        "ALTER TABLE {0} NO FORCE ROW LEVEL SECURITY; SELECT {1}::text FROM {0} WHERE {1} IS NOT NULL LIMIT 1; ROLLBACK",
        spec.table,
        spec.column
    );
    let looked = rolled_back(connection, BOUNDS, async |client: &Client| {
        let messages = client.simple_query(look.as_str()).await?;
        let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
        Ok(row.map(str::to_owned))
    });
    match looked.await {
        Ok(real) => Ok(Ok(real)),
        Err(fault) => refusal(fault).map(|refusal| Err(refusal.told())),
    }
}

/// From here on the transaction sees every row.
pub(super) async fn open(client: &Client, eye: &Eye) -> Result<(), Fault> {
    match eye {
        // `in_transaction` has switched row_security off.
        Eye::Own | Eye::Nobody => Ok(()),
        Eye::Bypass(role) => set(client, "role", role.as_str()).await,
    }
}

/// Tries the tenants that the registry has, as the migrating role under the policies; why it cannot be read, where it cannot.
async fn among_registered(connection: &Connection, spec: &Spec) -> Result<Result<Option<String>, String>, Fault> {
    let (registry, key) = &spec.registry;
    let tried = rolled_back(connection, BOUNDS, async |client: &Client| {
        let list = sql!("SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL LIMIT {2}", key, registry, CANDIDATES);
        let rows = client.query_typed(list.as_str(), &[]).await?;
        become_role(client, None).await?;
        for row in rows {
            set(client, &spec.setting, row.try_get(0)?).await?;
            let look = sql!("SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL LIMIT 1", spec.column, spec.table);
            if let Some(found) = first(client, &look).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    });
    match tried.await {
        Ok(found) => Ok(Ok(found)),
        Err(fault) => refusal(fault).map(|refusal| Err(refusal.told())),
    }
}

async fn first(client: &Client, stmt: &Stmt) -> Result<Option<String>, Fault> {
    let row = client.query_typed_opt(stmt.as_str(), &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
}

/// How many rows of the tenant there are, up to `SAMPLE`, for a transaction that sees them all.
pub(super) async fn owed(client: &Client, spec: &Spec, tenant: &str, most: u32) -> Result<i64, Fault> {
    let count = sql!(
        "SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} = {} LIMIT {}) s",
        spec.table,
        spec.column,
        Literal::new(tenant),
        most
    );
    Ok(client.query_typed_one(count.as_str(), &[]).await?.try_get(0)?)
}

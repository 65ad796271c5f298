//! Who asks: the application's role, by SET ROLE in a session of the migrating role's, or by its own login.

use tokio_postgres::Client;

use super::transaction::{become_role, rolled_back, set};
use crate::{
    isolation::{Context, Phantoms, Spec, Way},
    pg::{Bounds, Fault, connect::Connection},
    sql::Ident,
};

/// A session, and the role that is taken in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor<'a> {
    pub session: &'a Connection,
    /// `None`: the login is the role.
    pub role: Option<&'a Ident>,
    /// The role's name.
    pub name: &'a Ident,
    pub way: Way,
}

impl Actor<'_> {
    /// Runs `work` as the role, under the policies, in a transaction that is rolled back.
    pub async fn act<T>(
        &self,
        bounds: Bounds,
        work: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        rolled_back(self.session, bounds, async |client: &Client| {
            become_role(client, self.role).await?;
            work(client).await
        })
        .await
    }
}

/// What the setting says in a context; `None` leaves it alone.
pub(super) fn value<'v>(context: Context, phantoms: &'v Phantoms, real: &'v str) -> Option<&'v str> {
    match context {
        Context::None => None,
        Context::Empty => Some(""),
        Context::Garbage => Some(&phantoms.garbage),
        Context::Phantom => Some(&phantoms.phantom),
        Context::Real => Some(real),
    }
}

/// Puts the transaction into a context.
pub(super) async fn enter(client: &Client, spec: &Spec, value: Option<&str>) -> Result<(), Fault> {
    match value {
        Some(value) => set(client, &spec.setting, value).await,
        None => Ok(()),
    }
}

//! The systems that the demo and the tests migrate, one file and one schema each: what stands there before, who connects as
//! what, whose the rows are, and what its application writes before the migration and after it.

mod chat;
mod memory;
mod play;
mod portfolio;
mod traffic;

use tokio_postgres::{Client, Error};

pub use memory::VECTOR;
pub use play::Scene;
pub use traffic::{Report, Traffic};

use crate::{
    sql,
    sql::{Ident, Literal},
};

/// Every system but AlphaPulse, whose story has a file of its own.
pub const SYSTEMS: [&System; 3] = [&portfolio::SYSTEM, &memory::SYSTEM, &chat::SYSTEM];

/// An application's database before its migration, the plan, and the application.
#[derive(Debug, Clone, Copy)]
pub struct System {
    /// As `demo --plan` and plans/NAME.toml have it.
    pub name: &'static str,
    pub title: &'static str,
    /// What isolation means here.
    pub meaning: &'static str,
    pub plan: &'static str,
    /// Run by a superuser in an empty database; reads `demo.scale`.
    pub schema: &'static str,
    /// Owns everything in the database; tenantmig connects as this role.
    pub owner: &'static str,
    /// The application's role.
    pub app: &'static str,
    /// By which the application names its tenant.
    pub setting: &'static str,
    /// That carries the tenant afterwards.
    pub column: &'static str,
    pub tenants: [&'static str; 3],
    /// The tables that are there before, and after a rollback to the start.
    pub kept: &'static [&'static str],
    /// The tables that are under row-level security afterwards.
    pub isolated: &'static [&'static str],
    /// What the release of before writes: without a context, into no tenant's column.
    pub old: &'static [Write],
    /// What the release of after writes, in the context of its tenant.
    pub new: &'static [Write],
}

/// One kind of write: $1 is a new uuid, $2 a number, by which rows that are there are chosen; modulo three it says which tenant.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub table: &'static str,
    /// The column that $1 goes into.
    pub key: &'static str,
    pub sql: &'static str,
}

impl System {
    /// The system of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SYSTEMS.into_iter().find(|system| system.name == name)
    }

    /// Makes roles, tables and rows in the current, empty database. `client` is a superuser's. Roles are the cluster's:
    /// another database of the same server may have brought them.
    pub async fn seed(&self, client: &Client, scale: u32) -> Result<(), Error> {
        let names: Vec<Literal> = [self.owner, self.app].into_iter().map(Literal::new).collect();
        let roles = sql!(
            "DO $$
             DECLARE name text;
             BEGIN
               FOREACH name IN ARRAY ARRAY[{0}] LOOP
                 BEGIN
                   EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS', name);
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                 END;
               END LOOP;
               -- Who migrates asks as the application whether the tenants are apart.
               IF NOT pg_has_role({1}, {3}, 'MEMBER') THEN
                 BEGIN
                   EXECUTE format('GRANT %I TO %I', {3}, {1});
                 EXCEPTION WHEN unique_violation OR internal_error THEN NULL;
                 END;
               END IF;
               EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), {1});
               EXECUTE format('ALTER SCHEMA public OWNER TO %I', {2});
             END $$",
            sql::List(&names, ", "),
            Literal::new(self.owner),
            Literal::new(self.owner),
            Literal::new(self.app)
        );
        client.batch_execute(roles.as_str()).await?;
        let role = Ident::parse(self.owner).map(|owner| sql!("SET ROLE {}", owner));
        let scale = sql!("SET demo.scale = {}", Literal::new(scale.to_string()));
        client.batch_execute(role.unwrap_or_else(|_| sql!("RESET ROLE")).as_str()).await?;
        client.batch_execute(scale.as_str()).await?;
        client.batch_execute(self.schema).await?;
        client.batch_execute("RESET demo.scale; RESET ROLE; ANALYZE").await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::parse;

    #[test]
    fn the_plan_of_each_system_is_valid_and_named_after_it() {
        for system in SYSTEMS {
            let (plan, diags) = parse(system.plan, &|_| Err(String::new()));
            assert_eq!(plan.unwrap_or_else(|| panic!("{diags:?}")).name, system.name);
        }
        assert!(parse(VECTOR, &|_| Err(String::new())).0.is_some());
    }
}

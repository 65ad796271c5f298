//! Audits the isolation of a database as it stands: finds out who the tenants are where nobody says so, and asks each class of
//! the catalogue. Nothing is written: every transaction is READ ONLY, and no right beyond the catalogue is needed.

mod seen;
mod tenants;

use super::{
    Class, Fault,
    connect::Connection,
    survey::{answer, told, unasked},
};
use crate::{
    audit::{self, Ground, Look, mend, tenancy::Tenancy},
    hazards::{Needs, Scope, Survey},
};

/// What an audit found, and over what it looked.
#[derive(Debug)]
pub struct Audited {
    pub survey: Survey,
    /// Filled where nobody said it.
    pub tenancy: Tenancy,
    /// How many tables were looked at, partitions and children among them.
    pub tables: usize,
    /// The classes whose query failed, which the survey tells among those that it could not look for.
    pub failed: Vec<&'static str>,
}

/// Looks for every class. What cannot be asked is told in the answer; only a lost connection is an error, and a database
/// of which nobody can tell who the tenants are: then the tenancy's column is `None`.
pub async fn audit(session: &Connection, asked: Tenancy, ledger: &str) -> Result<Audited, Fault> {
    let mut tenancy = asked;
    let (mut survey, mut failed) = (Survey::default(), Vec::new());
    let Some((scope, places)) = tenants::find(session, &mut tenancy, ledger).await? else {
        return Ok(Audited { survey, tenancy, tables: 0, failed });
    };
    let tables = places.tables.len();
    let ground = Ground {
        server: places.server(session),
        context: mend::context(tenancy.function.as_ref()),
        force: tenancy.force,
    };
    let seen = seen::see(session, &ground, &places, &scope).await?;
    let (mut blind, mut without) = (Vec::new(), Vec::new());
    for rule in audit::rules() {
        match rule.needs() {
            Needs::Statements if places.statements.is_none() => {
                without.push(rule.code);
                continue;
            }
            Needs::Statements | Needs::Activity if !places.sees_others => {
                blind.push(rule.code);
                continue;
            }
            Needs::Catalog | Needs::Activity | Needs::Statements => {}
        }
        let rows = match rule.look {
            Look::Policies(judge) => Ok(judge(&seen)),
            Look::Elsewhere(_) | Look::Probes(_) => Ok(Vec::new()),
            Look::Text(_) | Look::Built(_) | Look::AsHazard(_) => match rule.query(&ground) {
                Some(query) => answer(session, rule.title, &query, &places, &scope).await,
                None => Ok(Vec::new()),
            },
        };
        match rows {
            Ok(rows) => survey.hazards.extend(rows.into_iter().map(|row| rule.finding(row))),
            Err(fault) if fault.class == Class::Ambiguous => return Err(fault),
            Err(fault) => {
                failed.push(rule.code);
                survey.unmeasured.push(unasked(rule.code, &fault));
            }
        }
    }
    told(&mut survey, without, blind);
    Ok(Audited { survey, tenancy, tables, failed })
}

/// The scope as the queries take it.
fn scope(tenancy: &Tenancy) -> Scope {
    Scope {
        known: tenancy.registry.iter().chain(&tenancy.shared).cloned().collect(),
        roles: tenancy.roles.clone(),
        column: tenancy.column.clone(),
        setting: tenancy.setting.clone(),
        function: tenancy.function.clone(),
        ..Scope::default()
    }
}

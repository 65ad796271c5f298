//! Who migrates in a cycle: a role in whom row-level security hides what it will hide in production.

use tokio_postgres::{Client, types::Type};

use crate::{
    cli::failure::CliError,
    exit::Exit,
    pg::settings::{Origin, Setting, Settings},
    plan::Plan,
    sql::Ident,
    steps::Object,
};

/// The role that carries the plan out.
#[derive(Debug, Clone)]
pub struct Actor {
    pub name: String,
    /// The login that takes the role; the same as `name` where nothing has to be taken.
    pub login: String,
    /// Neither superuser nor BYPASSRLS.
    pub plain: bool,
}

/// A role and what it may do.
#[derive(Debug)]
struct Candidate {
    name: String,
    plain: bool,
    /// Whether the login may SET ROLE to it.
    takeable: bool,
}

const FACTS: &str = "r.rolname::text, NOT (r.rolsuper OR r.rolbypassrls), pg_has_role(current_user, r.oid, 'MEMBER')";

impl Actor {
    /// The connection's settings with this role taken after each login.
    pub fn settings(&self, login: &Settings) -> Settings {
        let mut settings = login.clone();
        let taken = self.name != self.login;
        settings.role = taken.then(|| Setting { value: self.name.clone(), origin: Origin::Flag("--role") });
        settings
    }

    /// Who it is, in words.
    pub fn describe(&self) -> String {
        let rights = if self.plain {
            "neither superuser nor BYPASSRLS"
        } else {
            "NOT a plain role: row-level security hides nothing from it"
        };
        if self.name == self.login {
            format!("{} ({rights})", self.name)
        } else {
            format!("{} ({rights}; logged in as {})", self.name, self.login)
        }
    }

    /// The role as an identifier.
    pub fn ident(&self) -> Result<Ident, CliError> {
        Ident::new(self.name.clone())
            .map_err(|e| CliError::new(Exit::Refused, format!("the role's name: {e}"), "name another with --role"))
    }
}

/// `--role`; else the login where it is plain; else the plain role that owns the plan's tables. Refused otherwise, unless
/// `as_superuser` takes what there is. `client` is the login's own session, no role taken.
pub async fn choose(client: &Client, asked: Option<&str>, as_superuser: bool, plan: &Plan) -> Result<Actor, CliError> {
    let login = one(client, None).await?;
    if let Some(asked) = asked {
        let role = one(client, Some(asked)).await?;
        return take(login.name, role, as_superuser);
    }
    if login.plain || as_superuser {
        return Ok(Actor { name: login.name.clone(), login: login.name, plain: login.plain });
    }
    let mut owners = owners(client, plan).await?;
    match (owners.pop(), owners.is_empty()) {
        (Some(owner), true) if owner.plain => take(login.name, owner, false),
        (Some(owner), true) => Err(refused(format!(
            "{} is a superuser or has BYPASSRLS, and so is {}, who owns the plan's tables: what passes as such a role may fail in production",
            login.name, owner.name
        ))),
        (Some(owner), false) => {
            let names: Vec<String> = owners.into_iter().chain([owner]).map(|owner| owner.name).collect();
            Err(refused(format!(
                "{} is a superuser or has BYPASSRLS, and the plan's tables have several owners ({}), none of which can do all",
                login.name,
                names.join(", ")
            )))
        }
        (None, _) => Err(refused(format!(
            "{} is a superuser or has BYPASSRLS, and no table of the plan is here whose owner could migrate instead",
            login.name
        ))),
    }
}

fn take(login: String, role: Candidate, as_superuser: bool) -> Result<Actor, CliError> {
    let Candidate { name, plain, takeable } = role;
    if !plain && !as_superuser {
        return Err(refused(format!(
            "{name} is a superuser or has BYPASSRLS: what passes as such a role may fail in production"
        )));
    }
    if !takeable {
        return Err(CliError::new(
            Exit::Privilege,
            format!("{login} may not take the role {name}; nothing was changed"),
            format!("as a superuser: GRANT {name} TO {login}"),
        ));
    }
    Ok(Actor { name, login, plain })
}

fn refused(why: String) -> CliError {
    CliError::new(
        Exit::Refused,
        format!("{why}; nothing was changed"),
        "name a plain role that owns the tables with --role, or say --as-superuser",
    )
}

async fn one(client: &Client, name: Option<&str>) -> Result<Candidate, CliError> {
    let query = format!("SELECT {FACTS} FROM pg_roles r WHERE r.rolname = coalesce($1, current_user::text)");
    let row = client.query_typed_opt(&query, &[(&name, Type::TEXT)]).await?;
    match row {
        Some(row) => candidate(&row),
        None => Err(CliError::new(
            Exit::Refused,
            format!("the server has no role {}; nothing was changed", name.unwrap_or_default()),
            "look with \\du in psql",
        )),
    }
}

/// The owners of the tables that the plan needs and that are here.
async fn owners(client: &Client, plan: &Plan) -> Result<Vec<Candidate>, CliError> {
    let needs = plan.phases.iter().flat_map(|phase| &phase.steps).flat_map(|step| step.step.needs());
    let mut tables: Vec<String> = needs
        .map(|(_, object)| match object {
            Object::Table(table) | Object::Column(table, _) => table.to_string(),
        })
        .collect();
    tables.sort();
    tables.dedup();
    let query = format!(
        "SELECT DISTINCT {FACTS} FROM unnest($1) t JOIN pg_class c ON c.oid = to_regclass(t) JOIN pg_roles r ON r.oid = c.relowner ORDER BY 1"
    );
    let rows = client.query_typed(&query, &[(&tables, Type::TEXT_ARRAY)]).await?;
    rows.iter().map(candidate).collect()
}

fn candidate(row: &tokio_postgres::Row) -> Result<Candidate, CliError> {
    Ok(Candidate { name: row.try_get(0)?, plain: row.try_get(1)?, takeable: row.try_get(2)? })
}

//! Who migrates in a cycle: a role in whom row-level security hides what it will hide in production.

use tokio_postgres::Client;

use crate::{
    cli::failure::CliError,
    exit::Exit,
    pg::{
        self, Role,
        connect::Connection,
        settings::{Origin, Setting, Settings},
    },
    plan::Plan,
    sql::{Ident, QName},
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
/// `as_superuser` takes what there is. `session` is the login's own session, no role taken.
pub async fn choose(
    session: &Connection,
    asked: Option<&str>,
    as_superuser: bool,
    plan: &Plan,
) -> Result<Actor, CliError> {
    let login = one(session, None).await?;
    if let Some(asked) = asked {
        let role = one(session, Some(asked)).await?;
        return take(login.name, role, as_superuser);
    }
    if login.plain || as_superuser {
        return Ok(Actor { name: login.name.clone(), login: login.name, plain: login.plain });
    }
    let mut owners = owners(session, plan).await?;
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

fn take(login: String, role: Role, as_superuser: bool) -> Result<Actor, CliError> {
    let Role { name, plain, takeable } = role;
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

async fn one(session: &Connection, name: Option<&str>) -> Result<Role, CliError> {
    session.with(async |client: &Client| pg::role(client, name).await).await?.ok_or_else(|| {
        let name = name.unwrap_or_default();
        CliError::new(
            Exit::Refused,
            format!("the server has no role {name}; nothing was changed"),
            "look with \\du in psql",
        )
    })
}

/// The owners of the tables that the plan needs and that are here.
async fn owners(session: &Connection, plan: &Plan) -> Result<Vec<Role>, CliError> {
    let needs = plan.phases.iter().flat_map(|phase| &phase.steps).flat_map(|step| step.step.needs());
    let mut tables: Vec<QName> = needs
        .filter_map(|(_, object)| match object {
            Object::Table(table) | Object::Column(table, _) => Some(table),
            Object::Tablespace(_) | Object::Activity(_) => None,
        })
        .collect();
    tables.sort();
    tables.dedup();
    Ok(session.with(async |client: &Client| pg::owners(client, &tables).await).await?)
}

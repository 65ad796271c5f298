//! What can be written: P6 to P8, on the table itself. One row of a real tenant is what is tried on, by a cursor that stands on
//! it (`WHERE CURRENT OF`): no condition and no RETURNING, which would ask the SELECT policies as well and mask what an UPDATE
//! may do; and no more than that row is touched in a table of any size, whatever the policies let through.

use tokio_postgres::Client;

use super::{
    actor::{Actor, enter, value},
    facts::{Facts, Rights},
    transaction::{BOUNDS, Form, ask, become_role, refusal, rolled_back, run, set},
};
use crate::{
    isolation::{Answer, Case, Cell, Command, Context, On, Phantoms, Spec},
    pg::Fault,
    sql,
    sql::{List, Literal, Stmt},
};

/// The temporary table that holds a row, in the transaction that is rolled back.
pub(super) const ROWS: &str = "pg_temp.tenantmig_rows";

/// Contexts that reach no row. A session that has had a tenant is never again without: '' stands for that.
const CONTEXTS: [Context; 3] = [Context::Empty, Context::Garbage, Context::Phantom];

/// What the tries of one table have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub spec: &'a Spec,
    pub facts: &'a Facts,
    pub rights: &'a Rights,
    pub phantoms: &'a Phantoms,
    pub real: &'a str,
}

impl Ground<'_> {
    /// Why a command is not tried on the table itself.
    fn obstacle(&self, actor: &Actor<'_>, command: Command) -> Option<String> {
        let (rights, role, column) = (self.rights, actor.name, &self.spec.column);
        let lacks = match command {
            Command::Select => None,
            Command::Insert if !rights.insert => Some(format!("{role} may not insert a {column}")),
            Command::Update if !rights.updates_tenant => Some(format!("{role} may not update {column}")),
            Command::Delete if !rights.delete => Some(format!("{role} may not delete")),
            Command::Insert if !rights.columns.contains(column) => Some(format!("{role} may not read {column}")),
            Command::Update | Command::Delete if !rights.reads_tenant => Some(format!("{role} may not read {column}")),
            Command::Insert => rights.computed.as_ref().map(|computed| {
                format!("{role} may not write {computed}, whose default would be computed: a number of a sequence would be gone")
            }),
            Command::Update if !self.phantoms.fit => Some(format!(
                "no value of {} is known that no row has",
                self.facts.domain.as_ref().unwrap_or(&self.facts.base_type)
            )),
            Command::Update | Command::Delete => None,
        };
        lacks.or_else(|| {
            let fires = self.facts.fires(command);
            let told = "tried on a copy of its policies only: on the table it would fire";
            (!fires.is_empty()).then(|| format!("{told} {}", fires.join(", ")))
        })
    }

    /// The statement that tries a command on the row at hand. `to`: the tenant that the row is given.
    fn attempt(&self, command: Command, to: &str) -> Stmt {
        let (table, column) = (&self.spec.table, &self.spec.column);
        let columns = List(&self.rights.columns, ", ");
        match command {
            Command::Select => sql!("SELECT 1 FROM {}", table),
            Command::Insert => sql!(
                "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2}",
                table,
                columns,
                Stmt::raw(ROWS)
            ),
            Command::Update => {
                sql!("UPDATE {} SET {} = {} WHERE CURRENT OF tenantmig_row", table, column, Literal::new(to))
            }
            Command::Delete => sql!("DELETE FROM {} WHERE CURRENT OF tenantmig_row", table),
        }
    }

    fn case(&self, command: Command, context: Context) -> Case {
        let fallen = self.spec.falls_to(context, self.real);
        Case { fallen, ..Case::new(command, context, On::Table, self.spec.strict) }
    }
}

/// Tries each command in each context.
pub(super) async fn writes(actor: &Actor<'_>, ground: Ground<'_>) -> Result<Vec<Cell>, Fault> {
    let mut cells = Vec::new();
    let mut due = Vec::new();
    for command in [Command::Insert, Command::Update, Command::Delete] {
        match ground.obstacle(actor, command) {
            Some(why) => {
                for context in CONTEXTS {
                    cells.push(Cell::new(ground.case(command, context), Answer::Unasked(why.clone())));
                }
                if command == Command::Update {
                    let case = Case { moves: true, ..ground.case(command, Context::Real) };
                    cells.push(Cell::new(case, Answer::Unasked(why)));
                }
            }
            None => due.push(command),
        }
    }
    if due.is_empty() {
        return Ok(cells);
    }
    let tried = rolled_back(actor.session, BOUNDS, async |client: &Client| {
        prepare(client, actor, ground).await?;
        let mut cells = Vec::new();
        for context in CONTEXTS {
            enter(client, ground.spec, value(context, ground.phantoms, ground.real)).await?;
            for command in &due {
                let answer = ask(client, Form::Written, &ground.attempt(*command, &ground.phantoms.phantom)).await?;
                cells.push(Cell::new(ground.case(*command, context), answer));
            }
        }
        if due.contains(&Command::Update) {
            set(client, &ground.spec.setting, ground.real).await?;
            let moved = ground.attempt(Command::Update, &ground.phantoms.phantom);
            let case = Case { moves: true, routed: ground.facts.routed, ..ground.case(Command::Update, Context::Real) };
            cells.push(Cell::new(case, ask(client, Form::Written, &moved).await?));
        }
        Ok(cells)
    });
    match tried.await {
        Ok(more) => cells.extend(more),
        Err(fault) => {
            let why = refusal(fault)?.told();
            let refused =
                |command: &Command| Cell::new(ground.case(*command, Context::Phantom), Answer::Unmeasured(why.clone()));
            cells.extend(due.iter().map(refused));
        }
    }
    Ok(cells)
}

/// One of the real tenant's rows: a cursor on it, and a clone of it in a temporary table. As the role, in that tenant's context:
/// nobody else need see it.
async fn prepare(client: &Client, actor: &Actor<'_>, ground: Ground<'_>) -> Result<(), Fault> {
    let Ground { spec, rights, real, .. } = ground;
    let rows = Stmt::raw(ROWS);
    run(client, &sql!("CREATE TEMPORARY TABLE tenantmig_rows ON COMMIT DROP AS TABLE {} WITH NO DATA", spec.table))
        .await?;
    if let Some(role) = actor.role {
        run(client, &sql!("GRANT ALL ON {} TO {}", rows, role)).await?;
    }
    become_role(client, actor.role).await?;
    set(client, &spec.setting, real).await?;
    let columns = List(&rights.columns, ", ");
    if rights.insert && rights.columns.contains(&spec.column) {
        run(client, &sql!("INSERT INTO {0} ({1}) SELECT {1} FROM {2} LIMIT 1", rows, columns, spec.table)).await?;
    }
    if rights.reads_tenant {
        run(client, &sql!("DECLARE tenantmig_row NO SCROLL CURSOR FOR SELECT {} FROM {}", spec.column, spec.table))
            .await?;
        run(client, &sql!("FETCH 1 FROM tenantmig_row")).await?;
    }
    Ok(())
}

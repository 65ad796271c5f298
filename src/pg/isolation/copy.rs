//! The policies without the table: a temporary table of its name and columns, with its policies, in a transaction that is rolled
//! back. No trigger fires there, nobody's row is touched, it is never large, and it can have rows that the table has not (yet):
//! a tenant's where the table is empty, one without a tenant, one with ''. So what an expression lets through shows here
//! whatever the table holds; what shows on the table itself is asked there.

use tokio_postgres::Client;

use super::{
    actor::{Actor, enter, value},
    tenant::{Eye, Tenants, open},
    transaction::{BOUNDS, Form, ask, become_role, refusal, rolled_back, run, set},
    writes::{Ground, ROWS},
};
use crate::{
    isolation::{Answer, Case, Cell, Command, Context, On},
    pg::Fault,
    sql,
    sql::{List, Literal, Stmt, policy},
};

const COMMANDS: [Command; 4] = [Command::Select, Command::Insert, Command::Update, Command::Delete];

/// The rows of a copy.
struct Rows {
    /// The tenant in whose name it is asked.
    real: String,
    /// Whether its rows are made up and not clones.
    made_up: bool,
    owed: i64,
}

/// Tries every command in these contexts. Without a tenant it must be the first that its session does, in contexts with one the
/// rows may be found under the policies.
pub(super) async fn copied(
    actor: &Actor<'_>,
    tenants: &Tenants,
    ground: Ground<'_>,
    contexts: &[Context],
) -> Result<Vec<Cell>, Fault> {
    let tried = rolled_back(actor.session, BOUNDS, async |client: &Client| {
        let rows = build(client, actor, tenants, ground, !contexts.contains(&Context::None)).await?;
        become_role(client, actor.role).await?;
        let mut cells = Vec::new();
        for context in contexts {
            enter(client, ground.spec, value(*context, ground.phantoms, &rows.real)).await?;
            for command in COMMANDS {
                let form = if command == Command::Select { Form::Count } else { Form::Written };
                let to = if *context == Context::Real { &rows.real } else { &ground.phantoms.phantom };
                let answer = ask(client, form, &attempt(ground, &rows, command, to)).await?;
                cells.push(Cell::new(case(ground, &rows, command, *context), answer));
            }
            if *context == Context::Real {
                let moved = attempt(ground, &rows, Command::Update, &ground.phantoms.phantom);
                let case = Case { moves: true, ..case(ground, &rows, Command::Update, *context) };
                cells.push(Cell::new(case, ask(client, Form::Written, &moved).await?));
            }
        }
        Ok(cells)
    });
    match tried.await {
        Ok(cells) => Ok(cells),
        Err(fault) => {
            let why = format!("no copy of the policies could be made: {}", refusal(fault)?.told());
            let of =
                |context: &Context| COMMANDS.map(|command| Case::new(command, *context, On::Copy, ground.spec.strict));
            Ok(contexts.iter().flat_map(of).map(|case| Cell::new(case, Answer::Unasked(why.clone()))).collect())
        }
    }
}

fn case(ground: Ground<'_>, rows: &Rows, command: Command, context: Context) -> Case {
    let owed = (command == Command::Select && context == Context::Real).then_some(rows.owed);
    let (further, made_up) = (ground.facts.further || ground.spec.extra, rows.made_up);
    let fallen = ground.spec.falls_to(context, &rows.real);
    Case { owed, further, made_up, fallen, ..Case::new(command, context, On::Copy, ground.spec.strict) }
}

/// The copy has few rows, so it is written whole, without a condition.
fn attempt(ground: Ground<'_>, rows: &Rows, command: Command, to: &str) -> Stmt {
    let (copy, column, real) = (twin(ground), &ground.spec.column, Literal::new(rows.real.clone()));
    match command {
        Command::Select => sql!(
            "SELECT count(*), count(*) FILTER (WHERE s.tenant IS DISTINCT FROM {2}) FROM (SELECT {0}::text AS tenant FROM {1}) s",
            column,
            copy,
            real
        ),
        Command::Insert => {
            sql!("INSERT INTO {0} SELECT * FROM {1} WHERE {2}::text = {3} LIMIT 1", copy, Stmt::raw(ROWS), column, real)
        }
        Command::Update => sql!("UPDATE {} SET {} = {}", copy, column, Literal::new(to)),
        Command::Delete => sql!("DELETE FROM {}", copy),
    }
}

/// The table's own name, because the server writes it into a policy's sub-selects.
fn twin(ground: Ground<'_>) -> Stmt {
    sql!("pg_temp.{}", ground.spec.table.name)
}

async fn build(
    client: &Client,
    actor: &Actor<'_>,
    tenants: &Tenants,
    ground: Ground<'_>,
    may_set: bool,
) -> Result<Rows, Fault> {
    let (spec, copy, rows) = (ground.spec, twin(ground), Stmt::raw(ROWS));
    run(client, &sql!("CREATE TEMPORARY TABLE tenantmig_rows ON COMMIT DROP AS TABLE {} WITH NO DATA", spec.table))
        .await?;
    let cloned = !ground.real.is_empty() && clones(client, tenants, ground, may_set).await?;
    let [one, two] = &ground.phantoms.made_up;
    let mut made_up: Vec<Literal> = vec![Literal::new(one.clone()), Literal::new(two.clone())];
    made_up.extend(ground.phantoms.empty_is_a_value.then(|| Literal::new("")));
    let mut values: Vec<Stmt> = made_up.iter().map(|value| sql!("({})", value)).collect();
    values.extend(ground.facts.nullable.then(|| sql!("(NULL)")));
    run(client, &sql!("INSERT INTO {} ({}) VALUES {}", rows, spec.column, List(&values, ", "))).await?;
    run(client, &sql!("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS TABLE {}", spec.table.name, rows)).await?;
    let real = if cloned { ground.real.to_owned() } else { one.clone() };
    let count = sql!("SELECT count(*) FROM {} WHERE {}::text = {}", copy, spec.column, Literal::new(real.clone()));
    let owed = client.query_typed_one(count.as_str(), &[]).await?.try_get(0)?;
    let definition = policy::definition(&sql!("{}", Literal::new(copy.as_str())));
    let policies = sql!(
        "DECLARE made text; BEGIN
           FOR made IN SELECT {} FROM pg_policy p WHERE p.polrelid = {}::regclass LOOP EXECUTE made; END LOOP; END",
        definition,
        Literal::new(spec.table.to_string())
    );
    run(client, &Stmt::block(&policies)).await?;
    run(client, &sql!("ALTER TABLE {0} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", copy)).await?;
    if let Some(role) = actor.role {
        run(client, &sql!("GRANT ALL ON {}, {} TO {}", copy, rows, role)).await?;
    }
    Ok(Rows { real, made_up: !cloned, owed })
}

/// Some of the real tenant's rows. Where nobody sees past the policies they are read as that tenant, which sets the setting.
async fn clones(client: &Client, tenants: &Tenants, ground: Ground<'_>, may_set: bool) -> Result<bool, Fault> {
    let spec = ground.spec;
    let take = sql!(
        "INSERT INTO {0} SELECT * FROM {1} WHERE {2} = {3} LIMIT 3",
        Stmt::raw(ROWS),
        spec.table,
        spec.column,
        Literal::new(ground.real)
    );
    match &tenants.eye {
        Eye::Own => {}
        Eye::Bypass(role) => {
            run(client, &sql!("GRANT ALL ON {} TO {}", Stmt::raw(ROWS), role)).await?;
        }
        Eye::Nobody if may_set => {
            become_role(client, None).await?;
            set(client, &spec.setting, ground.real).await?;
        }
        Eye::Nobody => return Ok(false),
    }
    client.batch_execute("SAVEPOINT tenantmig_clones").await?;
    open(client, &tenants.eye).await?;
    match client.execute_typed(take.as_str(), &[]).await.map_err(Fault::from) {
        Ok(rows) => {
            // What was taken for the reading ends here.
            if let Eye::Bypass(_) = &tenants.eye {
                client.batch_execute("RESET ROLE").await?;
            }
            Ok(rows > 0)
        }
        Err(fault) => {
            let _ = refusal(fault)?;
            client.batch_execute("ROLLBACK TO SAVEPOINT tenantmig_clones").await?;
            Ok(false)
        }
    }
}

//! `init`: reads a live database and writes a plan for it, every decision with its reason.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{hazards, options::Init};
use crate::{
    cli::{args::Format, failure::CliError, session::Context},
    exit::Exit,
    infer::{Answers, Counted, Draft, Facts, Header, Next, ROUNDS_MAX, Wishes, infer, write},
    pg::{connect::Connection, schema},
    plan::{Deals, parse},
    sql::{Ident, QName},
};

/// Prints or writes the plan; 3 when questions are left in it.
pub async fn run(context: &Context, args: &Init) -> Result<Exit, CliError> {
    if let Some(out) = args.out.as_deref().filter(|out| out.exists() && !args.force) {
        return Err(taken(out));
    }
    let wishes = wishes(args)?;
    let schemas =
        args.schema.iter().map(|name| named("--schema", Ident::parse(name))).collect::<Result<Vec<_>, _>>()?;
    let session = context.look().await?;
    let facts = schema::facts(&session, &ledgers(context)?, &schemas).await?;
    if facts.tables.is_empty() {
        return Err(CliError::new(
            Exit::Refused,
            format!("{} has no table of its own there", facts.database),
            "name the schemas with --schema, or another database with -d",
        ));
    }
    let draft = draft(context, &session, &facts, &wishes).await?;
    let mut header = Header {
        name: args.name.clone().unwrap_or_else(|| plan_name(&facts.database)),
        database: facts.database.clone(),
        hazards: Vec::new(),
    };
    header.hazards = hazards::lines(&session, &draft, deals(&write(&header, &draft))).await?;
    let text = write(&header, &draft);
    deliver(context, args, &draft, &text)?;
    sound(&text, draft.questions().count())?;
    let questions = draft.questions().count();
    for (table, question) in draft.questions() {
        context.console.tell(&format!("question: {table}: {question}"));
    }
    Ok(if questions == 0 { Exit::Done } else { Exit::Findings })
}

/// The program's own schemas: the ledger, and what a cycle that was stopped left.
fn ledgers(context: &Context) -> Result<[Ident; 2], CliError> {
    let ledger = context.schema()?;
    let cycle = Ident::derived(&[ledger.as_str(), "cycle"]);
    Ok([ledger, cycle])
}

/// What the plan that is written deals with itself. One with questions is none yet, and deals with nothing.
fn deals(text: &str) -> Vec<Deals> {
    parse(text, &|file| Err(format!("{file} is not there"))).0.map_or_else(Vec::new, |plan| plan.deals())
}

/// What was written is a plan, but for its questions: whoever reads it finds no error that is not his to answer.
fn sound(text: &str, questions: usize) -> Result<(), CliError> {
    let (_, diags) = parse(text, &|file| Err(format!("{file} is not there")));
    let (errors, _) = diags.counts();
    if questions > 0 || errors == 0 {
        return Ok(());
    }
    let first = diags.0.first().map_or_else(String::new, |diag| diag.message.clone());
    let message = format!("the plan was written and is not valid, which is a mistake of this program: {first}");
    Err(CliError::new(Exit::Failed, message, "look with: tenantmig validate PLAN"))
}

fn wishes(args: &Init) -> Result<Wishes, CliError> {
    let table = args.tenant_table.as_deref().map(|name| named("--tenant-table", QName::parse(name))).transpose()?;
    let column = args.column.as_deref().map(|name| named("--column", Ident::parse(name))).transpose()?;
    let new_registry =
        args.new_registry.as_deref().map(|name| named("--new-registry", QName::parse(name))).transpose()?;
    if let (Some(_), Some(value)) = (&new_registry, &args.tenant_value)
        && uuid::Uuid::parse_str(value).is_err()
    {
        let message = format!("--tenant-value: {value} is no uuid, which the key of a new registry is");
        return Err(CliError::new(Exit::Usage, message, "write a uuid, or leave it out"));
    }
    let (value, setting) = (args.tenant_value.clone(), args.setting.clone());
    Ok(Wishes { tenant_table: table, new_registry, value, column, setting })
}

fn named<T>(flag: &str, name: Result<T, crate::sql::IdentError>) -> Result<T, CliError> {
    name.map_err(|error| CliError::new(Exit::Usage, format!("{flag}: {error}"), "write the name as SQL does"))
}

/// A plan's name has letters, digits and few signs.
fn plan_name(database: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    database.chars().map(fits).collect()
}

/// Infers, counting what is asked for between the rounds.
async fn draft(context: &Context, session: &Connection, facts: &Facts, wishes: &Wishes) -> Result<Draft, CliError> {
    let mut answers = Answers::new();
    let begun = Instant::now();
    for _ in 0..ROUNDS_MAX {
        match infer(facts, wishes, &answers) {
            Next::Done(draft) => return Ok(*draft),
            Next::NoRoot(why) => {
                return Err(CliError::new(
                    Exit::Findings,
                    format!("which table are the tenants in? {}", why.join("; ")),
                    "name it: tenantmig init --from-db --tenant-table TABLE; where there is none yet: --new-registry TABLE",
                ));
            }
            Next::Count(measures) => {
                for measure in measures {
                    let counted = if begun.elapsed() < schema::COUNTS_MAX {
                        tracing::debug!("counting {}", measure.about);
                        schema::count(session, &measure).await?
                    } else {
                        over(schema::COUNTS_MAX)
                    };
                    if let Counted::Unknown(why) = &counted {
                        context.console.note(&format!("note: {} not counted: {why}", measure.about));
                    }
                    answers.insert(measure.stmt.as_str().to_owned(), counted);
                }
            }
        }
    }
    Err(CliError::new(
        Exit::Failed,
        format!("the ways to the tenant are not settled after {ROUNDS_MAX} rounds"),
        "name the schemas that belong together with --schema",
    ))
}

fn over(limit: Duration) -> Counted {
    Counted::Unknown(format!("the {} s for all counts were over", limit.as_secs()))
}

fn deliver(context: &Context, args: &Init, draft: &Draft, text: &str) -> Result<(), CliError> {
    let console = &context.console;
    let questions: Vec<_> =
        draft.questions().map(|(table, question)| json!({ "table": table, "question": question })).collect();
    if let Some(out) = &args.out {
        save(out, text, args.force)?;
    }
    match (console.format, &args.out) {
        (Format::Text, None) => console.print(text)?,
        (Format::Text, Some(out)) => {
            let open = match questions.len() {
                0 => format!("next: tenantmig validate {0}, then tenantmig cycle {0} on a copy", out.display()),
                n => format!("{n} questions to answer in it"),
            };
            let (own, shared) = (draft.entries.len(), draft.shared.len());
            console.show(&format!("{}: {own} tables of tenants, {shared} shared; {open}", out.display()))?;
        }
        (Format::Json | Format::Ndjson, out) => {
            let value = json!({
                "v": 1, "plan": text, "out": out, "registry": draft.root.table, "column": draft.column,
                "tables": draft.entries.len(), "shared": draft.shared.len(), "questions": questions,
            });
            console.print(&value.to_string())?;
        }
    }
    Ok(())
}

/// Writes the file; one that is there stays unless the user says otherwise.
fn save(out: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = match options.open(out) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(taken(out)),
        Err(error) => {
            let message = format!("cannot write {}: {error}", out.display());
            return Err(CliError::new(Exit::Failed, message, "name another file with --out"));
        }
    };
    file.write_all(text.as_bytes())?;
    Ok(())
}

fn taken(out: &Path) -> CliError {
    CliError::new(
        Exit::Refused,
        format!("{} is there already; nothing was written", out.display()),
        "name another file with --out, or add --force",
    )
}

//! The command: gathers, draws, writes, and says what the evidence contradicts.

use std::{
    fs::{OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::{gather::gather, options::Report};
use crate::{
    cli::{args::Form, failure::CliError, session::Context},
    evidence::{assemble, html, json},
    exit::Exit,
};

/// Writes the report: 3 where the evidence contradicts itself; the reason's code where a part that was asked for could not be
/// measured.
pub async fn run(context: &Context, args: &Report) -> Result<Exit, CliError> {
    if let Some(out) = args.out.as_deref().filter(|out| out.exists() && !args.force) {
        return Err(taken(out));
    }
    let (facts, errors) = gather(context, args).await?;
    let evidence = assemble(&facts);
    let text = match context.console.form {
        Form::Text | Form::Html | Form::Sarif | Form::Junit | Form::Markdown => html(&evidence),
        Form::Json | Form::Ndjson => json(&evidence)
            .map_err(|error| CliError::new(Exit::Failed, error.to_string(), "tenantmig report, as a page"))?,
    };
    match &args.out {
        Some(out) => {
            save(out, &text, args.force)?;
            context.console.note(&format!("{}: {} of run {}", out.display(), evidence.state.word, evidence.run.id));
        }
        None => context.console.print(&text)?,
    }
    let contradictions = evidence.contradictions();
    for what in &contradictions {
        context.console.tell(&format!("contradicted: {what}"));
    }
    // Written, but not all that was asked for stands in it.
    for error in &errors {
        context.console.tell(&format!("not measured: {}", error.message));
    }
    Ok(match (contradictions.is_empty(), errors.first()) {
        (false, _) => Exit::Findings,
        (true, Some(error)) => error.exit,
        (true, None) => Exit::Done,
    })
}

/// Writes the file beside its place and moves it there, so that nobody ever reads half a page. One that is there stays unless
/// the user says otherwise.
fn save(out: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let cannot = |error: std::io::Error| {
        let message = format!("cannot write {}: {error}", out.display());
        CliError::new(Exit::Failed, message, "name another file with --out")
    };
    if force && !out.is_file() && out.exists() {
        // A pipe or a device has no place beside it.
        let mut file = OpenOptions::new().write(true).open(out).map_err(cannot)?;
        return file.write_all(text.as_bytes()).map_err(cannot);
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // As any other file of the user's: a temporary one would be for its owner alone.
    let mut file = tempfile::Builder::new()
        .prefix(".report")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    let placed = if force { file.persist(out) } else { file.persist_noclobber(out) };
    match placed {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(taken(out)),
        Err(error) => Err(cannot(error.error)),
    }
}

fn taken(out: &Path) -> CliError {
    CliError::new(
        Exit::Refused,
        format!("{} is there already; nothing was written", out.display()),
        "name another file with --out, or add --force",
    )
}

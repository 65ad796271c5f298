//! `explain`: what a code means, what causes it and what helps. The text is the table's own, so it is that of every finding.

use serde_json::{Value, json};

use super::{failure::CliError, session::Context};
use crate::{
    audit::{Look, rules},
    codes::{Example, meanings},
    exit::Exit,
    hazards::{self, Severity},
};

/// One entry of any table.
struct Entry {
    code: &'static str,
    /// Of a finding; a diagnostic refuses or warns, as its place says.
    severity: Option<Severity>,
    title: &'static str,
    why: Option<&'static str>,
    example: Option<Example>,
    fix: &'static str,
    /// By which command it is told; none of a class that `audit` cannot look for.
    by: Option<&'static str>,
    elsewhere: Option<&'static str>,
}

/// Diagnostics, hazards, classes of an audit.
fn entries() -> Vec<Entry> {
    let diagnostics = meanings().into_iter().map(|meaning| Entry {
        code: meaning.code,
        severity: None,
        title: meaning.title,
        why: None,
        example: Some(meaning.example),
        fix: meaning.help,
        by: Some(meaning.by),
        elsewhere: None,
    });
    let hazards = hazards::kinds().map(|kind| Entry {
        code: kind.code,
        severity: Some(kind.severity),
        title: kind.title,
        why: Some(kind.why),
        example: None,
        fix: kind.fix,
        by: Some("plan and init"),
        elsewhere: None,
    });
    let classes = rules().into_iter().map(|rule| {
        let elsewhere = match rule.look {
            Look::Elsewhere(why) => Some(why),
            Look::Text(_) | Look::Built(_) | Look::AsHazard(_) | Look::Policies(_) | Look::Probes(_) => None,
        };
        Entry {
            code: rule.code,
            severity: Some(rule.severity),
            title: rule.title,
            why: Some(rule.why),
            example: None,
            fix: rule.fix,
            by: elsewhere.is_none().then_some("audit"),
            elsewhere,
        }
    });
    let mut all: Vec<Entry> = diagnostics.chain(hazards).chain(classes).collect();
    all.sort_by_key(|entry| entry.code);
    all
}

/// Prints one, or the list of all.
pub fn run(context: &Context, code: Option<&str>) -> Result<Exit, CliError> {
    let Some(code) = code else {
        let all = entries();
        let lines: Vec<String> =
            all.iter().map(|entry| format!("{}  {:<8}  {}", entry.code, word(entry), entry.title)).collect();
        let list: Vec<_> = all.iter().map(value).collect();
        context.console.result(&lines.join("\n"), json!({ "codes": list }))?;
        return Ok(Exit::Done);
    };
    let wanted = code.to_uppercase();
    let Some(entry) = entries().into_iter().find(|entry| entry.code == wanted) else {
        let advice = "tenantmig explain lists all of them";
        return Err(CliError::new(Exit::Usage, format!("`{code}` is not a code of this version"), advice));
    };
    context.console.result(&text(&entry), value(&entry))?;
    Ok(Exit::Done)
}

/// How bad it is, where that is the code's own.
fn word(entry: &Entry) -> &'static str {
    entry.severity.map_or("", Severity::word)
}

fn text(entry: &Entry) -> String {
    let head = [entry.code, word(entry)].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut out = format!("{head}: {}\n", entry.title);
    if let Some(why) = entry.why {
        out.push_str(&format!("  why: {why}\n"));
    }
    match entry.example {
        Some(Example::Plan(lines)) => {
            let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
            out.push_str(&format!("  for example:\n{lines}"));
        }
        Some(Example::Words(words)) => out.push_str(&format!("  for example: {words}\n")),
        None => {}
    }
    out.push_str(&format!("  what helps: {}\n", entry.fix));
    if let Some(why) = entry.elsewhere {
        out.push_str(&format!("  audit does not look for it: {why}\n"));
    }
    if let Some(by) = entry.by {
        out.push_str(&format!("  told by: {by}\n"));
    }
    out
}

fn value(entry: &Entry) -> Value {
    let example = entry.example.map(|example| match example {
        Example::Plan(text) | Example::Words(text) => text,
    });
    json!({
        "code": entry.code, "severity": entry.severity, "title": entry.title, "why": entry.why, "example": example,
        "fix": entry.fix, "told_by": entry.by, "elsewhere": entry.elsewhere,
    })
}

//! `explain`: what a code means, why it matters and what helps. The text is the table's own, so it is that of every finding.

use serde_json::json;

use super::{failure::CliError, session::Context};
use crate::{
    audit::{Look, rules},
    exit::Exit,
    hazards::{self, Severity},
};

/// One entry of either table.
struct Entry {
    code: &'static str,
    severity: Severity,
    title: &'static str,
    why: &'static str,
    fix: &'static str,
    /// By which command it is told.
    by: &'static str,
    elsewhere: Option<&'static str>,
}

fn entries() -> Vec<Entry> {
    let hazards = hazards::kinds().map(|kind| Entry {
        code: kind.code,
        severity: kind.severity,
        title: kind.title,
        why: kind.why,
        fix: kind.fix,
        by: "plan and init",
        elsewhere: None,
    });
    let classes = rules().into_iter().map(|rule| Entry {
        code: rule.code,
        severity: rule.severity,
        title: rule.title,
        why: rule.why,
        fix: rule.fix,
        by: "audit",
        elsewhere: match rule.look {
            Look::Elsewhere(why) => Some(why),
            Look::Text(_) | Look::Built(_) | Look::AsHazard(_) | Look::Policies(_) => None,
        },
    });
    hazards.chain(classes).collect()
}

/// Prints one, or the list of all.
pub fn run(context: &Context, code: Option<&str>) -> Result<Exit, CliError> {
    let Some(code) = code else {
        let all = entries();
        let lines: Vec<String> =
            all.iter().map(|entry| format!("{}  {:<8}  {}", entry.code, entry.severity.word(), entry.title)).collect();
        let list: Vec<_> = all.iter().map(value).collect();
        context.console.result(&lines.join("\n"), json!({ "codes": list }))?;
        return Ok(Exit::Done);
    };
    let wanted = code.to_uppercase();
    let Some(entry) = entries().into_iter().find(|entry| entry.code == wanted) else {
        let advice = "tenantmig explain lists those of hazards and of audits; a plan's diagnostics say at their place what they mean";
        return Err(CliError::new(Exit::Usage, format!("`{code}` is not a code of a hazard or of an audit"), advice));
    };
    context.console.result(&text(&entry), value(&entry))?;
    Ok(Exit::Done)
}

fn text(entry: &Entry) -> String {
    let mut out = format!(
        "{} {}: {}\n  why: {}\n  what helps: {}\n",
        entry.code,
        entry.severity.word(),
        entry.title,
        entry.why,
        entry.fix
    );
    match entry.elsewhere {
        Some(why) => out.push_str(&format!("  audit does not look for it: {why}\n")),
        None => out.push_str(&format!("  told by: {}\n", entry.by)),
    }
    out
}

fn value(entry: &Entry) -> serde_json::Value {
    json!({
        "code": entry.code, "severity": entry.severity, "title": entry.title, "why": entry.why, "fix": entry.fix,
        "told_by": if entry.elsewhere.is_some() { None } else { Some(entry.by) }, "elsewhere": entry.elsewhere,
    })
}

//! What a survey found: hazards, and what could not be looked for.

use std::fmt::Write as _;

use serde::Serialize;

use super::kind::{Kind, Severity};

/// One hazard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hazard {
    pub code: &'static str,
    pub severity: Severity,
    /// The kind's headline.
    pub title: &'static str,
    /// What it is about, as DDL names it: `app.users`, `role app_rw`.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// By what that is seen.
    pub evidence: Option<String>,
    pub why: &'static str,
    /// What helps, in words.
    pub fix: &'static str,
    /// The statement that helps, where there is one.
    pub sql: Option<String>,
}

/// A kind that could not be looked for, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmeasured {
    /// The kinds' codes.
    pub codes: Vec<&'static str>,
    pub why: String,
    /// What makes it measurable.
    pub advice: Option<String>,
}

/// Everything that a survey has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    pub hazards: Vec<Hazard>,
    pub unmeasured: Vec<Unmeasured>,
}

/// So many objects of one kind are listed in a text; the rest are counted. All of them are in the JSON.
const LISTED_MAX: usize = 10;

impl Survey {
    /// What `kind`'s query answered: object, what, evidence, fix.
    pub fn add(
        &mut self,
        kind: &Kind,
        (object, what, evidence, sql): (String, String, Option<String>, Option<String>),
    ) {
        let Kind { code, severity, title, why, fix, .. } = *kind;
        self.hazards.push(Hazard { code, severity, title, object, what, evidence, why, fix, sql });
    }

    /// The hazards by kind, the worst kinds first.
    pub fn by_kind(&self) -> Vec<&[Hazard]> {
        let mut groups: Vec<&[Hazard]> = self.hazards.chunk_by(|a, b| a.code == b.code).collect();
        groups.sort_by_key(|group| group.first().map(|first| (first.severity, first.code)));
        groups
    }

    /// The survey as lines of text: a paragraph a kind, then what could not be looked for.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for group in self.by_kind() {
            let Some(first) = group.first() else { continue };
            lines.push(format!("{} {}: {}", first.code, first.severity.word(), first.title));
            for hazard in group.iter().take(LISTED_MAX) {
                let mut line = format!("  {}: {}", hazard.object, hazard.what);
                if let Some(evidence) = &hazard.evidence {
                    // Writing to a String cannot fail.
                    let _ = write!(line, " ({})", one_line(evidence));
                }
                lines.push(line);
                lines.extend(hazard.sql.iter().map(|sql| format!("    fix: {}", one_line(sql))));
            }
            if group.len() > LISTED_MAX {
                lines.push(format!("  … and {} more", group.len() - LISTED_MAX));
            }
            lines.push(format!("  why: {}", first.why));
            if group.iter().any(|hazard| hazard.sql.is_none()) {
                lines.push(format!("  fix: {}", first.fix));
            }
        }
        for unmeasured in &self.unmeasured {
            let advice = unmeasured.advice.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
            lines.push(format!(
                "not looked for: {}: {}{advice}",
                unmeasured.codes.join(", "),
                one_line(&unmeasured.why)
            ));
        }
        lines
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! The README says what the program does: its tables are made from the code. `UPDATE_README=1 cargo test --test readme` writes them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tenantmig::{audit, checks, exit::Exit, hazards, steps};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// The text between the markers of `name`, as the code has it.
#[track_caller]
fn check(name: &str, table: &str) {
    let readme = std::fs::read_to_string(README).unwrap();
    let begin = readme.find(&format!("<!-- {name}: begin")).expect("the README has the marker");
    let start = begin + readme[begin..].find("-->\n").unwrap() + 4;
    let end = readme.find(&format!("<!-- {name}: end -->")).expect("the README has the closing marker");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(README, format!("{}{table}{}", &readme[..start], &readme[end..])).unwrap();
    } else {
        assert_eq!(&readme[start..end], table, "run: UPDATE_README=1 cargo test --test readme");
    }
}

/// The paragraph of a top comment that begins with `label`, or the first one without.
fn paragraph(doc: &str, label: &str) -> String {
    let paragraphs: Vec<String> = doc
        .replace("\nUndo:", "\n\nUndo:")
        .replace("\nLock:", "\n\nLock:")
        .split("\n\n")
        .map(|p| p.trim().replace('\n', " "))
        .collect();
    let found = match label {
        "" => paragraphs.first().cloned(),
        label => paragraphs.iter().find_map(|p| p.strip_prefix(label).map(|text| text.trim().to_owned())),
    };
    found.unwrap_or_default().replace('|', "\\|")
}

/// The first sentence.
fn sentence(text: &str) -> &str {
    text.find(". ").map_or(text.trim_end_matches('.'), |end| &text[..end])
}

// One test, because writing the file from several threads would lose tables.
#[test]
fn the_tables_are_those_of_the_code() {
    let mut table = String::from("| Kind | What it does | Lock | Undo |\n|---|---|---|---|\n");
    for kind in steps::KINDS {
        let doc = kind.doc();
        let (what, lock, undo) = (paragraph(&doc, ""), paragraph(&doc, "Lock:"), paragraph(&doc, "Undo:"));
        assert!(
            !what.is_empty() && !lock.is_empty() && !undo.is_empty(),
            "{}: the top comment lacks a part",
            kind.name
        );
        table.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            kind.name,
            sentence(&what),
            sentence(&lock),
            sentence(&undo)
        ));
    }
    check("steps", &table);

    let mut table = String::from("| Kind | It passes when |\n|---|---|\n");
    for kind in checks::KINDS {
        let doc: Vec<&str> = kind.source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        table.push_str(&format!("| `{}` | {} |\n", kind.name, sentence(&paragraph(&doc.join("\n"), ""))));
    }
    check("checks", &table);

    let mut table = String::from("| Code | Meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        table.push_str(&format!("| {} | {meaning} |\n", *exit as u8));
    }
    check("exit codes", &table);
}

#[test]
fn the_plan_shown_is_the_plan_kept() {
    let readme = std::fs::read_to_string(README).unwrap();
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/minimal.toml")).unwrap();
    let begin = readme.find("```toml\n").unwrap() + 8;
    let shown = &readme[begin..begin + readme[begin..].find("```").unwrap()];
    let meant = |text: &str| {
        text.lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
            .trim()
            .to_owned()
    };
    assert_eq!(meant(shown), meant(&kept));
}

#[test]
fn every_link_leads_somewhere() {
    for page in ["README.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|t| !t.starts_with("http"))
        {
            assert!(
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(),
                "{page} links to {target}, which is not there"
            );
        }
    }
}

const HAZARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hazards.md");

#[test]
fn every_hazard_is_explained() {
    let mut text = String::from(
        "# Hazards\n\nWhat in a live schema bites when it becomes multi-tenant. `tenantmig plan` looks for all of it, read-only, and names what it\n\
         finds before anything is touched. Made from `src/hazards/`: `UPDATE_README=1 cargo test --test readme`.\n\n\
         Severities: **critical** and **high**, a tenant reads or changes another one's rows (every day, or by a way that must be\n\
         looked for); **break**, the application, a job or the migration fails; **slow**, isolation holds and costs more time than it\n\
         need; **medium**, **low**, it depends.\n\n| Code | Severity | Hazard |\n|---|---|---|\n",
    );
    let mut codes: Vec<&str> = hazards::kinds().map(|kind| kind.code).collect();
    for kind in hazards::kinds() {
        text.push_str(&format!(
            "| [{0}](#{1}) | {2} | {3} |\n",
            kind.code,
            kind.code.to_lowercase(),
            kind.severity.word(),
            kind.title
        ));
    }
    for kind in hazards::kinds() {
        let needs = match kind.needs {
            hazards::Needs::Catalog => "",
            hazards::Needs::Activity => "\nLooked for by a role with pg_read_all_stats.\n",
            hazards::Needs::Statements => {
                "\nLooked for by a role with pg_read_all_stats where pg_stat_statements is installed.\n"
            }
        };
        text.push_str(&format!(
            "\n## {}\n\n**{}** ({}). {}.\n\nWhat helps: {}.\n{needs}",
            kind.code,
            upper(kind.title),
            kind.severity.word(),
            upper(kind.why),
            kind.fix
        ));
    }
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(HAZARDS, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(HAZARDS).unwrap(), text, "run: UPDATE_README=1 cargo test --test readme");
    let sorted = codes.is_sorted();
    codes.dedup();
    assert!(sorted && codes.len() == hazards::kinds().count(), "codes are given once, in their order: {codes:?}");
}

const AUDIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md");

#[test]
fn every_class_is_explained() {
    let mut text = String::from(
        "# Isolation, audited\n\nHow isolation leaks, breaks or gets slow. `tenantmig audit` looks for all of it that a catalogue shows, on any database,\n\
         read-only, and `tenantmig explain CODE` prints what stands here. Made from `src/audit/`: `UPDATE_README=1 cargo test --test readme`.\n\n\
         Severities: **critical** and **high**, a tenant reads or changes another one's rows (every day, or by a way that must be\n\
         looked for); **break**, the application or a job fails; **slow**, isolation holds and costs more time than it need;\n\
         **medium**, **low**, it depends.\n\n| Code | Severity | Class | Looked for |\n|---|---|---|---|\n",
    );
    let elsewhere = |rule: &audit::Rule| match rule.look {
        audit::Look::Elsewhere(why) => Some(why),
        audit::Look::Text(_)
        | audit::Look::Built(_)
        | audit::Look::AsHazard(_)
        | audit::Look::Policies(_)
        | audit::Look::Probes(_) => None,
    };
    for rule in audit::rules() {
        let by = match rule.look {
            audit::Look::Elsewhere(_) => "elsewhere",
            audit::Look::Probes(_) => "by audit --plan",
            audit::Look::Text(_) | audit::Look::Built(_) | audit::Look::AsHazard(_) | audit::Look::Policies(_) => {
                "by audit"
            }
        };
        text.push_str(&format!(
            "| [{0}](#{1}) | {2} | {3} | {by} |\n",
            rule.code,
            rule.code.to_lowercase(),
            rule.severity.word(),
            rule.title
        ));
    }
    for rule in audit::rules() {
        let elsewhere = elsewhere(rule).map_or(String::new(), |why| format!("\nNot looked for: {why}.\n"));
        text.push_str(&format!(
            "\n## {}\n\n**{}** ({}). {}.\n\nWhat helps: {}.\n{elsewhere}",
            rule.code,
            upper(rule.title),
            rule.severity.word(),
            upper(rule.why),
            rule.fix
        ));
    }
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(AUDIT, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(AUDIT).unwrap(), text, "run: UPDATE_README=1 cargo test --test readme");
}

fn upper(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}

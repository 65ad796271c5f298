//! What an expression lets through, and what is wrong with one that lets nothing through.

use std::collections::BTreeSet;

use super::{
    super::tenancy::setting_of,
    Compare, Form, Policy, Seen, Source, Table,
    judge::Flaw::{CastColumn, Member, Noisy, NullMatches, OtherSetting, PerRow, TextEmpty},
};

/// What is wrong with an expression that isolates all the same, or in most sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Class 16.
    NullMatches,
    /// Class 17.
    TextEmpty,
    /// Class 18.
    OtherSetting,
    /// Class 19.
    Noisy,
    /// Class 50.
    PerRow,
    /// Class 52.
    CastColumn,
    /// Class 56.
    Member,
}

/// Why an expression does not isolate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hole {
    /// Class 14.
    Unset,
    /// Class 15.
    Coalesced,
    /// `true`, or nothing that is known.
    Open,
}

/// The verdict on one expression.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// `None`: a row of another tenant does not pass.
    pub hole: Option<Hole>,
    pub flaws: BTreeSet<Flaw>,
}

impl Verdict {
    fn open(hole: Hole) -> Self {
        Self { hole: Some(hole), flaws: BTreeSet::new() }
    }
}

/// A side of a policy, as a command meets it: r USING, a WITH CHECK, w both, d USING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Using,
    Check,
}

/// Every command with its sides.
pub const COMMANDS: &[(char, &[Side])] =
    &[('r', &[Side::Using]), ('a', &[Side::Check]), ('w', &[Side::Using, Side::Check]), ('d', &[Side::Using])];

impl Policy {
    /// Whether it speaks for the command.
    pub fn is_for(&self, command: char) -> bool {
        self.command == '*' || self.command == command
    }

    /// The expression of a side: WITH CHECK is USING's where there is none. `None`: it says nothing, which lets nothing through
    /// for a permissive one, and restricts nothing for a restrictive one.
    pub fn side(&self, side: Side) -> Option<&String> {
        match side {
            Side::Using => self.using.as_ref(),
            Side::Check => self.check.as_ref().or(self.using.as_ref()),
        }
    }
}

/// Judges `form` as an expression of a policy on `table`.
pub fn judge(seen: &Seen, table: &Table, form: &Form) -> Verdict {
    let all = |parts: &[Form]| parts.iter().map(|part| judge(seen, table, part)).collect::<Vec<_>>();
    match form {
        Form::False => Verdict::default(),
        Form::True | Form::Other => Verdict::open(Hole::Open),
        Form::Coalesced => Verdict::open(Hole::Coalesced),
        Form::Unset => Verdict::open(Hole::Unset),
        Form::Member => Verdict { hole: None, flaws: BTreeSet::from([Member]) },
        // One part that isolates is enough, and its flaws are those of the whole.
        Form::And(parts) => {
            let verdicts = all(parts);
            let closed: Vec<_> = verdicts.iter().filter(|verdict| verdict.hole.is_none()).collect();
            match closed.iter().min_by_key(|verdict| verdict.flaws.len()) {
                Some(best) => (*best).clone(),
                None => Verdict::open(verdicts.iter().filter_map(|verdict| verdict.hole).min().unwrap_or(Hole::Open)),
            }
        }
        Form::Or(parts) => {
            let verdicts = all(parts);
            Verdict {
                hole: verdicts.iter().filter_map(|verdict| verdict.hole).min(),
                flaws: verdicts.into_iter().flat_map(|verdict| verdict.flaws).collect(),
            }
        }
        Form::Tenant(compare) => tenant(seen, table, compare),
    }
}

fn tenant(seen: &Seen, table: &Table, compare: &Compare) -> Verdict {
    if table.column.as_ref().is_some_and(|column| *column != compare.column) {
        // Another column of a table that has the tenant's.
        return Verdict::open(Hole::Open);
    }
    if compare.column_cast.as_ref().is_some_and(|cast| cuts(cast, table.column_type.as_ref())) {
        return Verdict::open(Hole::Open);
    }
    let mut flaws = BTreeSet::new();
    let context = &compare.context;
    match &context.source {
        Source::Setting { name, missing_ok, nullif } => {
            if seen.setting.as_ref().is_some_and(|setting| !setting.eq_ignore_ascii_case(name)) {
                flaws.insert(OtherSetting);
            }
            if !missing_ok {
                flaws.insert(Noisy);
            }
            if !nullif {
                let text = context.cast.as_deref().is_none_or(is_text);
                flaws.insert(if text { TextEmpty } else { Noisy });
            }
        }
        Source::Function(name) => {
            let another = seen.function.as_ref().is_some_and(|function| function != name);
            // A second function that reads the same setting is none the worse.
            let reads = seen.functions.iter().find(|f| f.name == *name).and_then(|f| setting_of(&f.source));
            let other = |setting: &String| !reads.as_ref().is_some_and(|read| read.eq_ignore_ascii_case(setting));
            if (another || reads.is_some()) && seen.setting.as_ref().is_some_and(other) {
                flaws.insert(OtherSetting);
            }
        }
    }
    if compare.null_safe {
        flaws.insert(if table.not_null { CastColumn } else { NullMatches });
    }
    if !context.wrapped {
        flaws.insert(PerRow);
    }
    // varchar = text is written with a cast that does nothing, and so is a domain; any other makes the index useless.
    let column_is_text = table.column_type.as_deref().is_none_or(is_text);
    let as_it_is = compare.column_cast == table.column_type;
    if compare.column_cast.is_some()
        && !as_it_is
        && !(column_is_text
            && compare.column_cast.as_deref().and_then(|cast| cast.rsplit("::").next()).is_some_and(is_text))
    {
        flaws.insert(CastColumn);
    }
    if context.cast.is_none() && !column_is_text && compare.column_cast.is_some() {
        // A uuid's text is never ''.
        flaws.remove(&TextEmpty);
    }
    Verdict { hole: None, flaws }
}

/// Whether a cast of the column leaves a part of it, which is the part of many tenants: a length, or another type on the way.
fn cuts(cast: &str, column_type: Option<&String>) -> bool {
    let limits = |to: &str| to.contains('(') && column_type.is_none_or(|column_type| column_type != to);
    cast.split("::").any(limits) || cast.split_once("::").is_some_and(|(first, _)| !is_text(first))
}

fn is_text(name: &str) -> bool {
    matches!(name, "text" | "character varying" | "varchar" | "name") || name.starts_with("character varying(")
}

//! Policies: what each of them lets through, by its expression taken apart. Neither its name nor a pattern in its text counts:
//! what is not one of the forms that are known to isolate is told.

use std::collections::HashMap;

mod expressions;
mod form;
mod judge;
mod meet;
pub mod read;
#[cfg(test)]
mod trial;

pub use form::{Compare, Context, Form, Source};
pub use judge::{Side, Verdict};
pub(super) use {expressions::KINDS as EXPRESSIONS, meet::KINDS as MEET};

/// Everything that the rules over policies know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub tables: Vec<Table>,
    pub functions: Vec<Function>,
    /// As the scope has it.
    pub column: Option<String>,
    pub setting: Option<String>,
    /// As SQL writes its name, with its schema.
    pub function: Option<String>,
}

/// A table that has policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub oid: u32,
    /// As DDL names it.
    pub name: String,
    pub enabled: bool,
    /// The tenant column, as SQL writes it; `None` where the table has none.
    pub column: Option<String>,
    /// As `format_type` writes it.
    pub column_type: Option<String>,
    pub not_null: bool,
    /// CREATE POLICY of a restrictive floor under a name that is free.
    pub floor: Option<String>,
    pub policies: Vec<Policy>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// As SQL writes it.
    pub name: String,
    pub permissive: bool,
    /// `*`, `r`, `a`, `w` or `d`.
    pub command: char,
    /// 0 is PUBLIC.
    pub roles: Vec<u32>,
    pub using: Option<String>,
    pub check: Option<String>,
    /// Tables that its expressions read.
    pub reads: Vec<u32>,
    /// On USING and on what WITH CHECK is in effect; [`Seen::judge`] gives them.
    pub verdicts: [Option<Verdict>; 2],
    /// ALTER POLICY that gives it the canonical expression; `None` where the table has no tenant column.
    pub mend: Option<String>,
}

/// A function that policies call for the session's tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// As SQL writes it, without arguments.
    pub name: String,
    /// Its source; empty where there is none to read.
    pub source: String,
    pub language: String,
    /// CREATE OR REPLACE FUNCTION in canonical form.
    pub mend: Option<String>,
}

impl Seen {
    /// Judges every expression, once for all rules. Tables are many and texts are few, so each text is taken apart once.
    pub fn judge(&mut self) {
        let mut forms: HashMap<String, Form> = HashMap::new();
        let mut tables = std::mem::take(&mut self.tables);
        for table in &mut tables {
            let mut policies = std::mem::take(&mut table.policies);
            for policy in &mut policies {
                policy.verdicts = [Side::Using, Side::Check].map(|side| {
                    let text = policy.side(side)?;
                    let form = forms.entry(text.clone()).or_insert_with(|| Form::read(text));
                    Some(judge::judge(self, table, form))
                });
            }
            table.policies = policies;
        }
        self.tables = tables;
    }
}

impl Table {
    /// `app.users.tenant_isolation`.
    fn object(&self, policy: &Policy) -> String {
        format!("{}.{}", self.name, policy.name)
    }
}

impl Policy {
    /// On a side; `None` where it says nothing.
    fn verdict(&self, side: Side) -> Option<&Verdict> {
        let [using, check] = &self.verdicts;
        match side {
            Side::Using => using.as_ref(),
            Side::Check => check.as_ref(),
        }
    }

    fn is_for_all_roles(&self) -> bool {
        self.roles.contains(&0)
    }

    /// Whether every role that `other` speaks for is one of its own.
    fn reaches(&self, other: &Self) -> bool {
        self.is_for_all_roles() || !other.is_for_all_roles() && other.roles.iter().all(|role| self.roles.contains(role))
    }

    /// Whether one role may be of both.
    fn meets(&self, other: &Self) -> bool {
        self.is_for_all_roles() || other.is_for_all_roles() || self.roles.iter().any(|role| other.roles.contains(role))
    }

    /// Both expressions, for people.
    fn text(&self) -> String {
        let side = |word: &str, text: &Option<String>| text.as_ref().map(|text| format!("{word} {text}"));
        let sides = [side("USING", &self.using), side("WITH CHECK", &self.check)];
        sides.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

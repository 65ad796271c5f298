//! Who the tenants are, where nobody says so: what the policies that stand compare most often.

use std::collections::BTreeMap;

use super::policies::{Compare, Form, Source};
use crate::sql::{Ident, QName};

/// What a person says, and what is inferred where that is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenancy {
    pub column: Option<Ident>,
    pub setting: Option<String>,
    pub function: Option<QName>,
    /// The application's.
    pub roles: Vec<Ident>,
    /// Roles that are meant to see every tenant's rows.
    pub bypass: Vec<Ident>,
    pub registry: Option<QName>,
    /// Tables that belong to no tenant.
    pub shared: Vec<QName>,
    /// Whether owners are meant to be bound.
    pub force: bool,
    /// How each of it is known, in sentences.
    pub told: Vec<String>,
}

/// What the policies of a database say, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Votes {
    columns: BTreeMap<String, usize>,
    settings: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
}

impl Votes {
    /// Of the text of `policies` policies: both expressions, with the sources of functions by their names.
    pub fn count(&mut self, texts: &[String], policies: usize, sources: &BTreeMap<String, String>) {
        let mut compares = Vec::new();
        for text in texts {
            collect(&Form::read(text), &mut compares);
        }
        // Once a policy, on however many sides.
        compares.sort_by(|a, b| a.column.cmp(&b.column));
        compares.dedup_by(|a, b| a == b);
        let mut names: Vec<(u8, String)> = Vec::new();
        for compare in compares {
            names.push((0, compare.column));
            match compare.context.source {
                Source::Setting { name, .. } => names.push((1, name)),
                Source::Function(name) => {
                    names.extend(sources.get(&name).and_then(|source| setting_of(source)).map(|setting| (1, setting)));
                    names.push((2, name));
                }
            }
        }
        names.sort();
        names.dedup();
        for (of, name) in names {
            let votes = match of {
                0 => &mut self.columns,
                1 => &mut self.settings,
                _ => &mut self.functions,
            };
            *votes.entry(name).or_default() += policies;
        }
    }

    /// Fills what `tenancy` does not say, and tells by what.
    pub fn fill(&self, tenancy: &mut Tenancy) {
        if tenancy.column.is_none()
            && let Some((name, votes)) = most(&self.columns)
            && let Ok(column) = Ident::parse(name)
        {
            tenancy.told.push(format!("the tenant column is {column}: {votes} policies compare it"));
            tenancy.column = Some(column);
        }
        let (setting, function) = (most(&self.settings), most(&self.functions));
        if tenancy.setting.is_none()
            && let Some((name, votes)) = setting
        {
            tenancy.told.push(format!("the setting is {name}: {votes} policies read it"));
            tenancy.setting = Some(name.to_owned());
        }
        // A function counts for what most policies use, not for the one that differs.
        if tenancy.function.is_none()
            && let Some((name, votes)) = function
            && setting.is_none_or(|(_, others)| votes * 2 > others)
            && let Ok(function) = QName::parse(name)
        {
            tenancy.told.push(format!("the context function is {function}: {votes} policies call it"));
            tenancy.function = Some(function);
        }
    }
}

fn collect(form: &Form, into: &mut Vec<Compare>) {
    match form {
        Form::And(parts) | Form::Or(parts) => parts.iter().for_each(|part| collect(part, into)),
        Form::Tenant(compare) => into.push(compare.clone()),
        Form::True | Form::False | Form::Coalesced | Form::Unset | Form::Member | Form::Other => {}
    }
}

/// The setting that a function's source reads.
pub fn setting_of(source: &str) -> Option<String> {
    let (_, rest) = source.split_once("current_setting(")?;
    let rest = rest.trim_start().strip_prefix('\'')?;
    rest.split_once('\'').map(|(name, _)| name.to_owned())
}

/// The name with the most votes; of two, the first by its name.
fn most(votes: &BTreeMap<String, usize>) -> Option<(&str, usize)> {
    let best = votes.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)))?;
    Some((best.0.as_str(), *best.1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policies: &[&str], expect: [Option<&str>; 3]) {
        let sources = BTreeMap::from([(
            "app.cur".to_owned(),
            "SELECT NULLIF(current_setting( 'app.org', true), '')::uuid".to_owned(),
        )]);
        let mut votes = Votes::default();
        for policy in policies {
            votes.count(&[(*policy).to_owned(), (*policy).to_owned()], 1, &sources);
        }
        let mut tenancy = Tenancy::default();
        votes.fill(&mut tenancy);
        let found = [
            tenancy.column.map(|column| column.to_string()),
            tenancy.setting,
            tenancy.function.map(|function| function.to_string()),
        ];
        assert_eq!(found, expect.map(|name| name.map(str::to_owned)), "{policies:?}");
    }

    #[test]
    fn the_majority_says_who_the_tenants_are() {
        let (one, two, three) = (
            "(org_id = ( SELECT (NULLIF(current_setting('app.org'::text, true), ''::text))::uuid AS \"nullif\"))",
            "((id = 5) AND (tenant_id = (current_setting('app.t'::text))::uuid))",
            "(org_id = ( SELECT app.cur() AS cur))",
        );
        check(&[], [None, None, None]);
        check(&[one, one, two], [Some("org_id"), Some("app.org"), None]);
        check(&[three], [Some("org_id"), Some("app.org"), Some("app.cur")]);
        check(&[one, one, one, three], [Some("org_id"), Some("app.org"), None]);
        check(&["true"], [None, None, None]);
    }
}

//! A policy's expression, as the server writes it, taken apart: what compares the row's tenant with the session's, and what
//! does not. The server's text of an expression is the same on every version from 13 on: fully parenthesised, every cast written.

/// An expression of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    True,
    False,
    And(Vec<Form>),
    Or(Vec<Form>),
    /// A column and the session's tenant.
    Tenant(Compare),
    /// `column = COALESCE(context, column)`: every row where there is no context.
    Coalesced,
    /// The context IS NULL, or is '': true in a session without one.
    Unset,
    /// The column is among what a query says.
    Member,
    /// Anything else.
    Other,
}

/// `column = context`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// As SQL writes it.
    pub column: String,
    /// `(column)::type`, of several the first first.
    pub column_cast: Option<String>,
    /// `IS NOT DISTINCT FROM` in place of `=`.
    pub null_safe: bool,
    pub context: Context,
}

/// The session's tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub source: Source,
    /// `(SELECT …)`: evaluated once a query and not once a row.
    pub wrapped: bool,
    pub cast: Option<String>,
}

/// Where the session's tenant comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Setting {
        name: String,
        /// No error where it was never set.
        missing_ok: bool,
        /// '' is NULL.
        nullif: bool,
    },
    /// A function without arguments, as SQL writes its name.
    Function(String),
}

impl Form {
    /// Reads the text of `pg_get_expr`.
    pub fn read(text: &str) -> Self {
        let text = bare(text);
        match text {
            "true" => return Self::True,
            "false" => return Self::False,
            _ => {}
        }
        let parts = split(text, " AND ");
        if parts.len() > 1 {
            return Self::And(parts.into_iter().map(Self::read).collect());
        }
        let parts = split(text, " OR ");
        if parts.len() > 1 {
            return Self::Or(parts.into_iter().map(Self::read).collect());
        }
        if let Some(inner) = text.strip_prefix("NOT ").map(bare) {
            let sides = split(inner, " IS DISTINCT FROM ");
            return if let [a, b] = sides[..] { compare(a, b, true).unwrap_or(Self::Other) } else { Self::Other };
        }
        if let Some(inner) = text.strip_suffix(" IS NULL") {
            return if context(inner).is_some() { Self::Unset } else { Self::Other };
        }
        let sets = [" IN ", " = ANY "].map(|word| split(text, word));
        if let Some([_, set]) = sets.iter().map(Vec::as_slice).find(|parts| parts.len() == 2) {
            // A list of constants is nobody's context.
            return if set.contains("SELECT ") || set.contains("current_setting(") {
                Self::Member
            } else {
                Self::Other
            };
        }
        match split(text, " = ")[..] {
            [a, b] if b == "''::text" && context(a).is_some() => Self::Unset,
            [a, b] => compare(a, b, false).unwrap_or_else(|| by_query(a, b)),
            _ => Self::Other,
        }
    }
}

/// Either side may be the column's.
fn compare(a: &str, b: &str, null_safe: bool) -> Option<Form> {
    for (left, right) in [(a, b), (b, a)] {
        let Some((column, column_cast)) = column(left) else { continue };
        if let Some(context) = context(right) {
            return Some(Form::Tenant(Compare { column, column_cast, null_safe, context }));
        }
        let fallback = call(bare(right), "COALESCE");
        if fallback.is_some_and(|args| args.len() == 2 && context(args[0]).is_some() && bare(args[1]) == column) {
            return Some(Form::Coalesced);
        }
    }
    None
}

/// `column = (SELECT … FROM …)`.
fn by_query(a: &str, b: &str) -> Form {
    let query = |text: &str| bare(text).starts_with("SELECT ") && bare(text).contains("FROM ");
    if query(a) || query(b) { Form::Member } else { Form::Other }
}

/// A column's name, maybe with a cast.
fn column(text: &str) -> Option<(String, Option<String>)> {
    let text = bare(text);
    if let Some((inner, cast)) = cast(text) {
        let after =
            |before: Option<String>| before.map_or_else(|| cast.to_owned(), |before| format!("{before}::{cast}"));
        return column(inner).map(|(name, before)| (name, Some(after(before))));
    }
    let named = !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit() || c == '\'');
    (named && outside(text).all(|(_, c, _)| part_of_name(c))).then(|| (text.to_owned(), None))
}

fn context(text: &str) -> Option<Context> {
    let text = bare(text);
    if let Some(selected) = text.strip_prefix("SELECT ") {
        let expression = match split(selected, " AS ")[..] {
            [one] | [one, _] => one,
            _ => return None,
        };
        return Some(Context { wrapped: true, ..context(expression)? });
    }
    if let Some((inner, to)) = cast(text) {
        let inner = context(inner)?;
        return Some(Context { cast: Some(to.to_owned()), ..inner });
    }
    if let Some(args) = call(text, "NULLIF") {
        let [inner, "''::text"] = args[..] else { return None };
        let inner = context(inner)?;
        let Source::Setting { name, missing_ok, .. } = inner.source else { return None };
        // A cast before NULLIF fails on '' before NULLIF sees it.
        let nullif = inner.cast.is_none_or(|cast| cast == "text");
        return Some(Context {
            source: Source::Setting { name, missing_ok, nullif },
            wrapped: inner.wrapped,
            cast: None,
        });
    }
    let source = if let Some(args) = call(text, "current_setting") {
        let name = args.first()?.strip_prefix('\'')?.strip_suffix("'::text")?.to_owned();
        Source::Setting { name, missing_ok: args.get(1) == Some(&"true"), nullif: false }
    } else {
        let name = text.strip_suffix("()")?;
        let named = !name.is_empty() && outside(name).all(|(_, c, _)| part_of_name(c) || c == '.');
        named.then(|| Source::Function(name.to_owned()))?
    };
    Some(Context { source, wrapped: false, cast: None })
}

/// The arguments of a call of `name`.
fn call<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let inner = text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?;
    Some(split(inner, ", "))
}

/// `inner::type`.
fn cast(text: &str) -> Option<(&str, &str)> {
    let parts = split(text, "::");
    let last = *parts.last().filter(|_| parts.len() > 1)?;
    Some((&text[..text.len() - last.len() - 2], last))
}

/// Of a name outside of quotes.
fn part_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Without blanks and parentheses around it.
fn bare(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        // `(a) = (b)` begins and ends with parentheses that are not a pair.
        if closes_at(text) != Some(text.len() - 1) {
            break;
        }
        text = inner.trim();
    }
    text
}

/// Where the parenthesis that `text` begins with is closed.
fn closes_at(text: &str) -> Option<usize> {
    outside(text).find(|(_, _, depth)| *depth == 0).map(|(at, _, _)| at)
}

/// Splits where `separator` stands outside of parentheses and quotes.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, _, depth) in outside(text) {
        if at >= from && depth == 0 && text[at..].starts_with(separator) {
            parts.push(&text[from..at]);
            from = at + separator.len();
        }
    }
    parts.push(&text[from..]);
    parts
}

/// The characters outside of quotes, each with its place and the depth of parentheses behind it.
fn outside(text: &str) -> impl Iterator<Item = (usize, char, usize)> + '_ {
    let (mut depth, mut quote) = (0usize, None);
    text.char_indices().filter_map(move |(at, c)| {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None => {
                match c {
                    '(' | '[' => depth += 1,
                    ')' | ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                return Some((at, c, depth));
            }
        }
        None
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// In short: `column op source`, with `w` for wrapped, `n` for NULLIF, `m` for missing_ok.
    fn short(form: &Form) -> String {
        let list = |all: &[Form]| all.iter().map(short).collect::<Vec<_>>().join(", ");
        match form {
            Form::And(all) => format!("and({})", list(all)),
            Form::Or(all) => format!("or({})", list(all)),
            Form::Tenant(Compare { column, column_cast, null_safe, context }) => {
                let cast = |cast: &Option<String>| cast.as_ref().map_or(String::new(), |to| format!("::{to}"));
                let source = match &context.source {
                    Source::Setting { name, missing_ok, nullif } => {
                        format!("{name}{}{}", if *missing_ok { " m" } else { "" }, if *nullif { " n" } else { "" })
                    }
                    Source::Function(name) => format!("{name}()"),
                };
                let (op, wrapped) = (if *null_safe { "<=>" } else { "=" }, if context.wrapped { " w" } else { "" });
                format!("{column}{} {op} {source}{wrapped}{}", cast(column_cast), cast(&context.cast))
            }
            Form::True | Form::False | Form::Coalesced | Form::Unset | Form::Member | Form::Other => {
                format!("{form:?}")
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(short(&Form::read(text)), expect, "{text}");
    }

    #[test]
    fn the_canonical_forms_are_recognised() {
        let setting = "(NULLIF(current_setting('app.t'::text, true), ''::text))";
        check(&format!("(tenant_id = ( SELECT {setting}::uuid AS \"nullif\"))"), "tenant_id = app.t m n w::uuid");
        check(&format!("(( SELECT {setting}::uuid AS \"nullif\") = tenant_id)"), "tenant_id = app.t m n w::uuid");
        check(
            "((tv)::text = ( SELECT NULLIF(current_setting('app.t'::text, true), ''::text) AS \"nullif\"))",
            "tv::text = app.t m n w",
        );
        check(
            &format!("((tv)::text = (( SELECT {setting}::character varying AS \"nullif\"))::text)"),
            "tv::text = app.t m n w::text",
        );
        check("(tenant_id = ( SELECT app.cur() AS cur))", "tenant_id = app.cur() w");
        check(
            "((\"Org\" = ( SELECT app.cur() AS cur)) AND (id > 5) AND (tt ~~ 'a%'::text))",
            "and(\"Org\" = app.cur() w, Other, Other)",
        );
        check("(t = ( SELECT \"My App\".cur() AS cur))", "t = \"My App\".cur() w");
    }

    #[test]
    fn what_is_wrong_with_the_others_is_told_apart() {
        check("true", "True");
        check("(tenant_id = app.cur())", "tenant_id = app.cur()");
        check(
            "((current_setting('app.t'::text, true) IS NULL) OR (tenant_id = (current_setting('app.t'::text, true))::uuid))",
            "or(Unset, tenant_id = app.t m::uuid)",
        );
        check(
            "((current_setting('app.t'::text, true) = ''::text) OR (tenant_id = app.cur()))",
            "or(Unset, tenant_id = app.cur())",
        );
        check(
            "(tenant_id = COALESCE((NULLIF(current_setting('app.t'::text, true), ''::text))::uuid, tenant_id))",
            "Coalesced",
        );
        check("(NOT (tenant_id IS DISTINCT FROM ( SELECT app.cur() AS cur)))", "tenant_id <=> app.cur() w");
        check("(NOT (tenant_id <> ( SELECT app.cur() AS cur)))", "Other");
        check("((tenant_id)::text = current_setting('app.t'::text, true))", "tenant_id::text = app.t m");
        check("((current_setting('app.t'::text))::uuid = tenant_id)", "tenant_id = app.t::uuid");
        check("(tenant_id IN ( SELECT m.org\n   FROM app.m\n  WHERE (m.usr = CURRENT_USER)))", "Member");
        check("(tenant_id = ANY (ARRAY( SELECT m.org\n   FROM app.m)))", "Member");
        check("(tenant_id = ( SELECT m.org\n   FROM app.m\n LIMIT 1))", "Member");
        check("(tenant_id = ANY (string_to_array(current_setting('app.t'::text, true), ','::text)))", "Member");
        check("(tenant_id = ANY (ARRAY['0'::uuid, '1'::uuid]))", "Other");
        check("(EXISTS ( SELECT 1\n   FROM app.m\n  WHERE (m.org = t.tenant_id)))", "Other");
        check("(tenant_id = '0'::uuid)", "Other");
        check("(tenant_id = tenant_id)", "Other");
        check("(note = ') OR ('::text)", "Other");
        check("((a = 1) OR true)", "or(Other, True)");
        check("", "Other");
    }
}

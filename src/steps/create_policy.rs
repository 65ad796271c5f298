//! Creates a row-level security policy. With neither `using` nor `with_check` it is the canonical one: the tenant column
//! equals the session's tenant, for reading and for writing. `{tenant}` in an expression stands for the session's tenant.
//!
//! Lock: ACCESS EXCLUSIVE for a moment; the catalogue changes, no row is read. A policy has no effect before row-level
//! security is enabled. With `replace = true` a policy of that name with another text is dropped and created in one
//! transaction, so that no session ever finds neither; without it, such a policy stops the run.
//! A query that names a partition is bound by the partition's own policies: with `partitions = true` the partitions and children
//! of every level get it too, in one transaction, parent first.
//! Undo: drops the policy, unless it was there before as the plan writes it; a policy that was replaced comes back as it was,
//! with its roles and its comment.

mod context;

use context::check_context;
use serde::Deserialize;

use super::{
    Object, StepKind,
    enforce_rls::family::{ALL_BELOW, Family, Policy, Shadow},
};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt, mask, policy},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Twin, Unit},
};

/// A step of the kind `create_policy`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreatePolicy {
    table: QName,
    name: Ident,
    #[serde(default)]
    r#as: As,
    #[serde(default)]
    r#for: For,
    /// Roles; empty means PUBLIC.
    #[serde(default)]
    to: Vec<Ident>,
    using: Option<Expr>,
    with_check: Option<Expr>,
    /// A policy of that name with another text gives way, and comes back with the undo.
    #[serde(default)]
    replace: bool,
    /// Whether everything below the table gets it too.
    #[serde(default)]
    partitions: bool,
    /// The tenant column, where the plan leaves the expressions to [tenancy].
    #[serde(skip)]
    column: Option<Ident>,
}

/// Whether the policy opens rows or narrows what others open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum As {
    #[default]
    Permissive,
    Restrictive,
}

/// The commands that the policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum For {
    #[default]
    All,
    Select,
    Insert,
    Update,
    Delete,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "create_policy"
table = "app.trades"
name  = "tenant_isolation"
using = "tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
"#;

impl StepKind for CreatePolicy {
    fn default_id(&self) -> String {
        format!("{}-{}", self.table.name.as_str(), self.name.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        self.check_sides(site);
        self.check_openness(site);
        for (key, expr) in [("using", &self.using), ("with_check", &self.with_check)] {
            if let Some(expr) = expr {
                check_context(key, expr, site);
                check_own_table(key, expr, &self.table, site);
            }
        }
        if self.to.len() > 1 && self.to.iter().any(is_public) {
            site.warning("to", "TM0266", "PUBLIC is every role, so the others named beside it say nothing");
        }
        self.resolve(site);
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, name) = (&self.table, &self.name);
        if self.partitions {
            let title = format!("create policy {name} on {table} {ALL_BELOW}");
            return vec![self.family().unit(cx.unit("policy"), title)];
        }
        let drop = sql!("DROP POLICY IF EXISTS {} ON {}", name, table);
        let mut up = vec![self.create(&sql!("{}", table))];
        if self.replace {
            up.insert(0, drop.clone());
        }
        vec![Unit {
            id: cx.unit("policy"),
            title: format!("create policy {name} on {table}"),
            up: Op::Tx(up),
            down: Down::tx([drop]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let mut needs = vec![("table", Object::Table(self.table.clone()))];
        needs.extend(self.column.iter().map(|c| ("table", Object::Column(self.table.clone(), c.clone()))));
        needs
    }
}

impl CreatePolicy {
    /// The sides that PostgreSQL gives the command: INSERT has no old row to show, SELECT and DELETE no new one to check.
    fn check_sides(&self, site: &mut Site<'_>) {
        match self.r#for {
            For::Insert if self.using.is_some() => site
                .error("using", "TM0260", "a policy for insert has no `using`: there is no old row to look at")
                .help("write the expression as `with_check`"),
            For::Select | For::Delete if self.with_check.is_some() => site
                .error("with_check", "TM0260", "a policy for select or delete has no `with_check`: no row is written")
                .help("write the expression as `using`"),
            For::All | For::Select | For::Insert | For::Update | For::Delete => {}
        }
    }

    /// Expressions that let everybody through.
    fn check_openness(&self, site: &mut Site<'_>) {
        if self.r#as == As::Restrictive {
            return;
        }
        let is_true =
            |expr: &Option<Expr>| expr.as_ref().is_some_and(|e| e.as_str().trim().eq_ignore_ascii_case("true"));
        let public = self.to.is_empty() || self.to.iter().any(is_public);
        // A side that the command does not have is told already.
        let reads = self.r#for != For::Insert;
        let writes = !matches!(self.r#for, For::Select | For::Delete);
        if is_true(&self.using) && public && reads {
            site.warning("using", "TM0263", "USING (true) for PUBLIC shows every tenant's rows to every role")
                .help("permissive policies are joined by OR, so this one opens what all the others close");
        }
        if is_true(&self.with_check) && writes {
            site.warning("with_check", "TM0263", "WITH CHECK (true) lets a tenant write rows into another one").help(
                "write the same expression on both sides, or leave `with_check` out: `using` then counts for both",
            );
        }
    }

    /// Puts the context expression in place of `{tenant}`, and the canonical expressions where the plan gives none.
    fn resolve(&mut self, site: &mut Site<'_>) {
        let tenancy = site.tenancy();
        for (key, side) in [("using", &mut self.using), ("with_check", &mut self.with_check)] {
            let Some(expr) = side.as_ref().filter(|e| mask(e.as_str()).contains(TENANT)) else { continue };
            match tenancy.map(|t| Expr::parse(&with_tenant(expr.as_str(), &t.context()))) {
                Some(Ok(full)) => *side = Some(full),
                Some(Err(why)) => {
                    site.error(key, "TM0261", why);
                }
                None if site.lacks_tenancy() => site
                    .error(key, "TM0261", "`{tenant}` has no meaning: the plan has no [tenancy]")
                    .help("write [tenancy] with registry, column and setting, or the whole expression"),
                None => {}
            }
        }
        if self.using.is_some() || self.with_check.is_some() {
            return;
        }
        let Some(tenancy) = tenancy else {
            if site.lacks_tenancy() {
                site.error("name", "TM0262", "the policy has neither `using` nor `with_check`")
                    .help("write one, or [tenancy], from which the canonical policy follows");
            }
            return;
        };
        match Expr::parse(sql!("{} = {}", tenancy.column, tenancy.context()).as_str()) {
            Ok(canonical) => {
                let (reads, writes) = match self.r#for {
                    For::All | For::Update => (true, true),
                    For::Select | For::Delete => (true, false),
                    For::Insert => (false, true),
                };
                self.using = reads.then(|| canonical.clone());
                self.with_check = writes.then_some(canonical);
                self.column = Some(tenancy.column.clone());
            }
            Err(why) => {
                site.error("name", "TM0262", why);
            }
        }
    }

    fn family(&self) -> Family<'_> {
        Family {
            table: &self.table,
            policies: vec![Policy { name: self.name.clone(), rest: self.rest() }],
            enable: false,
            force: false,
            replace: self.replace,
            roles: Vec::new(),
            shadow: Shadow::Apart,
        }
    }

    /// CREATE POLICY on `table`: the table itself or its twin.
    fn create(&self, table: &Stmt) -> Stmt {
        sql!("CREATE POLICY {} ON {} {}", self.name, table, self.rest())
    }

    /// Everything behind the table's name.
    fn rest(&self) -> Stmt {
        let kind = Stmt::raw(match self.r#as {
            As::Permissive => "PERMISSIVE",
            As::Restrictive => "RESTRICTIVE",
        });
        let command = Stmt::raw(match self.r#for {
            For::All => "ALL",
            For::Select => "SELECT",
            For::Insert => "INSERT",
            For::Update => "UPDATE",
            For::Delete => "DELETE",
        });
        let public = self.to.is_empty() || self.to.iter().any(is_public);
        let roles = if public { Stmt::raw("PUBLIC") } else { sql!("{}", List(&self.to, ", ")) };
        let using = self.using.as_ref().map_or(Stmt::raw(""), |e| sql!(" USING ({})", e));
        let with_check = self.with_check.as_ref().map_or(Stmt::raw(""), |e| sql!(" WITH CHECK ({})", e));
        sql!("AS {} FOR {} TO {}{}{}", kind, command, roles, using, with_check)
    }

    /// The plan's text and the server's deparse differ in form, so a policy of that name is compared with a twin. The twin has
    /// the table's own name, because an expression with a sub-select is deparsed with it.
    fn probe(&self) -> Probe {
        let twin = sql!("pg_temp.{}", self.table.name);
        let same = sql!(
            "EXISTS (SELECT FROM pg_policy w WHERE w.polrelid = to_regclass({}) AND {})",
            Literal::new(twin.as_str()),
            policy::same()
        );
        let other = if self.replace { "partial" } else { "conflict" };
        Probe::Catalog {
            query: self.state("compare", &Stmt::raw("false")),
            twin: Some(Twin {
                setup: vec![
                    sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", self.table.name, self.table),
                    self.create(&twin),
                ],
                query: self.state(other, &same),
            }),
        }
    }

    /// The probe's query: `other` is the presence of a policy of that name that is not `same`. An expression is deparsed with
    /// the names that the search path makes visible, so what restores it sets that path first.
    fn state(&self, other: &str, same: &Stmt) -> Stmt {
        let table = sql!("format('%I.%I', n.nspname, c.relname)");
        sql!(
            "SELECT CASE WHEN s.definition IS NULL THEN 'absent' WHEN s.same THEN 'present' ELSE {} END AS presence,
                    s.definition AS found,
                    CASE WHEN NOT s.same THEN array_remove(ARRAY[s.path, s.definition, s.note], NULL) END AS restore
               FROM (SELECT to_regclass({}) AS rel) t
               LEFT JOIN (
                    SELECT p.polrelid, {} AS same,
                           'SELECT pg_catalog.set_config(''search_path'', '
                             || quote_literal(current_setting('search_path')) || ', true)' AS path,
                           {} AS definition, {} AS note
                      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE p.polname = {}) s ON s.polrelid = t.rel",
            Literal::new(other),
            Literal::new(self.table.to_string()),
            same,
            policy::definition(&table),
            policy::note(&table),
            Literal::new(self.name.as_str())
        )
    }
}

/// What a plan writes for the session's tenant.
const TENANT: &str = "{tenant}";

fn is_public(role: &Ident) -> bool {
    role.as_str() == "public"
}

/// `text` with the context in place of every `{tenant}` outside quotes: `'{tenant}'` is an array literal.
pub(super) fn with_tenant(text: &str, context: &Stmt) -> String {
    let (mut out, mut from) = (String::new(), 0);
    for (at, _) in mask(text).match_indices(TENANT) {
        out.push_str(&text[from..at]);
        out.push_str(context.as_str());
        from = at + TENANT.len();
    }
    out.push_str(&text[from..]);
    out
}

/// The twin has the table's name and not its schema, so `schema.table.column` would not be found there.
fn check_own_table(key: &str, expr: &Expr, table: &QName, site: &mut Site<'_>) {
    let (full, short) = (sql!("{}.", table).to_string(), sql!("{}.", table.name).to_string());
    let starts = |at: usize| !expr.as_str()[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if expr.as_str().match_indices(&full).any(|(at, _)| starts(at)) {
        site.error(key, "TM0267", format!("the policy's own columns are written without the schema, not as `{full}…`"))
            .help(format!("write `{short}column` or only the column"));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::with_tenant;
    use crate::{plan::parse, sql::Stmt};

    const TENANCY: &str = "[tenancy]\ncolumn = \"tenant_id\"\nsetting = \"app.tenant_id\"\n\
                           registry = { table = \"app.tenants\", key = \"id\", type = \"uuid\" }\n";

    #[track_caller]
    fn check(tenancy: &str, keys: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = \"p\"\n{tenancy}[[phase]]\nid = \"a\"\n[[phase.step]]\nkind = \"create_policy\"\n\
             table = \"app.trades\"\nname = \"p\"\n{keys}"
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{keys}");
    }

    #[test]
    fn sides_and_openness() {
        check("", "for = 'insert'\nusing = 'a'", &["TM0260"]);
        check("", "for = 'insert'\nwith_check = 'a'", &[]);
        check("", "for = 'select'\nwith_check = 'a'", &["TM0260"]);
        check("", "using = 'true'", &["TM0263"]);
        check("", "using = 'true'\nto = ['app_rw']", &[]);
        check("", "using = 'true'\nas = 'restrictive'", &[]);
        check("", "using = 'a = 1'\nwith_check = ' TRUE '", &["TM0263"]);
        check("", "using = 'a'\nto = ['public', 'app_rw']", &["TM0266"]);
        check("", "using = 'a = app.trades.b OR myapp.trades.b'", &["TM0267"]);
        check("", "using = 'a = myapp.trades.b'", &[]);
        check("", "using = 'a'\nas = 'open'", &["TM0103"]);
    }

    #[test]
    fn the_tenant_comes_from_the_tenancy() {
        check(TENANCY, "", &[]);
        check("", "", &["TM0262"]);
        check(TENANCY, "using = 'owner_id = {tenant}'", &[]);
        check("", "using = 'owner_id = {tenant}'", &["TM0261"]);
        check("[tenancy]\ncolumn = 5\n", "using = 'owner_id = {tenant}'", &["TM0103", "TM0104", "TM0104"]);
        let context = Stmt::raw("CTX");
        assert_eq!(with_tenant("a = {tenant} OR b = '{tenant}'", &context), "a = CTX OR b = '{tenant}'");
    }
}

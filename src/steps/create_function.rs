//! Creates a function: by the template `tenant_context` the one that returns the session's tenant, or from a body.
//!
//! Lock: none on a table; the catalogue changes. With `replace = true` a function of that name and those argument types
//! gives way to this one by CREATE OR REPLACE, which keeps its owner, its rights and what depends on it; without it, another
//! definition stops the run. The template is STABLE and PARALLEL SAFE: an IMMUTABLE one would serve one tenant's rows to
//! another from a prepared statement. It is LANGUAGE sql; with `on_unset = "error"` in [tenancy] plpgsql, and raises 42501
//! where the setting is missing or empty. With `fallback` in [tenancy] a session that says no tenant is that one; the template
//! `noting_context` with `replace = true` notes who that is in `log` (`fallback_log`): it is SECURITY DEFINER and PARALLEL UNSAFE, so queries of
//! tables whose policies call it get no parallel plan. `strict_context` with `replace = true` ends the fallback: sessions see it at once,
//! also from a prepared statement, and no table is locked.
//! Undo: drops the function, unless it was there before; one that was replaced comes back as it was, with its comment.

use serde::Deserialize;

use super::{StepKind, fallback_log};
use crate::{
    plan::{Lowering, OnUnset, Site, Tenancy},
    sql,
    sql::{Ident, List, Literal, QName, Stmt, TypeName, mask},
    unit::{Down, Growth, Lock, Op, Probe, Twin, Unit},
};

/// A step of the kind `create_function`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateFunction {
    name: QName,
    template: Option<Template>,
    /// Each as `name type` or `type`.
    #[serde(default)]
    args: Vec<TypeName>,
    returns: Option<TypeName>,
    language: Option<Ident>,
    volatility: Option<Volatility>,
    parallel: Option<Parallel>,
    #[serde(default)]
    security_definer: bool,
    body: Option<String>,
    comment: Option<String>,
    /// The table of a step `fallback_log`, for the template `noting_context`.
    log: Option<QName>,
    /// A fixed search_path, which a SECURITY DEFINER function of a template has.
    #[serde(skip)]
    fixed_path: bool,
    /// Another definition gives way, and comes back with the undo.
    #[serde(default)]
    replace: bool,
}

/// Functions that follow from [tenancy].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Template {
    TenantContext,
    /// Notes who the fallback of [tenancy] is for.
    #[serde(rename = "noting_context")]
    Noting,
    /// Without the fallback of [tenancy].
    StrictContext,
}

/// What the planner may believe of the function's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Volatility {
    Volatile,
    Stable,
    Immutable,
}

/// Whether parallel workers may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Parallel {
    Unsafe,
    Restricted,
    Safe,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind     = "create_function"
name     = "app.current_tenant"
template = "tenant_context"
"#;

impl StepKind for CreateFunction {
    fn default_id(&self) -> String {
        self.name.name.as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        match self.template {
            Some(template) => self.fill(template, site),
            None if self.body.is_none() || self.returns.is_none() => site
                .error("name", "TM0341", "the function has no `body` or no `returns`")
                .help("write both, or template = \"tenant_context\""),
            None => {}
        }
        for (i, arg) in self.args.iter().enumerate() {
            let words = mask(arg.as_str()).to_ascii_lowercase();
            if words.split_whitespace().any(|word| ["default", "out", "inout", "variadic"].contains(&word)) {
                site.error(&format!("args[{i}]"), "TM0342", format!("`{arg}` is more than a name and a type"))
                    .help("functions with defaults or other modes are made by a step of the kind sql");
            }
        }
        let reads = self.body.as_ref().is_some_and(|body| body.contains("current_setting"));
        if reads && self.volatility == Some(Volatility::Immutable) {
            site.error(
                "volatility",
                "TM0343",
                "an IMMUTABLE function that reads a setting is evaluated when a statement is planned",
            )
            .help("from a prepared statement it serves one tenant's rows to another: write volatility = \"stable\"");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let name = &self.name;
        let mut up = vec![self.create(&sql!("{}", name), self.replace)];
        if let Some(comment) = &self.comment {
            let call = sql!("{}({})", name, List(&self.args, ", "));
            up.push(sql!("COMMENT ON FUNCTION {} IS {}", call, Literal::new(comment.clone())));
        }
        if let (Some(Template::Noting), Some(log)) = (self.template, &self.log) {
            up.extend(fallback_log::begun(log, name));
        }
        // One that was replaced has things that depend on it, so it is not dropped: the probe records what is to be done.
        let down = if self.replace { vec![] } else { vec![self.drop()] };
        vec![Unit {
            id: cx.unit("function"),
            title: format!("create function {name}"),
            up: Op::Tx(up),
            down: Down::tx(down),
            probe: self.probe(),
            lock: Lock::none(),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }
}

impl CreateFunction {
    /// The template's parts from [tenancy].
    fn fill(&mut self, template: Template, site: &mut Site<'_>) {
        let own = ["args", "returns", "language", "volatility", "parallel", "security_definer", "body"];
        if let Some(key) = own.into_iter().find(|key| site.has(key)) {
            site.error(key, "TM0341", format!("`{key}` follows from the template")).help("leave one of the two out");
        }
        if self.log.is_some() && template != Template::Noting {
            site.error("log", "TM0341", "only the template noting_context notes anything").help("leave `log` out");
        }
        match site.tenancy() {
            Some(tenancy) => {
                self.returns = Some(tenancy.registry.r#type.clone());
                let notes = template == Template::Noting;
                let (language, body) = match (&tenancy.fallback, notes) {
                    (Some(fallback), true) => {
                        let log = self.log.get_or_insert_with(|| tenancy.fallback_log());
                        (Ident::parse("plpgsql").ok(), noting_body(log, fallback, tenancy))
                    }
                    (Some(_), false) | (None, _) => context_body(template, tenancy),
                };
                (self.language, self.body) = (language, Some(body.as_str().to_owned()));
                self.volatility = Some(Volatility::Stable);
                self.parallel = (!notes).then_some(Parallel::Safe);
                (self.security_definer, self.fixed_path) = (notes, notes);
                if notes && tenancy.fallback.is_none() {
                    site.error("template", "TM0340", "there is nobody to note: [tenancy] has no `fallback`")
                        .help("write fallback = \"…\" into [tenancy], or template = \"tenant_context\"");
                }
            }
            None if site.lacks_tenancy() => site
                .error("template", "TM0340", "the template has no meaning: the plan has no [tenancy]")
                .help("write [tenancy] with registry, column and setting, or a body"),
            None => {}
        }
    }

    fn create(&self, name: &Stmt, replace: bool) -> Stmt {
        let volatility = Stmt::raw(match self.volatility {
            Some(Volatility::Stable) => " STABLE",
            Some(Volatility::Immutable) => " IMMUTABLE",
            Some(Volatility::Volatile) | None => "",
        });
        let parallel = Stmt::raw(match self.parallel {
            Some(Parallel::Safe) => " PARALLEL SAFE",
            Some(Parallel::Restricted) => " PARALLEL RESTRICTED",
            Some(Parallel::Unsafe) | None => "",
        });
        let language = self.language.as_ref().map_or(Stmt::raw("sql"), |language| sql!("{}", language));
        let returns = self.returns.as_ref().map_or(Stmt::raw("void"), |returns| sql!("{}", returns));
        sql!(
            "CREATE {}FUNCTION {}({}) RETURNS {} LANGUAGE {}{}{}{}{} AS {}",
            Stmt::raw(if replace { "OR REPLACE " } else { "" }),
            name,
            List(&self.args, ", "),
            returns,
            language,
            volatility,
            parallel,
            Stmt::raw(if self.security_definer { " SECURITY DEFINER" } else { "" }),
            Stmt::raw(if self.fixed_path { " SET search_path = pg_catalog, pg_temp" } else { "" }),
            Literal::new(self.body.clone().unwrap_or_default())
        )
    }

    fn drop(&self) -> Stmt {
        sql!("DROP FUNCTION IF EXISTS {}({})", self.name, List(&self.args, ", "))
    }

    /// A twin in the temporary schema has the same argument types, by which an overload is told apart.
    fn probe(&self) -> Probe {
        let (schema, name) = (Literal::new(self.name.schema.as_str()), Literal::new(self.name.name.as_str()));
        let same = Stmt::raw(
            "(p.prosrc, p.prorettype, p.proretset, p.prolang, p.provolatile, p.proparallel, p.prosecdef, p.proconfig, p.proisstrict) IS NOT DISTINCT FROM (w.prosrc, w.prorettype, w.proretset, w.prolang, w.provolatile, w.proparallel, w.prosecdef, w.proconfig, w.proisstrict)",
        );
        let none = Stmt::raw("NULL::text[]");
        let dropped = sql!("ARRAY[{}]", Literal::new(self.drop().as_str()));
        let back = sql!(
            "CASE WHEN p.oid IS NULL THEN {} WHEN NOT ({}) THEN ARRAY[
                'SELECT pg_catalog.set_config(''search_path'', ' || quote_literal(current_setting('search_path')) || ', true)',
                pg_get_functiondef(p.oid),
                format('COMMENT ON FUNCTION %I.%I(%s) IS %s', {}, {}, pg_get_function_identity_arguments(p.oid),
                       coalesce(quote_literal(obj_description(p.oid, 'pg_proc')), 'NULL'))] END",
            dropped,
            same,
            schema,
            name
        );
        // CREATE OR REPLACE cannot change the type of the result.
        let other = if self.replace {
            "CASE WHEN (p.prorettype, p.proretset) = (w.prorettype, w.proretset) THEN 'partial' ELSE 'conflict' END"
        } else {
            "'conflict'"
        };
        let namespace = sql!("(SELECT oid FROM pg_namespace WHERE nspname = {})", schema);
        Probe::Catalog {
            query: sql!(
                "SELECT CASE WHEN EXISTS (SELECT FROM pg_proc AS p WHERE p.proname = {} AND p.pronamespace = {})
                             THEN 'compare' ELSE 'absent' END, NULL::text, {}",
                name,
                namespace,
                if self.replace { &dropped } else { &none }
            ),
            twin: Some(Twin {
                setup: vec![self.create(&sql!("pg_temp.{}", self.name.name), false)],
                query: sql!(
                    "SELECT CASE WHEN p.oid IS NULL THEN 'absent' WHEN {} THEN 'present' ELSE {} END,
                            'a function of that name with another definition', {}
                       FROM (SELECT * FROM pg_proc WHERE proname = {} AND pronamespace = pg_my_temp_schema()) AS w
                       LEFT JOIN pg_proc AS p ON p.proname = w.proname AND p.pronamespace = {} AND p.proargtypes = w.proargtypes",
                    same,
                    Stmt::raw(other),
                    if self.replace { &back } else { &none },
                    name,
                    namespace
                ),
            }),
        }
    }
}

/// The body of the context function, and its language where that is not sql. MESSAGE and HINT are values, so that nothing in
/// the setting's name is a placeholder of RAISE.
fn context_body(template: Template, tenancy: &Tenancy) -> (Option<Ident>, Stmt) {
    if let (Template::TenantContext, Some(fallback)) = (template, &tenancy.fallback) {
        let read = tenancy.setting_read();
        return (None, sql!("SELECT coalesce({}, {}::{})", read, fallback, tenancy.registry.r#type));
    }
    match tenancy.on_unset {
        OnUnset::Deny => (None, sql!("SELECT {}", tenancy.setting_read())),
        OnUnset::Error => {
            let setting = &tenancy.setting;
            let body = sql!(
                "DECLARE
    tenant text := NULLIF(current_setting({}, true), '');
BEGIN
    IF tenant IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = {}, HINT = {};
    END IF;
    RETURN tenant::{};
END",
                Literal::new(setting.clone()),
                Literal::new(format!("{setting} is not set: this session has not said which tenant it is")),
                Literal::new(format!("say it in the same transaction: SET LOCAL {setting} = '…'")),
                tenancy.registry.r#type
            );
            (Ident::parse("plpgsql").ok(), body)
        }
    }
}

/// With the fallback, and a note of who it is for. What the note needs no session needs a right for, hence SECURITY DEFINER. The
/// assignment to the result casts: with the fixed search_path the type's own name might not be found.
fn noting_body(log: &QName, fallback: &Literal, tenancy: &Tenancy) -> Stmt {
    sql!(
        "DECLARE
    tenant text := NULLIF(current_setting({}, true), '');
    this text;
BEGIN
    IF tenant IS NULL THEN
        tenant := {};
        {}
    END IF;
    RETURN tenant;
END",
        Literal::new(tenancy.setting.clone()),
        fallback,
        fallback_log::noted(log)
    )
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn a_function_has_a_body_or_a_template() {
        let step = "kind = 'create_function'\nname = 'app.f'\n";
        finds(super::EXAMPLE, &["TM0340"]);
        finds(step, &["TM0341"]);
        finds(&format!("{step}template = 'tenant_context'\nbody = 'SELECT 1'"), &["TM0341", "TM0340"]);
        finds(&format!("{step}returns = 'int'\nbody = 'SELECT 1'\nargs = ['a int', 'text[]']"), &[]);
        finds(&format!("{step}returns = 'int'\nbody = 'SELECT 1'\nargs = ['a int default 1']"), &["TM0342"]);
        finds(&format!("{step}template = 'tenant_context'\nlog = 'app.l'"), &["TM0341", "TM0340"]);
        let body = "body = \"SELECT current_setting('a.b')\"";
        finds(&format!("{step}returns = 'text'\nvolatility = 'immutable'\n{body}"), &["TM0343"]);
    }
}

//! What privileges are granted on, as statements and as the catalogue has it.

use serde::Deserialize;

use crate::{
    plan::Site,
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt, words},
};

/// A privilege, as SQL calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    References,
    Trigger,
    /// From PostgreSQL 17 on.
    Maintain,
    Usage,
    Create,
    Connect,
    Temporary,
    Execute,
}

impl Privilege {
    pub fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Maintain => "MAINTAIN",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
            Self::Connect => "CONNECT",
            Self::Temporary => "TEMPORARY",
            Self::Execute => "EXECUTE",
        }
    }
}

/// What the default privileges are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    #[default]
    Tables,
    Sequences,
    Functions,
}

/// Which way the step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Grant,
    GrantWithOption,
    Revoke,
}

/// The objects of a step: of one kind, which `check_target` has seen to.
#[derive(Debug)]
pub struct Target<'a> {
    pub tables: &'a [QName],
    pub all_tables_in: &'a [Ident],
    pub sequences: &'a [QName],
    pub all_sequences_in: &'a [Ident],
    pub schemas: &'a [Ident],
    pub functions: &'a [Expr],
    pub databases: &'a [Ident],
    pub default_privileges_in: &'a [Ident],
    pub of: Option<Of>,
    pub by: Option<&'a Ident>,
}

/// The one kind of object that a step names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Sequence,
    Schema,
    Function,
    Database,
}

impl Kind {
    /// What can be granted on it (documentation, "Privileges").
    fn privileges(self) -> &'static [Privilege] {
        use Privilege::{
            Connect, Create, Delete, Execute, Insert, Maintain, References, Select, Temporary, Trigger, Truncate,
            Update, Usage,
        };
        match self {
            Self::Table => &[Select, Insert, Update, Delete, Truncate, References, Trigger, Maintain],
            Self::Sequence => &[Usage, Select, Update],
            Self::Schema => &[Usage, Create],
            Self::Function => &[Execute],
            Self::Database => &[Create, Connect, Temporary],
        }
    }
}

/// Finds what the objects and the privileges lack, or have too much of.
pub fn check_target(target: &Target<'_>, privileges: &[Privilege], site: &mut Site<'_>) {
    let kinds = target.kinds();
    let [(key, kind)] = kinds.as_slice() else {
        let found = if kinds.is_empty() { "names no object" } else { "names objects of several kinds" };
        site.error(kinds.get(1).map_or("privileges", |(key, _)| key), "TM0252", format!("the step {found}")).help(
            "write one of tables, all_tables_in, sequences, all_sequences_in, schemas, functions, databases, default_privileges_in",
        );
        return;
    };
    if privileges.is_empty() {
        site.error("privileges", "TM0253", "there is no privilege in it");
    }
    if let Some(odd) = privileges.iter().find(|p| !kind.privileges().contains(p)) {
        let known: Vec<&str> = kind.privileges().iter().map(|p| p.word()).collect();
        site.error("privileges", "TM0253", format!("`{key}` knows no privilege {}", odd.word()))
            .help(format!("it knows {}", known.join(", ").to_lowercase()));
    }
    if *key != "default_privileges_in" && (target.of.is_some() || target.by.is_some()) {
        let key = if target.of.is_some() { "of" } else { "by" };
        site.error(key, "TM0254", format!("`{key}` belongs to default_privileges_in"));
    }
}

impl Target<'_> {
    fn kinds(&self) -> Vec<(&'static str, Kind)> {
        let default = match self.of.unwrap_or_default() {
            Of::Tables => Kind::Table,
            Of::Sequences => Kind::Sequence,
            Of::Functions => Kind::Function,
        };
        let all = [
            ("tables", Kind::Table, self.tables.len()),
            ("all_tables_in", Kind::Table, self.all_tables_in.len()),
            ("sequences", Kind::Sequence, self.sequences.len()),
            ("all_sequences_in", Kind::Sequence, self.all_sequences_in.len()),
            ("schemas", Kind::Schema, self.schemas.len()),
            ("functions", Kind::Function, self.functions.len()),
            ("databases", Kind::Database, self.databases.len()),
            ("default_privileges_in", default, self.default_privileges_in.len()),
        ];
        all.into_iter().filter(|(_, _, count)| *count > 0).map(|(key, kind, _)| (key, kind)).collect()
    }

    /// A step's id: what, on what, to or from whom.
    pub fn id(&self, verb: &str, privileges: &[Privilege], roles: &[Ident]) -> String {
        let privileges = privileges.iter().map(|p| p.word().to_lowercase());
        let relations = self.tables.iter().chain(self.sequences).map(|name| name.name.as_str());
        let lists =
            [self.all_tables_in, self.all_sequences_in, self.schemas, self.databases, self.default_privileges_in];
        let names = relations.chain(lists.into_iter().flatten().map(Ident::as_str)).map(str::to_owned);
        let functions = self.functions.iter().map(|f| words(f.as_str()).join("-").to_lowercase());
        let kinds = self.kinds().into_iter().map(|(key, _)| key.to_owned());
        let roles = roles.iter().map(|role| role.as_str().to_owned());
        let parts = [verb.to_owned()].into_iter().chain(privileges).chain(kinds).chain(names).chain(functions);
        parts.chain(roles).collect::<Vec<_>>().join("-")
    }

    /// What stands behind ON, and before GRANT or REVOKE.
    fn on(&self) -> (Stmt, Stmt) {
        let none = Stmt::raw("");
        let on = |word: &str, names: Stmt| (Stmt::raw(""), sql!("{} {}", Stmt::raw(word), names));
        if !self.tables.is_empty() {
            return on("TABLE", sql!("{}", List(self.tables, ", ")));
        }
        if !self.all_tables_in.is_empty() {
            return on("ALL TABLES IN SCHEMA", sql!("{}", List(self.all_tables_in, ", ")));
        }
        if !self.sequences.is_empty() {
            return on("SEQUENCE", sql!("{}", List(self.sequences, ", ")));
        }
        if !self.all_sequences_in.is_empty() {
            return on("ALL SEQUENCES IN SCHEMA", sql!("{}", List(self.all_sequences_in, ", ")));
        }
        if !self.schemas.is_empty() {
            return on("SCHEMA", sql!("{}", List(self.schemas, ", ")));
        }
        if !self.functions.is_empty() {
            return on("FUNCTION", sql!("{}", List(self.functions, ", ")));
        }
        if !self.databases.is_empty() {
            return on("DATABASE", sql!("{}", List(self.databases, ", ")));
        }
        let by = self.by.map_or(none, |role| sql!(" FOR ROLE {}", role));
        let schemas = List(self.default_privileges_in, ", ");
        (sql!("ALTER DEFAULT PRIVILEGES{} IN SCHEMA {} ", by, schemas), self.future())
    }

    fn future(&self) -> Stmt {
        Stmt::raw(match self.of.unwrap_or_default() {
            Of::Tables => "TABLES",
            Of::Sequences => "SEQUENCES",
            Of::Functions => "FUNCTIONS",
        })
    }

    pub fn statements(&self, way: Way, privileges: &[Privilege], roles: &[Ident]) -> Vec<Stmt> {
        let (before, on) = self.on();
        let words: Vec<Stmt> = privileges.iter().map(|p| Stmt::raw(p.word())).collect();
        let roles: Vec<Stmt> = roles.iter().map(role).collect();
        let (words, roles) = (List(&words, ", "), List(&roles, ", "));
        vec![match way {
            Way::Grant => sql!("{}GRANT {} ON {} TO {}", before, words, on, roles),
            Way::GrantWithOption => sql!("{}GRANT {} ON {} TO {} WITH GRANT OPTION", before, words, on, roles),
            Way::Revoke => sql!("{}REVOKE {} ON {} FROM {}", before, words, on, roles),
        }]
    }

    pub fn title(&self, way: Way, privileges: &[Privilege], roles: &[Ident]) -> String {
        let texts: Vec<String> = self.statements(way, privileges, roles).iter().map(Stmt::to_string).collect();
        let text = texts.join("; ");
        let words = [("GRANT ", "grant "), ("REVOKE ", "revoke "), ("ALTER DEFAULT", "alter default")];
        let word = words.iter().find(|(upper, _)| text.starts_with(upper));
        word.map_or(text.clone(), |(upper, lower)| text.replacen(upper, lower, 1))
    }

    /// Rows of the objects: `owner`, `acl` (an absent one is the built-in default), `before` and `what` of a statement.
    pub(super) fn objects(&self) -> Stmt {
        let names = |names: &[QName]| {
            let names: Vec<Stmt> =
                names.iter().map(|name| sql!("to_regclass({})", Literal::new(name.to_string()))).collect();
            sql!("c.oid IN ({})", List(&names, ", "))
        };
        let texts = |names: &[Ident]| {
            let names: Vec<Literal> = names.iter().map(|name| Literal::new(name.as_str())).collect();
            sql!("({})", List(&names, ", "))
        };
        let relations = |word: &str, code: &str, condition: Stmt| {
            sql!(
                "SELECT c.relowner, coalesce(c.relacl, acldefault({}, c.relowner)), '', format({}, n.nspname, c.relname)
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {}",
                Literal::new(code),
                Literal::new(format!("{word} %I.%I")),
                condition
            )
        };
        if !self.tables.is_empty() {
            return relations("TABLE", "r", names(self.tables));
        }
        if !self.all_tables_in.is_empty() {
            let all = sql!("c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname IN {}", texts(self.all_tables_in));
            return relations("TABLE", "r", all);
        }
        if !self.sequences.is_empty() {
            return relations("SEQUENCE", "s", names(self.sequences));
        }
        if !self.all_sequences_in.is_empty() {
            let all = sql!("c.relkind = 'S' AND n.nspname IN {}", texts(self.all_sequences_in));
            return relations("SEQUENCE", "s", all);
        }
        if !self.schemas.is_empty() {
            return sql!(
                "SELECT nspowner, coalesce(nspacl, acldefault('n', nspowner)), '', format('SCHEMA %I', nspname) FROM pg_namespace WHERE nspname IN {}",
                texts(self.schemas)
            );
        }
        if !self.databases.is_empty() {
            return sql!(
                "SELECT datdba, coalesce(datacl, acldefault('d', datdba)), '', format('DATABASE %I', datname) FROM pg_database WHERE datname IN {}",
                texts(self.databases)
            );
        }
        if !self.functions.is_empty() {
            let functions: Vec<Stmt> = self
                .functions
                .iter()
                .map(|function| sql!("to_regprocedure({})", Literal::new(function.as_str())))
                .collect();
            return sql!(
                "SELECT p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), '',
                        format('FUNCTION %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
                   FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid IN ({})",
                List(&functions, ", ")
            );
        }
        self.defaults(&texts(self.default_privileges_in))
    }

    /// Of a schema the default privileges begin empty.
    fn defaults(&self, schemas: &Stmt) -> Stmt {
        let code = Literal::new(match self.of.unwrap_or_default() {
            Of::Tables => "r",
            Of::Sequences => "S",
            Of::Functions => "f",
        });
        let by = self.by.map_or(Stmt::raw("current_user"), |role| sql!("{}", Literal::new(role.as_str())));
        sql!(
            "SELECT r.oid, coalesce(d.defaclacl, '{{}}'::aclitem[]), format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I ', r.rolname, n.nspname), {}
               FROM pg_roles r JOIN pg_namespace n ON n.nspname IN {}
               LEFT JOIN pg_default_acl d ON d.defaclrole = r.oid AND d.defaclnamespace = n.oid AND d.defaclobjtype = {}
              WHERE r.rolname = {}",
            Literal::new(self.future().to_string()),
            schemas,
            code,
            by
        )
    }
}

fn role(name: &Ident) -> Stmt {
    if name.as_str() == "public" { Stmt::raw("PUBLIC") } else { sql!("{}", name) }
}

//! A small database with one protected table, an owner and an application, all of it as a plan would leave it.

use std::time::Duration;

use tenantmig::{
    isolation::{Report, Spec, Verdict},
    pg::{
        connect::{SessionSpec, connect},
        isolation::{Liberty, isolation},
        settings::{ConnectFlags, Environment, resolve},
    },
    sql::{Ident, QName},
};

use crate::harness::{Db, database};

pub const SETTING: &str = "app.org";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// The owner of the table, whom FORCE binds.
    Owner,
    Superuser,
}

/// How the table and its policies are made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub r#type: &'static str,
    pub function: bool,
    pub strict: bool,
    pub floor: bool,
    pub force: bool,
    /// By tenant, with the tenant in the key.
    pub partitioned: bool,
    pub rows: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { r#type: "uuid", function: false, strict: false, floor: false, force: true, partitioned: false, rows: 3 }
    }
}

pub struct Ground {
    pub db: Db,
    pub owner: String,
    pub app: String,
    pub shape: Shape,
}

impl Ground {
    /// Two tenants with rows each.
    pub fn new(name: &str, shape: Shape) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN");
        let owner = db.role("owner", &format!("LOGIN IN ROLE {app}"));
        let ground = Self { db, owner, app, shape };
        ground.db.sql(&format!("GRANT CREATE ON DATABASE {} TO {}", ground.db.name(), ground.owner));
        ground.reset();
        ground
    }

    /// The n-th tenant.
    pub fn tenant(&self, n: u32) -> String {
        match self.shape.r#type {
            "uuid" => format!("00000000-0000-0000-0000-00000000000{n}"),
            "text" => format!("tenant {n}"),
            _ => n.to_string(),
        }
    }

    /// The expression of the context.
    pub fn context(&self) -> String {
        if self.shape.function {
            return "(SELECT app.current_org())".to_owned();
        }
        format!("(SELECT NULLIF(current_setting('{SETTING}', true), '')::{})", self.shape.r#type)
    }

    /// Everything as a plan leaves it, as the owner.
    pub fn reset(&self) {
        let Shape { r#type, strict, floor, force, partitioned, rows, function } = self.shape;
        let (owner, app, context) = (&self.owner, &self.app, self.context());
        let (one, two) = (self.tenant(1), self.tenant(2));
        let by = if partitioned { "PARTITION BY LIST (org_id)" } else { "" };
        let parts = if partitioned {
            format!(
                "CREATE TABLE app.t1 PARTITION OF app.t FOR VALUES IN ('{one}'); CREATE TABLE app.t2 PARTITION OF app.t FOR VALUES IN ('{two}');"
            )
        } else {
            String::new()
        };
        let read = format!("NULLIF(current_setting('{SETTING}', true), '')::{type}");
        let body = match (function, strict) {
            (false, _) => String::new(),
            (true, false) => format!(
                "CREATE FUNCTION app.current_org() RETURNS {type} LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT {read} $$;"
            ),
            (true, true) => format!(
                "CREATE FUNCTION app.current_org() RETURNS {type} LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
                 BEGIN IF coalesce(current_setting('{SETTING}', true), '') = '' THEN RAISE insufficient_privilege; END IF; RETURN {read}; END $$;"
            ),
        };
        let table = |table: &str| {
            let mut sql = format!(
                "CREATE POLICY isolation ON {table} USING (org_id = {context}) WITH CHECK (org_id = {context});"
            );
            if floor {
                sql += &format!(
                    "CREATE POLICY floor ON {table} AS RESTRICTIVE USING (org_id = {context}) WITH CHECK (org_id = {context});"
                );
            }
            sql += &format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;");
            if force {
                sql += &format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY;");
            }
            sql
        };
        let all: String = if partitioned { ["app.t", "app.t1", "app.t2"].map(table).concat() } else { table("app.t") };
        self.db.sql(&format!(
            "DROP SCHEMA IF EXISTS app CASCADE; SET SESSION AUTHORIZATION {owner}; CREATE SCHEMA app; {body}
             CREATE TABLE app.orgs (id {type} PRIMARY KEY); INSERT INTO app.orgs VALUES ('{one}'), ('{two}');
             CREATE TABLE app.t (id integer NOT NULL, org_id {type} NOT NULL, note text, PRIMARY KEY (org_id, id)) {by}; {parts}
             INSERT INTO app.t SELECT n, '{one}', 'of one' FROM generate_series(1, {rows}) n;
             INSERT INTO app.t SELECT n, '{two}', 'of two' FROM generate_series(1, {rows}) n;
             GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO {app};
             {all} RESET SESSION AUTHORIZATION; ANALYZE app.t"
        ));
    }

    pub fn spec(&self) -> Spec {
        let name = |text: &str| QName::parse(text).unwrap();
        Spec {
            table: name("app.t"),
            column: Ident::parse("org_id").unwrap(),
            setting: SETTING.to_owned(),
            roles: vec![Ident::parse(&self.app).unwrap()],
            bypass: Vec::new(),
            registry: (name("app.orgs"), Ident::parse("id").unwrap()),
            force: self.shape.force,
            strict: self.shape.strict,
            fallback: None,
            extra: false,
        }
    }

    /// Asks, by SET ROLE and, with `login`, over the application's own connection.
    pub fn ask(&self, asks: Asks, login: bool) -> Vec<Report> {
        self.ask_about(asks, login.then(|| self.db.url_as(&self.app)), &[self.spec()])
    }

    pub fn ask_about(&self, asks: Asks, app_url: Option<String>, specs: &[Spec]) -> Vec<Report> {
        let url = if asks == Asks::Superuser { self.db.url() } else { self.db.url_as(&self.owner) };
        let flags = ConnectFlags { dbname: Some(url), app_url, ..ConnectFlags::default() };
        let settings = resolve(&flags, &Environment::of(&[("USER", "postgres")])).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let admin = connect(&settings, &SessionSpec::new("test", Duration::from_secs(5))).await.unwrap();
            isolation(&admin, specs, Liberty::Looks).await.unwrap()
        })
    }
}

/// Each probe's code and verdict: `P4 leak`.
pub fn told(report: &Report) -> Vec<String> {
    report.probes.iter().map(|asked| format!("{} {}", asked.probe.code(), word(&asked.verdict))).collect()
}

pub fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds(_) => "holds",
        Verdict::Leak(_) => "leak",
        Verdict::Outage(_) => "outage",
        Verdict::Weak(_) => "weak",
        Verdict::Untried(_) => "untried",
        Verdict::Unmeasured(_) => "unmeasured",
    }
}

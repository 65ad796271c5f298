//! Runs SQL that the plan brings, for what no other kind does. `up` and `down` are scripts, inline or in files; `probe` is a
//! query of one boolean that says whether the deed is done.
//!
//! Lock: what the statements take; the plan shows an estimate from their first words, ACCESS EXCLUSIVE where it cannot know.
//! All statements of a script run in one transaction, with the same short lock_timeout and retries as every other step, and
//! the outcome commits with them. `transaction = false` is for a single statement that PostgreSQL refuses in a transaction,
//! and needs a `probe`, because only that tells what a crash left.
//! Undo: `down`. `down = false` with `irreversible = "why"` is a point of no return: a rollback past it is refused. A `down`
//! that is only a comment says why nothing is to be undone.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::StepKind;
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Command, Expr, Statement, Stmt, command, mask, split, words},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `sql`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    description: Option<String>,
    up: Option<String>,
    up_file: Option<String>,
    down: Option<Undo>,
    down_file: Option<String>,
    /// Why there is no way back.
    irreversible: Option<String>,
    /// A query of one boolean: true when the deed is done.
    probe: Option<Expr>,
    #[serde(default = "yes")]
    transaction: bool,
}

fn yes() -> bool {
    true
}

/// The value of `down`: SQL, or false.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Undo {
    Script(String),
    Refused,
}

impl<'de> Deserialize<'de> for Undo {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Undo;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("SQL in a string, or false with irreversible = \"why\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Undo, E> {
                Ok(Undo::Script(text.to_owned()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Undo, E> {
                let why = "`down` is SQL in a string, or false with irreversible = \"why\"";
                if value { Err(E::custom(why)) } else { Ok(Undo::Refused) }
            }
        }
        from.deserialize_any(Either)
    }
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
id          = "open-orders"
kind        = "sql"
description = "a view of the orders that have no tenant yet"
up          = "CREATE VIEW app.open_orders WITH (security_barrier) AS SELECT id FROM app.orders WHERE tenant_id IS NULL"
down        = "DROP VIEW IF EXISTS app.open_orders"
probe       = "SELECT to_regclass('app.open_orders') IS NOT NULL"
"#;

const CREATE_INDEX: &str =
    "use a step of the kind `create_index`: it recognises the wreck of a failed build and repairs it";

impl StepKind for Sql {
    fn default_id(&self) -> String {
        "sql".to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        self.read_files(site);
        if let Some(up) = self.up.clone() {
            let key = if site.has("up") { "up" } else { "up_file" };
            let statements = script(key, &up, site);
            if statements.as_ref().is_some_and(Vec::is_empty) {
                site.error(key, "TM0283", format!("`{key}` has no statement"));
            }
            self.check_statements(key, &statements.unwrap_or_default(), site);
        }
        if let Some(Undo::Script(down)) = self.down.clone() {
            let key = if site.has("down") { "down" } else { "down_file" };
            let statements = script(key, &down, site);
            if statements.as_ref().is_some_and(Vec::is_empty) && comment(&down).is_empty() {
                site.error(key, "TM0283", format!("`{key}` has no statement"))
                    .help("where nothing is to be undone, say why in a comment: down = \"-- statistics may stay\"");
            }
            self.check_statements(key, &statements.unwrap_or_default(), site);
        }
        if !self.transaction && self.probe.is_none() {
            site.error("transaction", "TM0284", "a statement outside a transaction needs a `probe`").help(
                "after a crash only the database knows whether it is done: probe = \"SELECT …\", true when it is",
            );
        }
        let is_query =
            |e: &Expr| words(e.as_str()).first().is_some_and(|w| ["SELECT", "WITH", "VALUES"].contains(&w.as_str()));
        if self.probe.as_ref().is_some_and(|probe| !is_query(probe)) {
            site.error("probe", "TM0270", "a probe is a query of one boolean")
                .help("write it as a query: \"SELECT …\"");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let statements = self.up.as_deref().map_or(Vec::new(), statements);
        let said = self.description.clone().unwrap_or_else(|| statements.first().map_or(String::new(), headline));
        vec![Unit {
            id: cx.unit("sql"),
            title: said,
            lock: statements.iter().map(lock).max_by_key(|lock| lock.level).unwrap_or_else(Lock::none),
            up: self.op(&statements),
            down: self.undo(),
            probe: self.probe.as_ref().map_or(Probe::Ledger, probe),
            loses: None,
            guards_rows: false,
            grows: Growth::Unknown,
        }]
    }
}

impl Sql {
    /// Brings the files' text to `up` and `down`, and finds what is there twice or not at all.
    fn read_files(&mut self, site: &mut Site<'_>) {
        match (&self.up, &self.up_file) {
            (None, Some(path)) => self.up = site.read("up_file", path),
            (Some(_), Some(_)) => {
                site.error("up_file", "TM0280", "`up` and `up_file` are both there").help("write one of them")
            }
            (None, None) => site.error("up", "TM0280", "neither `up` nor `up_file` is there").help("write one of them"),
            (Some(_), None) => {}
        }
        match (&self.down, &self.down_file) {
            (Some(_), Some(_)) => {
                site.error("down_file", "TM0281", "`down` and `down_file` are both there").help("write one of them")
            }
            (None, None) => site
                .error("down", "TM0281", "the step has no way back: neither `down` nor `down_file` is there")
                .help("write the SQL that undoes it, or down = false and irreversible = \"why\""),
            (None, Some(path)) => self.down = site.read("down_file", path).map(Undo::Script),
            (Some(_), None) => {}
        }
        let why = self.irreversible.as_deref().map(str::trim);
        match (&self.down, why) {
            (Some(Undo::Refused), None | Some("")) => site
                .error("down", "TM0282", "`down = false` without a reason")
                .help("write irreversible = \"why\": the line is read by whoever reviews the plan, and by whoever rolls back"),
            (Some(Undo::Script(_)), Some(_)) => site
                .error("irreversible", "TM0282", "`irreversible` beside a `down` that undoes the step")
                .help("leave it out, or write down = false"),
            (Some(Undo::Refused), Some(_)) | (Some(Undo::Script(_)) | None, None) | (None, Some(_)) => {}
        }
    }

    fn check_statements(&self, key: &str, statements: &[Statement], site: &mut Site<'_>) {
        // A `down` may be an ordinary script even where `up` is not.
        if !self.transaction && key.starts_with("up") && statements.len() > 1 {
            site.error(
                key,
                "TM0284",
                format!("transaction = false takes one statement, and here are {}", statements.len()),
            )
            .help("write a step for each, so that a crash between them leaves none half done");
        }
        for statement in statements {
            self.check_statement(key, statement, statements.len(), site);
        }
    }

    fn check_statement(&self, key: &str, statement: &Statement, all: usize, site: &mut Site<'_>) {
        let head = headline(statement);
        let refused = format!("PostgreSQL refuses `{head}` inside a transaction");
        // Where `up` has more than one, that is told already.
        let can_stand = !self.transaction && (all == 1 || key.starts_with("up"));
        match command(&words(&statement.text)) {
            Command::Plain => {}
            Command::Alone if can_stand => {}
            Command::Transaction(why) => site
                .error(key, "TM0285", format!("`{head}` {why}"))
                .help("leave it out: the statements run in one transaction, which commits with the ledger's record"),
            Command::Alone => site
                .error(key, "TM0286", refused)
                .help("make it a step of its own with transaction = false and a probe"),
            Command::AloneAndLeavesIndex if can_stand => site
                .warning(key, "TM0286", format!("`{head}` leaves an invalid index behind when it fails"))
                .help(CREATE_INDEX),
            Command::AloneAndLeavesIndex => site.error(key, "TM0286", refused).help(CREATE_INDEX),
            Command::Role => site
                .warning(key, "TM0287", format!("`{head}` makes the rest of the transaction run as another role"))
                .help("end with RESET ROLE: the ledger's record is written in the same transaction"),
            Command::RowSecurity => site
                .warning(key, "TM0287", format!("`{head}` hides rows from the step instead of failing"))
                .help("leave it out: row_security is off, so that what row-level security would cut short fails aloud"),
            Command::Session => site
                .warning(key, "TM0287", format!("`{head}` changes the session beyond the step"))
                .help("write SET LOCAL, which ends with the step's transaction"),
        }
    }

    fn op(&self, statements: &[Statement]) -> Op {
        let mut texts: Vec<Stmt> = statements.iter().map(|s| Stmt::raw(s.text.clone())).collect();
        let alone = !self.transaction && texts.len() == 1;
        match texts.pop() {
            Some(stmt) if alone => Op::Autocommit { stmt, repair: Vec::new(), due: None },
            last => {
                texts.extend(last);
                Op::Tx(texts)
            }
        }
    }

    fn undo(&self) -> Down {
        match &self.down {
            Some(Undo::Script(text)) => {
                let down = statements(text);
                let alone = down.iter().any(|s| is_alone(&s.text));
                match down.as_slice() {
                    [] => Down::Nothing { why: comment(text) },
                    down if alone => Down::Op(self.op(down)),
                    down => Down::tx(down.iter().map(|s| Stmt::raw(s.text.clone())).collect::<Vec<_>>()),
                }
            }
            Some(Undo::Refused) | None => Down::Irreversible { why: self.irreversible.clone().unwrap_or_default() },
        }
    }
}

/// The statements of a script that `check` found no error in.
fn statements(text: &str) -> Vec<Statement> {
    split(text).unwrap_or_default()
}

fn is_alone(text: &str) -> bool {
    matches!(command(&words(text)), Command::Alone | Command::AloneAndLeavesIndex)
}

fn script(key: &str, text: &str, site: &mut Site<'_>) -> Option<Vec<Statement>> {
    if mask(text).contains('\\') {
        site.error(key, "TM0285", "a backslash command is psql's and not SQL")
            .help("the statements go to the server as they stand; write them out");
        return None;
    }
    match split(text) {
        Ok(statements) => Some(statements),
        Err(why) => {
            site.error(key, "TM0288", format!("`{key}` is not a script of SQL statements: {why}"));
            None
        }
    }
}

fn probe(query: &Expr) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN ({}) THEN 'present' ELSE 'absent' END AS presence, NULL::text AS found, NULL::text[] AS restore",
        query
    ))
}

/// The first words of a statement, for people.
fn headline(statement: &Statement) -> String {
    const WORDS: usize = 6;
    let code: Vec<&str> = statement.text.lines().map(str::trim).filter(|line| !line.starts_with("--")).collect();
    let words: Vec<&str> = code.iter().flat_map(|line| line.split_whitespace()).collect();
    let dots = if words.len() > WORDS { " …" } else { "" };
    format!("{}{dots}", words.get(..WORDS).unwrap_or(&words).join(" "))
}

/// The text of a script that is only comments.
fn comment(text: &str) -> String {
    let lines =
        text.lines().map(|line| line.trim().trim_start_matches(['-', '/', '*']).trim_end_matches(['*', '/']).trim());
    lines.filter(|line| !line.is_empty() && *line != ";").collect::<Vec<_>>().join(" ")
}

/// The lock that the first words tell, or the strongest where they do not. The tables are not known.
fn lock(statement: &Statement) -> Lock {
    let words = words(&statement.text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let changes = |w: &&str| ["INSERT", "UPDATE", "DELETE", "MERGE"].contains(w);
    let (level, hold) = match words.as_slice() {
        ["VACUUM", ..] if !words.contains(&"FULL") => (LockLevel::ShareUpdateExclusive, Hold::Scan),
        _ if is_alone(&statement.text) && words.contains(&"CONCURRENTLY") => {
            (LockLevel::ShareUpdateExclusive, Hold::Scan)
        }
        ["INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY", ..] => (LockLevel::RowExclusive, Hold::Scan),
        ["SELECT" | "WITH", ..] if words.iter().any(changes) => (LockLevel::RowExclusive, Hold::Scan),
        ["SELECT" | "WITH" | "VALUES" | "TABLE" | "EXPLAIN", ..] => (LockLevel::AccessShare, Hold::Scan),
        ["SET" | "RESET" | "SHOW", ..] => (LockLevel::None, Hold::Moment),
        ["ANALYZE" | "ANALYSE", ..] => (LockLevel::ShareUpdateExclusive, Hold::Scan),
        ["COMMENT", ..] => (LockLevel::ShareUpdateExclusive, Hold::Moment),
        ["CREATE", "INDEX", ..] | ["CREATE", "UNIQUE", "INDEX", ..] => (LockLevel::Share, Hold::Scan),
        ["CREATE", "TRIGGER", ..] | ["CREATE", "OR", "REPLACE", "TRIGGER", ..] => {
            (LockLevel::ShareRowExclusive, Hold::Moment)
        }
        // They lock what they name and no table.
        ["CREATE" | "DROP", "FUNCTION" | "PROCEDURE" | "SCHEMA" | "TYPE" | "DOMAIN" | "ROLE" | "SEQUENCE", ..]
        | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
        | ["GRANT" | "REVOKE", ..] => (LockLevel::None, Hold::Moment),
        ["ALTER" | "CREATE" | "DROP" | "TRUNCATE", ..] => (LockLevel::AccessExclusive, Hold::Moment),
        _ => (LockLevel::AccessExclusive, Hold::Scan),
    };
    Lock { level, on: Vec::new(), hold }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::parse;

    #[track_caller]
    fn check(keys: &str, expect: &[&str]) {
        let plan = format!("format = 1\nname = 'p'\n[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'sql'\n{keys}");
        let (_, diags) = parse(&plan, &|path| if path == "x.sql" { Ok("SELECT 1".into()) } else { Err("no".into()) });
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{keys}: {diags:?}");
    }

    #[test]
    fn both_directions_are_there_once() {
        check("up = 'SELECT 1'\ndown = 'SELECT 1'", &[]);
        check("up_file = 'x.sql'\ndown_file = 'x.sql'", &[]);
        check("up = 'SELECT 1'", &["TM0281"]);
        check("down = 'SELECT 1'", &["TM0280"]);
        check("up = 'SELECT 1'\nup_file = 'x.sql'\ndown = 'SELECT 1'\ndown_file = 'x.sql'", &["TM0280", "TM0281"]);
        check("up_file = 'y.sql'\ndown = 'SELECT 1'", &["TM0109"]);
        check("up = 'SELECT 1'\ndown = false", &["TM0282"]);
        check("up = 'SELECT 1'\ndown = false\nirreversible = ' '", &["TM0282"]);
        check("up = 'SELECT 1'\ndown = false\nirreversible = 'the rows are gone'", &[]);
        check("up = 'SELECT 1'\ndown = 'SELECT 1'\nirreversible = 'no'", &["TM0282"]);
        check("up = 'SELECT 1'\ndown = true", &["TM0103"]);
        check("up = 'SELECT 1'\ndown = ''", &["TM0283"]);
        check("up = 'SELECT 1'\ndown = '-- may stay'", &[]);
        check("up = ' ; '\ndown = 'SELECT 1'", &["TM0283"]);
        check("up = 'SELECT (1'\ndown = 'SELECT 1'", &["TM0288"]);
    }

    #[test]
    fn what_breaks_the_transaction_is_found() {
        let up = |sql: &str| format!("up = \"\"\"{sql}\"\"\"\ndown = 'SELECT 1'");
        check(&up("BEGIN; SELECT 1; COMMIT"), &["TM0285", "TM0285"]);
        check(&up("-- first\nrollback to x"), &["TM0285"]);
        check(&up("DO $$ BEGIN NULL; END $$; SELECT 'COMMIT'"), &[]);
        check(&up("\\\\i other.sql"), &["TM0285"]);
        check(&up("SELECT 1 \\\\gset"), &["TM0285"]);
        check(&up("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)"), &["TM0286"]);
        check(&up("VACUUM app.t"), &["TM0286"]);
        check(&up("ALTER SYSTEM SET work_mem = 1"), &["TM0286"]);
        check(&up("SET ROLE app"), &["TM0287"]);
        check(&up("SET LOCAL row_security = on"), &["TM0287"]);
        check(&up("COPY t (a) FROM STDIN"), &["TM0285"]);
        check(&up("SET work_mem = '1GB'"), &["TM0287"]);
        check(&up("SET LOCAL work_mem = '1GB'"), &[]);
    }

    #[test]
    fn outside_a_transaction_stands_one_statement_with_a_probe() {
        let keys = |sql: &str| format!("up = '{sql}'\ndown = 'SELECT 1'\ntransaction = false\nprobe = 'SELECT true'");
        check(&keys("VACUUM app.t"), &[]);
        check(&keys("VACUUM app.t; SELECT 1"), &["TM0284"]);
        check(&keys("CREATE INDEX CONCURRENTLY i ON t (a)"), &["TM0286"]);
        check("up = 'VACUUM t'\ndown = '-- no'\ntransaction = false", &["TM0284"]);
        check("up = 'SELECT 1'\ndown = '-- no'\nprobe = 'a = 1'", &["TM0270"]);
    }

    #[test]
    fn the_lock_follows_from_the_first_words() {
        let level = |text: &str| lock(&split(text).unwrap()[0]).level;
        assert_eq!(level("/* x */ update t set a = 1"), LockLevel::RowExclusive);
        assert_eq!(level("SELECT 'UPDATE'"), LockLevel::AccessShare);
        assert_eq!(level("WITH d AS (DELETE FROM t) SELECT 1"), LockLevel::RowExclusive);
        assert_eq!(level("ALTER TABLE t ADD a int"), LockLevel::AccessExclusive);
        assert_eq!(level("DROP INDEX CONCURRENTLY i"), LockLevel::ShareUpdateExclusive);
        assert_eq!(level("VACUUM (FULL) t"), LockLevel::AccessExclusive);
        assert_eq!(level("DO $$ $$"), LockLevel::AccessExclusive);
        assert_eq!(level("CREATE OR REPLACE FUNCTION f() RETURNS int AS 'x'"), LockLevel::None);
        assert_eq!(level("CREATE TRIGGER t BEFORE INSERT ON x"), LockLevel::ShareRowExclusive);
    }
}

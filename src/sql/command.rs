//! What a statement does to the transaction and the session that it runs in, by its first words.

use super::lex::mask;

/// What a statement does beyond its own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Nothing: it can stand in a transaction with others.
    Plain,
    /// It opens, ends or takes back the transaction; in words.
    Transaction(&'static str),
    /// PostgreSQL refuses it inside a transaction block (the callers of `PreventInTransactionBlock`).
    Alone,
    /// Likewise, and what fails half way leaves an invalid index behind.
    AloneAndLeavesIndex,
    /// The statements after it run as another role.
    Role,
    /// It sets `row_security`.
    RowSecurity,
    /// A setting outlives the transaction.
    Session,
}

/// The words of `text` outside quotes and comments, in upper case.
pub fn words(text: &str) -> Vec<String> {
    let code = mask(text).to_ascii_uppercase();
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// What the statement with these [`words`] does.
pub fn command(words: &[String]) -> Command {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["BEGIN" | "START", ..] => Command::Transaction("opens a transaction"),
        ["COMMIT" | "END", ..] | ["PREPARE", "TRANSACTION", ..] => Command::Transaction("ends the step's transaction"),
        ["ROLLBACK" | "ABORT", ..] => Command::Transaction("takes back the step's transaction"),
        ["SAVEPOINT" | "RELEASE", ..] | ["SET", "TRANSACTION", ..] | ["SET", "LOCAL", "TRANSACTION", ..] => {
            Command::Transaction("controls the step's transaction")
        }
        ["COPY", .., "FROM", "STDIN"] => Command::Transaction("waits for rows that nobody sends"),
        ["SET", "ROLE", ..] | ["SET", "LOCAL" | "SESSION", "ROLE", ..] => Command::Role,
        ["SET", "SESSION", "AUTHORIZATION", ..] | ["SET", "LOCAL", "SESSION", "AUTHORIZATION", ..] => Command::Role,
        ["SET", "ROW_SECURITY", ..] | ["SET", "LOCAL" | "SESSION", "ROW_SECURITY", ..] => Command::RowSecurity,
        ["SET", "LOCAL" | "CONSTRAINTS", ..] | ["RESET", "ROLE"] => Command::Plain,
        ["DISCARD", "ALL"] => Command::Alone,
        ["SET" | "RESET" | "DISCARD", ..] => Command::Session,
        other => alone(other),
    }
}

fn alone(words: &[&str]) -> Command {
    let concurrently = words.contains(&"CONCURRENTLY");
    match words {
        ["CREATE", "INDEX", ..] | ["CREATE", "UNIQUE", "INDEX", ..] | ["REINDEX", ..] if concurrently => {
            Command::AloneAndLeavesIndex
        }
        ["DROP", "INDEX", ..] if concurrently => Command::Alone,
        ["ALTER", "TABLE", ..] if concurrently && words.contains(&"DETACH") => Command::Alone,
        ["REINDEX", "DATABASE" | "SYSTEM" | "SCHEMA", ..] | ["VACUUM", ..] => Command::Alone,
        ["CLUSTER"] | ["CLUSTER", "VERBOSE"] => Command::Alone,
        ["CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..] => Command::Alone,
        ["ALTER", "SYSTEM" | "SUBSCRIPTION", ..] | ["ALTER", "DATABASE", .., "SET", "TABLESPACE", _] => Command::Alone,
        _ => Command::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Command) {
        let got = command(&words(text));
        match (got, expect) {
            (Command::Transaction(_), Command::Transaction("")) => {}
            (got, expect) => assert_eq!(got, expect, "{text}"),
        }
    }

    #[test]
    fn the_first_words_tell() {
        check("-- first\nrollback to x", Command::Transaction(""));
        check("COPY t (a) FROM STDIN", Command::Transaction(""));
        check("DO $$ BEGIN NULL; END $$", Command::Plain);
        check("create unique index concurrently i on t (a)", Command::AloneAndLeavesIndex);
        check("CREATE INDEX i ON t (a)", Command::Plain);
        check("VACUUM (ANALYZE) app.t", Command::Alone);
        check("ALTER SYSTEM SET work_mem = 1", Command::Alone);
        check("ALTER TABLE p DETACH PARTITION app.p1 CONCURRENTLY", Command::Alone);
        check("DROP INDEX CONCURRENTLY i", Command::Alone);
        check("CLUSTER app.t USING i", Command::Plain);
        check("SET LOCAL ROLE app", Command::Role);
        check("SET SESSION AUTHORIZATION app", Command::Role);
        check("SET LOCAL row_security = on", Command::RowSecurity);
        check("SET work_mem = '1GB'", Command::Session);
        check("SET LOCAL work_mem = '1GB'", Command::Plain);
        check("SELECT 'COMMIT'", Command::Plain);
    }
}

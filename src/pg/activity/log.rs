//! Statements that the server refused with 42501, read from its log: no counter and no view has them.

use tokio_postgres::{Client, types::Type};

use crate::pg::Fault;

/// One answer of the server.
const CHUNK_BYTES: i64 = 1 << 20;
/// Of a log that grows faster than this between two looks the rest is passed over: the count is then too small, never too large.
const CHUNKS_MAX: usize = 16;

/// The server's log, from a moment on.
#[derive(Debug, Clone)]
pub struct RefusalLog {
    form: Form,
    database: String,
    file: String,
    offset: i64,
    counted: i64,
}

/// The forms that have the SQLSTATE in a place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Json,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csvlog",
            Self::Json => "jsonlog",
        }
    }

    /// Whether this line tells of such a refusal. In a CSV line all of it stands before the message, which may have line breaks.
    fn is_refusal(self, line: &str, database: &str) -> bool {
        match self {
            Self::Csv => {
                line.contains(",ERROR,42501,") && line.contains(&format!(",\"{}\",", database.replace('"', "\"\"")))
            }
            Self::Json => {
                let wanted = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
                line.contains("\"42501\"")
                    && wanted(line).is_some_and(|value| value["state_code"] == "42501" && value["dbname"] == database)
            }
        }
    }
}

impl RefusalLog {
    /// From now on; or why it cannot be read, in words.
    pub async fn open(client: &Client) -> Result<Result<Self, String>, Fault> {
        let query = "SELECT current_database()::text, current_setting('logging_collector') = 'on', current_setting('log_destination'),
                    NOT EXISTS (SELECT FROM unnest('{pg_current_logfile(text),\"pg_stat_file(text,boolean)\",\"pg_read_binary_file(text,bigint,bigint,boolean)\"}'::text[]) f
                                 WHERE NOT has_function_privilege(f, 'EXECUTE'))";
        let row = client.query_typed_one(query, &[]).await?;
        let (database, collects, destinations): (String, bool, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let has = |form: Form| destinations.split(',').any(|one| one.trim() == form.name());
        let Some(form) = [Form::Csv, Form::Json].into_iter().find(|form| has(*form)).filter(|_| collects) else {
            return Ok(Err(
                "the server writes neither csvlog nor jsonlog (log_destination, logging_collector)".to_owned()
            ));
        };
        if !row.try_get::<_, bool>(3)? {
            return Ok(Err(
                "this role may not read the server's log: pg_monitor, and EXECUTE on pg_stat_file(text, boolean) and \
                pg_read_binary_file(text, bigint, bigint, boolean)"
                    .to_owned(),
            ));
        }
        let Some((file, size)) = current(client, form).await? else {
            return Ok(Err("the server has no log file at present".to_owned()));
        };
        Ok(Ok(Self { form, database, file, offset: size, counted: 0 }))
    }

    /// How many there were since it was opened.
    pub(super) async fn read(&mut self, client: &Client) -> Result<i64, Fault> {
        let now = current(client, self.form).await?;
        let rotated = now.as_ref().is_some_and(|(file, _)| *file != self.file);
        self.read_file(client).await?;
        if let Some((file, _)) = now.filter(|_| rotated) {
            (self.file, self.offset) = (file, 0);
            self.read_file(client).await?;
        }
        Ok(self.counted)
    }

    async fn read_file(&mut self, client: &Client) -> Result<(), Fault> {
        let query = "SELECT pg_read_binary_file($1, $2, $3, true)";
        for _ in 0..CHUNKS_MAX {
            let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
                [(&self.file, Type::TEXT), (&self.offset, Type::INT8), (&CHUNK_BYTES, Type::INT8)];
            let bytes: Option<Vec<u8>> = client.query_typed_one(query, &params).await?.try_get(0)?;
            let bytes = bytes.unwrap_or_default();
            // The line that is being written is read the next time. One longer than a chunk is passed over.
            let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if i64::try_from(bytes.len()).unwrap_or(CHUNK_BYTES) == CHUNK_BYTES => bytes.len(),
                None => return Ok(()),
            };
            let text = String::from_utf8_lossy(&bytes[..whole]);
            let found = text.lines().filter(|line| self.form.is_refusal(line, &self.database)).count();
            self.counted += i64::try_from(found).unwrap_or(0);
            self.offset += i64::try_from(whole).unwrap_or(CHUNK_BYTES);
        }
        // Behind by more than that: from the end on again.
        if let Some((file, size)) = current(client, self.form).await?
            && file == self.file
        {
            self.offset = self.offset.max(size);
        }
        Ok(())
    }
}

async fn current(client: &Client, form: Form) -> Result<Option<(String, i64)>, Fault> {
    let query = "SELECT f.name, (pg_stat_file(f.name, true)).size FROM (SELECT pg_current_logfile($1) AS name) AS f WHERE f.name IS NOT NULL";
    let row = client.query_typed_opt(query, &[(&form.name(), Type::TEXT)]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get::<_, Option<i64>>(1)?.unwrap_or(0)))).transpose()
}

#[cfg(test)]
mod tests {
    use super::Form;

    const CSV: &str = r#"2026-11-21 20:00:00.000 UTC,"app","shop",4711,"[local]",65.1,3,"INSERT",2026-11-21 19:00:00 UTC,3/9,0,ERROR,42501,"new row violates row-level security policy for table ""trades""",,,,,,"INSERT …",,,"psql","client backend",,0"#;
    const JSON: &str = r#"{"timestamp":"2026-11-21 20:00:00.000 UTC","user":"app","dbname":"shop","pid":4711,"error_severity":"ERROR","state_code":"42501","message":"permission denied"}"#;

    #[test]
    fn a_refusal_is_told_by_its_state_and_its_database() {
        for (form, line) in [(Form::Csv, CSV), (Form::Json, JSON)] {
            assert!(form.is_refusal(line, "shop"), "{line}");
            assert!(!form.is_refusal(line, "shop2"), "{line}");
            assert!(!form.is_refusal(&line.replace("42501", "23505"), "shop"), "{line}");
        }
        assert!(!Form::Csv.is_refusal(r#"ts,"app","shop",1,,,,,,,,LOG,00000,"a text of 42501""#, "shop"));
    }
}

//! A database of a test's own, with superuser conveniences; dropped with its roles at the test's end.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls, types::FromSql};

use super::server::{block_on, cluster, runtime};

/// Keeps databases and roles at a test's end, for a look by psql from a debugger's stop.
const KEEP_VARIABLE: &str = "TENANTMIG_TEST_KEEP";
/// PostgreSQL cuts longer names short (NAMEDATALEN - 1); room is left for a role's own part.
const NAME_BYTES_MAX: usize = 40;
const IDENTIFIER_BYTES_MAX: usize = 63;

/// A test's own database on the shared cluster.
#[derive(Debug)]
pub struct Db {
    name: String,
    roles: Mutex<Vec<String>>,
}

/// Creates an empty database for one test; `name` is any text, for people.
#[track_caller]
pub fn database(name: &str) -> Db {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let mut safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    safe.truncate(NAME_BYTES_MAX - 8);
    let name = format!("t{}_{safe}", SERIAL.fetch_add(1, Ordering::Relaxed));
    execute_on("postgres", format!("CREATE DATABASE {name} TEMPLATE template0"));
    Db { name, roles: Mutex::default() }
}

impl Db {
    /// The database's name: lower case, digits and underscores, so it needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// URL as the superuser.
    pub fn url(&self) -> String {
        cluster().url(&self.name)
    }

    /// URL as `role`, which is what `role()` returned.
    pub fn url_as(&self, role: &str) -> String {
        cluster().url_as(role, &self.name)
    }

    /// A new superuser connection.
    pub async fn client(&self) -> Client {
        connect(self.url()).await
    }

    /// A new connection as `role`.
    pub async fn client_as(&self, role: &str) -> Client {
        connect(self.url_as(role)).await
    }

    /// Runs statements (several allowed) as the superuser on a connection of their own. Works in sync and async tests.
    #[track_caller]
    pub fn sql(&self, statements: &str) {
        execute_on(&self.name, statements.to_owned());
    }

    /// Runs statements as `role`; the server's message if it refused.
    pub fn sql_as(&self, role: &str, statements: &str) -> Result<(), String> {
        execute(self.url_as(role), statements.to_owned())
    }

    /// The first column of the one row of `query`. A type that is not text, a number or a flag needs a cast.
    #[track_caller]
    pub fn one<T>(&self, query: &str) -> T
    where
        T: for<'a> FromSql<'a> + Send + 'static,
    {
        one(self.url(), query).unwrap_or_else(|error| panic!("{query}\n{error}"))
    }

    /// As `one`, as `role`; the server's message if it refused.
    pub fn one_as<T>(&self, role: &str, query: &str) -> Result<T, String>
    where
        T: for<'a> FromSql<'a> + Send + 'static,
    {
        one(self.url_as(role), query)
    }

    /// Creates a role and returns its name, which is `DATABASE_name`: roles are shared by all databases. No
    /// quotes needed. `attributes` as in CREATE ROLE, for example `LOGIN NOBYPASSRLS`.
    #[track_caller]
    pub fn role(&self, name: &str, attributes: &str) -> String {
        let role = format!("{}_{name}", self.name);
        assert!(role.len() <= IDENTIFIER_BYTES_MAX, "{role} would be cut short");
        assert!(role.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit()), "{role}");
        self.sql(&format!("CREATE ROLE {role} {attributes}"));
        self.roles.lock().unwrap().push(role.clone());
        role
    }

    /// Runs a script by the real psql, which stops at the first error; returns what it printed.
    #[track_caller]
    pub fn psql(&self, script: &str) -> String {
        self.try_psql(script).unwrap_or_else(|error| panic!("psql: {error}\n{script}"))
    }

    /// As `psql`; what it wrote to stderr if it failed.
    pub fn try_psql(&self, script: &str) -> Result<String, String> {
        let mut command = client_program("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("psql runs");
        let mut stdin = child.stdin.take().unwrap();
        let script = script.to_owned();
        // From another thread, since psql may print more than a pipe holds before it has read all.
        let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
        let out = child.wait_with_output().unwrap();
        let written = writer.join().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // A psql that stopped at an error need not have read the rest; one that succeeded must have.
        if !out.status.success() {
            return Err(text(&out.stderr));
        }
        written.expect("psql read the whole script");
        Ok(text(&out.stdout))
    }

    /// `pg_dump --schema-only` without the schema `tenantmig`, and without the lines that differ between
    /// two dumps of the same thing (versions, the random keys of \restrict).
    #[track_caller]
    pub fn pg_dump_schema(&self) -> String {
        let out = client_program("pg_dump")
            .args([
                "--schema-only",
                "--exclude-schema=tenantmig",
                "--exclude-schema=tenantmig_aside_*",
                "-d",
                &self.url(),
            ])
            .output()
            .expect("pg_dump runs");
        assert!(out.status.success(), "pg_dump: {}", String::from_utf8_lossy(&out.stderr));
        let dump = String::from_utf8(out.stdout).unwrap();
        let varies = |line: &str| {
            ["\\restrict ", "\\unrestrict ", "-- Dumped from", "-- Dumped by"].iter().any(|p| line.starts_with(p))
        };
        dump.lines().filter(|line| !varies(line)).map(|line| format!("{line}\n")).collect()
    }

    /// MD5 over the rows of `table` (SQL text, quoted as need be) in the order of their text.
    #[track_caller]
    pub fn checksum(&self, table: &str) -> String {
        self.one(&format!(
            "SELECT md5(coalesce(string_agg(md5(r::text), '' ORDER BY r::text COLLATE \"C\"), '')) FROM {table} AS r"
        ))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if std::env::var_os(KEEP_VARIABLE).is_some() {
            eprintln!("kept: {}", self.url());
            return;
        }
        let mut failures = Vec::new();
        let mut attempt = |sql: String| failures.extend(execute(cluster().url("postgres"), sql).err());
        attempt(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let roles = self.roles.get_mut().map(std::mem::take).unwrap_or_default();
        if !roles.is_empty() {
            attempt(format!("DROP ROLE IF EXISTS {}", roles.join(", ")));
        }
        // A panic while another one unwinds would abort the run.
        if !failures.is_empty() && !std::thread::panicking() {
            panic!("could not clean up {}: {}", self.name, failures.join("; "));
        }
    }
}

/// Whether `pg_dump_schema` can work: pg_dump refuses a server newer than itself, and a folder of server programs
/// given by TENANTMIG_TEST_PG_BINDIR need not hold one. A test that returns on `false` says so on stderr.
pub fn pg_dump_fits() -> bool {
    let out = client_program("pg_dump").arg("--version").output().expect("pg_dump runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let major = text.split(|c: char| !c.is_ascii_digit()).find_map(|number| number.parse::<u32>().ok());
    major.expect("pg_dump tells its version") >= cluster().binaries().major()
}

/// Connects, the connection's own task being driven by the harness's runtime whatever the test does.
async fn connect(url: String) -> Client {
    try_connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_connect(url: String) -> Result<Client, String> {
    let connecting = runtime().spawn(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    });
    connecting.await.unwrap().map_err(|error: tokio_postgres::Error| message(&error))
}

#[track_caller]
fn execute_on(database: &str, sql: String) {
    let url = cluster().url(database);
    execute(url, sql.clone()).unwrap_or_else(|error| panic!("{sql}\n{error}"));
}

fn execute(url: String, sql: String) -> Result<(), String> {
    block_on(async move {
        let client = try_connect(url).await?;
        client.batch_execute(&sql).await.map_err(|error| message(&error))
    })
}

fn one<T>(url: String, query: &str) -> Result<T, String>
where
    T: for<'a> FromSql<'a> + Send + 'static,
{
    let query = query.to_owned();
    block_on(async move {
        let client = try_connect(url).await?;
        let row = client.query_one(&query, &[]).await.map_err(|error| message(&error))?;
        row.try_get(0).map_err(|error| message(&error))
    })
}

/// `SQLSTATE: message`, of which the driver's own Display shows neither.
fn message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => format!("{error} {:?}", std::error::Error::source(error)),
    }
}

/// psql or pg_dump of the cluster's own version where it has them, without the caller's settings.
fn client_program(name: &str) -> Command {
    let mut command = Command::new(cluster().binaries().program(name));
    for (variable, _) in std::env::vars_os().filter(|(v, _)| v.to_string_lossy().starts_with("PG")) {
        command.env_remove(variable);
    }
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

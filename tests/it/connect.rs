//! Sessions on the real server: their settings, role, cancelling, loss, hosts in turn, refused logins.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tenantmig::pg::connect::{ConnectError, Connection, SessionSpec, TlsState, connect};
use tenantmig::pg::settings::{ConnectFlags, Environment, resolve};

use crate::harness::{cluster, database};

pub async fn try_connect(text: &str, role: Option<&str>) -> Result<Connection, ConnectError> {
    let flags =
        ConnectFlags { dbname: Some(text.to_owned()), role: role.map(str::to_owned), ..ConnectFlags::default() };
    let settings = resolve(&flags, &Environment::of(&[("USER", "postgres")]))?;
    assert!(!format!("{settings:?}").contains("hunter2"));
    connect(&settings, &SessionSpec::new("tenantmig test", Duration::from_millis(1500))).await
}

pub async fn ask(connection: &Connection, query: &str) -> String {
    connection.client.query_typed(query, &[]).await.unwrap()[0].get(0)
}

#[tokio::test]
async fn a_session_has_its_settings() {
    let db = database("session");
    db.sql(&format!("ALTER DATABASE {} SET statement_timeout = '5s'", db.name()));
    let connection = try_connect(&format!("{}?application_name=job", db.url()), None).await.unwrap();
    assert_eq!((connection.tls, connection.pooled, connection.in_recovery), (TlsState::Off, false, false));
    assert_eq!(connection.server_version_num.to_string(), ask(&connection, "SHOW server_version_num").await);
    assert_eq!(connection.backend_pid.to_string(), ask(&connection, "SELECT pg_backend_pid()::text").await);
    for (name, value) in [
        ("row_security", "off"),
        ("lock_timeout", "1500ms"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("application_name", "tenantmig test (job)"),
        ("datestyle", "ISO, YMD"),
        ("search_path", "\"$user\", public"),
    ] {
        assert_eq!(ask(&connection, &format!("SHOW {name}")).await, value, "{name}");
    }
    if connection.server_version_num >= 140_000 {
        assert_eq!(ask(&connection, "SHOW client_connection_check_interval").await, "500ms");
    }
    assert!(connection.warnings.is_empty());
}

#[tokio::test]
async fn a_session_takes_its_role_or_says_why_not() {
    let db = database("role");
    let (login, owner) = (db.role("login", "LOGIN"), db.role("owner", "NOLOGIN"));
    let stranger = db.role("stranger", "NOLOGIN");
    db.sql(&format!("GRANT {owner} TO {login}"));
    let connection = try_connect(&db.url_as(&login), Some(&owner)).await.unwrap();
    assert_eq!(ask(&connection, "SELECT current_user::text").await, owner);
    assert_eq!(ask(&connection, "SELECT session_user::text").await, login);
    for role in [stranger.as_str(), "no such role"] {
        let error = try_connect(&db.url_as(&login), Some(role)).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("TM0932", 77), "{error}");
        assert!(error.to_string().contains(role), "{error}");
    }
}

#[tokio::test]
async fn settings_can_be_local_to_a_transaction() {
    let db = database("local");
    let mut connection = try_connect(&db.url(), None).await.unwrap();
    connection.client.batch_execute("SET lock_timeout = '9s'").await.unwrap();
    let settings = connection.settings.clone();
    let transaction = connection.client.transaction().await.unwrap();
    settings.apply(&transaction, true).await.unwrap();
    let inside: String = transaction.query_one("SHOW lock_timeout", &[]).await.unwrap().get(0);
    transaction.commit().await.unwrap();
    assert_eq!((inside.as_str(), ask(&connection, "SHOW lock_timeout").await.as_str()), ("1500ms", "9s"));
}

#[tokio::test]
async fn a_running_statement_can_be_cancelled() {
    let db = database("cancel");
    let connection = try_connect(&db.url(), None).await.unwrap();
    let begin = Instant::now();
    let (slept, cancelled) = tokio::join!(connection.client.batch_execute("SELECT pg_sleep(60)"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        connection.cancel().await
    });
    assert_eq!(cancelled, Ok(()));
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");
    assert!(begin.elapsed() < Duration::from_secs(20) && connection.lost_because().is_none());
}

#[tokio::test]
async fn a_lost_session_knows_why() {
    let db = database("terminated");
    let connection = try_connect(&db.url(), None).await.unwrap();
    db.sql(&format!("SELECT pg_terminate_backend({})", connection.backend_pid));
    // The client idles, so the server's last words answer no query and are only here.
    for _ in 0..100 {
        if connection.lost_because().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(connection.lost_because().unwrap().contains("administrator command"), "{:?}", connection.lost_because());
    assert!(connection.client.batch_execute("SELECT 1").await.unwrap_err().is_closed());

    let mut own = tokio::task::spawn_blocking(|| Cluster::start(ClusterOptions::default()).unwrap()).await.unwrap();
    let connection = try_connect(&own.url("postgres"), None).await.unwrap();
    own.kill_9().unwrap();
    let error = connection.client.batch_execute("SELECT 1").await.unwrap_err();
    // Its backend may have noticed the postmaster's end first and said so (57P01); else the reason is here at once.
    assert!(error.code().is_some_and(|c| c.code() == "57P01") || connection.lost_because().is_some(), "{error}");
    assert!(connection.cancel().await.unwrap_err().contains("refused"));
}

#[tokio::test]
async fn hosts_are_tried_in_turn() {
    let db = database("hosts");
    let port = cluster().port();
    let base = format!("dbname={} user=postgres sslmode=disable", db.name());
    let connection = try_connect(&format!("{base} host=127.0.0.2,127.0.0.1 port={port}"), None).await.unwrap();
    assert_eq!(connection.at, format!("127.0.0.1:{port}"));
    // The database's default makes every server read-only to a session that wants to write.
    db.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", db.name()));
    let one = format!("{base} host=127.0.0.1 port={port}");
    for (wanted, code) in [
        ("any", None),
        ("read-only", None),
        ("primary", None),
        ("prefer-standby", None),
        ("read-write", Some("TM0916")),
        ("standby", Some("TM0916")),
    ] {
        let result = try_connect(&format!("{one} target_session_attrs={wanted}"), None).await;
        assert_eq!(result.as_ref().err().map(ConnectError::code), code, "{wanted}: {result:?}");
    }
    let error = try_connect(&format!("{base} host=127.0.0.1,127.0.0.2 port={port}"), None).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("TM0916", 69), "{error}");
    // A refused login ends the search: the same would be refused everywhere.
    let error = try_connect(&format!("host=127.0.0.1,127.0.0.2 port={port} user=no_such"), None).await.unwrap_err();
    assert_eq!(error.code(), "TM0923", "{error}");
}

#[tokio::test]
async fn a_socket_is_never_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let conf = ("unix_socket_directories".to_owned(), dir.path().to_str().unwrap().to_owned());
    let options = ClusterOptions { extra_conf: vec![conf], ..ClusterOptions::default() };
    let own = tokio::task::spawn_blocking(|| Cluster::start(options).unwrap()).await.unwrap();
    let text = format!("host={} port={} user=postgres sslmode=verify-full", dir.path().display(), own.port());
    let connection = try_connect(&text, None).await.unwrap();
    assert_eq!(
        (connection.tls, ask(&connection, "SELECT current_user::text").await.as_str()),
        (TlsState::Off, "postgres")
    );
    assert_eq!(connection.at, format!("{}/.s.PGSQL.{}", dir.path().display(), own.port()));
    connection.cancel().await.unwrap();
}

#[tokio::test]
async fn refused_logins_are_told_apart() {
    let db = database("login");
    let full = db.role("full", "LOGIN CONNECTION LIMIT 0");
    let (nologin, denied) = (db.role("nologin", "NOLOGIN"), db.role("denied", "LOGIN"));
    db.sql(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", db.name()));
    for (url, code, exit_code) in [
        (cluster().url("no such database"), "TM0927", 69),
        (cluster().url_as("no such role", "postgres"), "TM0923", 77),
        (cluster().url_as(&nologin, "postgres"), "TM0923", 77),
        (cluster().url_as(&full, "postgres"), "TM0928", 75),
        (db.url_as(&denied), "TM0926", 77),
        (format!("{}?options=-c%20no_such%3D1", db.url()), "TM0933", 69),
    ] {
        let error = try_connect(&url, None).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, exit_code), "{error}");
        assert!(!error.remedy().is_empty());
    }
}

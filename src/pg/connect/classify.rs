//! Tells the driver's connection errors apart: by SQLSTATE and reporting routine, by rustls's error, by the system's.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use rustls::{AlertDescription, CertificateError, ProtocolVersion};
use tokio_postgres::error::{DbError, SqlState};

use super::connect_error::ConnectError;
use super::login_error::LoginError;
use super::reach_error::ReachError;
use super::tls_error::TlsError;
use super::verifier::{is_authority_as_server, is_version_one};
use crate::pg::settings::SslMode;

/// What is said about an attempt when it fails.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// `host:port`, or the socket's path.
    pub at: String,
    /// `user@host:port/dbname`.
    pub login: String,
    /// The name that the certificate is compared with.
    pub host: String,
    pub dbname: String,
    /// Where the password came from.
    pub password_origin: Option<String>,
    pub mode: SslMode,
    /// The trusted roots, in words.
    pub roots: String,
    /// Where a client certificate is sent: set once the server's side of the handshake was checked.
    pub presented: Option<Arc<OnceLock<ProtocolVersion>>>,
    /// Whether the login was accepted, so that what is waited for is an answer.
    pub admitted: Arc<AtomicBool>,
    /// The socket's path, when it is one.
    pub socket: Option<PathBuf>,
}

/// The reason why connecting, logging in or setting the session up failed.
pub(super) fn classify(error: &tokio_postgres::Error, context: &Context) -> ConnectError {
    if let Some(refusal) = error.as_db_error() {
        return refused(refusal, context).into();
    }
    let Some(source) = error.source() else {
        return hung_up(context, "the connection was closed").into();
    };
    if let Some(io_error) = source.downcast_ref::<io::Error>() {
        return match io_error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => handshake(tls, context).into(),
            None if certificate_cut_off(io_error.kind(), context) => {
                let alert = "it closed the connection on receiving it".to_owned();
                TlsError::ClientRejected { at: context.at.clone(), alert }.into()
            }
            None => network(io_error, context).into(),
        };
    }
    // The driver has no types for these; each has one fixed text.
    let text = source.to_string();
    match text.as_str() {
        "server does not support TLS" => TlsError::NotOffered { at: context.at.clone(), mode: context.mode }.into(),
        "password missing" => LoginError::PasswordMissing { at: context.login.clone() }.into(),
        "unsupported authentication method" | "unsupported SASL mechanism" | "server did not use channel binding" => {
            LoginError::UnsupportedMethod { at: context.login.clone(), why: text }.into()
        }
        _ => hung_up(context, &text).into(),
    }
}

/// A server that rejects our certificate sends an alert and closes; when we are still writing, the write fails first and
/// the alert goes unread.
fn certificate_cut_off(kind: io::ErrorKind, context: &Context) -> bool {
    let handshaking = context.presented.as_ref().is_some_and(|negotiated| negotiated.get().is_some());
    handshaking && [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&kind)
}

fn hung_up(context: &Context, why: &str) -> ReachError {
    ReachError::HungUp { at: context.at.clone(), why: why.to_owned() }
}

#[allow(clippy::wildcard_enum_match_arm)] // not our enum, and open: new kinds get the general error
pub(super) fn network(error: &io::Error, context: &Context) -> ReachError {
    let at = context.at.clone();
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::ConnectionRefused];
    if let Some(path) = context.socket.as_ref().filter(|_| absent.contains(&error.kind())) {
        return ReachError::Socket { path: path.clone(), why: error.to_string() };
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ReachError::Refused { at },
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            hung_up(context, &error.to_string())
        }
        // The driver's decoder: what came back is no message of PostgreSQL's protocol.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            hung_up(context, &format!("not PostgreSQL's protocol ({error})"))
        }
        _ => ReachError::Network { at, why: error.to_string() },
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // not our enum, and open: new kinds get the general error
fn handshake(error: &rustls::Error, context: &Context) -> TlsError {
    let at = context.at.clone();
    if is_authority_as_server(error) {
        return TlsError::AuthorityAsServer { at, roots: context.roots.clone() };
    }
    if is_version_one(error) {
        return TlsError::VersionOne { at };
    }
    match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem, context),
        rustls::Error::AlertReceived(alert) if is_about_client(*alert) => {
            TlsError::ClientRejected { at, alert: format!("{alert:?}") }
        }
        other => TlsError::Handshake { at, why: other.to_string() },
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // not our enum, and open: new kinds get the general error
fn certificate(problem: &CertificateError, context: &Context) -> TlsError {
    let at = context.at.clone();
    let host = context.host.clone();
    match problem {
        CertificateError::UnknownIssuer => TlsError::UnknownIssuer { at, roots: context.roots.clone() },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired { at },
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsError::NotYetValid { at },
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            TlsError::CommonNameOnly { at, host }
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsError::NameMismatch { at, host, presented: presented.iter().map(|name| plain_name(name)).collect() }
        }
        other => TlsError::BadCertificate { at, why: other.to_string() },
    }
}

/// webpki gives names as `DnsName("db.example")`; people write them bare.
fn plain_name(name: &str) -> String {
    name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name).trim_matches('"').to_owned()
}

/// Alerts by which a server refuses the client's certificate; in TLS 1.3 they arrive after the handshake.
fn is_about_client(alert: AlertDescription) -> bool {
    [
        AlertDescription::CertificateRequired,
        AlertDescription::NoCertificate,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ]
    .contains(&alert)
}

/// Another try may be let in: the server starts or stops, the database is closed for a while, or somebody ended the session
/// before it was ready, as a successor does with what it finds of a former holder.
const NOT_NOW: [&SqlState; 4] = [
    &SqlState::CANNOT_CONNECT_NOW,
    &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    &SqlState::ADMIN_SHUTDOWN,
    &SqlState::CRASH_SHUTDOWN,
];

fn refused(refusal: &DbError, context: &Context) -> LoginError {
    let at = context.login.clone();
    let message = refusal.message().to_owned();
    let code = refusal.code();
    if *code == SqlState::INVALID_PASSWORD {
        let origin = context.password_origin.clone();
        LoginError::WrongPassword { at, origin, message }
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        not_authorised(refusal.routine(), at, message)
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        LoginError::DatabaseMissing { at, dbname: context.dbname.clone() }
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        LoginError::ConnectDenied { at, message }
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        LoginError::TooManyConnections { at, message }
    } else if NOT_NOW.contains(&code) {
        LoginError::StartingUp { at, message }
    } else if *code == SqlState::PROTOCOL_VIOLATION {
        pooler(at, message, context)
    } else {
        LoginError::Other { at, sqlstate: code.code().to_owned(), message }
    }
}

/// 28000 has several meanings. The routine that raised it does not depend on the server's language; where one routine
/// raises two, the English text decides and the server's own text is shown anyway.
fn not_authorised(routine: Option<&str>, at: String, message: String) -> LoginError {
    match routine {
        Some("InitializeSessionUserId") => LoginError::RoleUnusable { at, message },
        // `auth_failed` with 28000: the certificate or the peer's name does not map to the role.
        Some("ClientAuthentication" | "auth_failed") if message.contains("certificate") => {
            LoginError::ClientCertificateRequired { at, message }
        }
        _ => LoginError::NotAdmitted { at, message },
    }
}

/// PgBouncer says nearly everything with 08P01, in English.
fn pooler(at: String, message: String, context: &Context) -> LoginError {
    let has = |part: &str| message.contains(part);
    if has("startup parameter") {
        LoginError::StartupOption { at, message }
    } else if has("no such database") {
        LoginError::DatabaseMissing { at, dbname: context.dbname.clone() }
    } else if has("no such user") {
        LoginError::RoleUnusable { at, message }
    } else if has("auth failed") || has("authentication failed") {
        LoginError::WrongPassword { at, origin: context.password_origin.clone(), message }
    } else if has("no more connections") {
        LoginError::TooManyConnections { at, message }
    } else if has("query_wait_timeout") || has("server_login_retry") || has("client_login_timeout") || has("pooler") {
        LoginError::PoolTimeout { at, message }
    } else {
        LoginError::Other { at, sqlstate: SqlState::PROTOCOL_VIOLATION.code().to_owned(), message }
    }
}

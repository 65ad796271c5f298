//! The server answered and refused the session.

use thiserror::Error;

/// Why the server refused the session. `message` is the server's own text, in its own language.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginError {
    /// 28P01.
    #[error("wrong password for {at} ({}): {message}", password_from(origin.as_deref()))]
    WrongPassword {
        /// `user@host:port/dbname`.
        at: String,
        /// Where the password came from, if one was given.
        origin: Option<String>,
        /// The server's text.
        message: String,
    },
    /// The server asks for a password and none is known.
    #[error("{at} asks for a password and none is given")]
    PasswordMissing {
        /// `user@host:port/dbname`.
        at: String,
    },
    /// 28000: pg_hba.conf does not admit this user, database, address and encryption.
    #[error("{at} is not admitted: {message}")]
    NotAdmitted {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// 28000: the role does not exist, or may not log in.
    #[error("cannot log in to {at}: {message}")]
    RoleUnusable {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// 28000: pg_hba.conf asks for a client certificate and none, or one for another role, was sent.
    #[error("{at} requires a client certificate: {message}")]
    ClientCertificateRequired {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// The server asks for Kerberos, LDAP's or another method that is not implemented.
    #[error("{at} asks for an unsupported login: {why}")]
    UnsupportedMethod {
        /// `user@host:port/dbname`.
        at: String,
        /// What the driver says.
        why: String,
    },
    /// 42501: no CONNECT privilege on the database.
    #[error("no privilege to connect to {at}: {message}")]
    ConnectDenied {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// 3D000.
    #[error("database \"{dbname}\" does not exist at {at}")]
    DatabaseMissing {
        /// `user@host:port/dbname`.
        at: String,
        /// The database.
        dbname: String,
    },
    /// 53300, or a pooler's max_client_conn.
    #[error("{at} has no connection left: {message}")]
    TooManyConnections {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// 57P03: starting up, shutting down or in crash recovery. 55000: the database is closed for a while
    /// (ALLOW_CONNECTIONS). 57P01, 57P02: the session was ended before it was ready.
    #[error("{at} takes no connections now: {message}")]
    StartingUp {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// 08P01 from a pooler that has no server connection to give.
    #[error("the pooler at {at} has no server connection to give: {message}")]
    PoolTimeout {
        /// `user@host:port/dbname`.
        at: String,
        /// The pooler's text.
        message: String,
    },
    /// The login was accepted, and the first question after it had no answer: a pooler answers logins by itself and lets
    /// the question wait for a server connection.
    #[error(
        "{at} accepted the connection and did not answer within {}; behind a pooler: no connection is free in its pool",
        humantime::format_duration(*after)
    )]
    Unanswered {
        /// `user@host:port/dbname`.
        at: String,
        /// The limit.
        after: std::time::Duration,
    },
    /// A startup option that the server or pooler does not take.
    #[error("{at} refuses a startup option: {message}")]
    StartupOption {
        /// `user@host:port/dbname`.
        at: String,
        /// The server's text.
        message: String,
    },
    /// SET ROLE is not possible.
    #[error("cannot SET ROLE \"{role}\" at {at}: {message}")]
    SetRole {
        /// `user@host:port/dbname`.
        at: String,
        /// The role.
        role: String,
        /// The server's text.
        message: String,
    },
    /// Any other refusal.
    #[error("{at} refuses the session ({sqlstate}): {message}")]
    Other {
        /// `user@host:port/dbname`.
        at: String,
        /// The SQLSTATE.
        sqlstate: String,
        /// The server's text.
        message: String,
    },
}

impl LoginError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongPassword { .. } => "TM0920",
            Self::PasswordMissing { .. } => "TM0921",
            Self::NotAdmitted { .. } => "TM0922",
            Self::RoleUnusable { .. } => "TM0923",
            Self::ClientCertificateRequired { .. } => "TM0924",
            Self::UnsupportedMethod { .. } => "TM0925",
            Self::ConnectDenied { .. } => "TM0926",
            Self::DatabaseMissing { .. } => "TM0927",
            Self::TooManyConnections { .. } => "TM0928",
            Self::StartingUp { .. } => "TM0929",
            Self::PoolTimeout { .. } => "TM0930",
            Self::StartupOption { .. } => "TM0931",
            Self::SetRole { .. } => "TM0932",
            Self::Other { .. } => "TM0933",
            Self::Unanswered { .. } => "TM0934",
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::WrongPassword { .. }
            | Self::PasswordMissing { .. }
            | Self::NotAdmitted { .. }
            | Self::RoleUnusable { .. }
            | Self::ClientCertificateRequired { .. }
            | Self::UnsupportedMethod { .. }
            | Self::ConnectDenied { .. }
            | Self::SetRole { .. } => 77,
            Self::TooManyConnections { .. }
            | Self::StartingUp { .. }
            | Self::PoolTimeout { .. }
            | Self::Unanswered { .. } => 75,
            Self::StartupOption { .. } => 64,
            Self::DatabaseMissing { .. } | Self::Other { .. } => 69,
        }
    }

    /// The next thing to do or type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::WrongPassword { origin: Some(origin), .. } => {
                format!("correct the password in {origin}; `tenantmig doctor` prints where each value comes from")
            }
            Self::WrongPassword { origin: None, .. } | Self::PasswordMissing { .. } => "set PGPASSWORD, or add host:port:dbname:user:password to ~/.pgpass (chmod 0600)".to_owned(),
            Self::NotAdmitted { .. } => {
                "add a line for this user, database and address to pg_hba.conf (SHOW hba_file), then SELECT pg_reload_conf(); \
                 where the message says \"no encryption\", use sslmode=require"
                    .to_owned()
            }
            Self::RoleUnusable { .. } => "name another user with -U, or as an administrator: CREATE ROLE … LOGIN".to_owned(),
            Self::ClientCertificateRequired { .. } => {
                "set PGSSLCERT and PGSSLKEY to a certificate that the server's ssl_ca_file signed, its CN equal to the role; it is only sent over TLS".to_owned()
            }
            Self::UnsupportedMethod { .. } => "use a role that pg_hba.conf admits by scram-sha-256, md5, cert or trust".to_owned(),
            Self::ConnectDenied { .. } => "as the database's owner: GRANT CONNECT ON DATABASE … TO …".to_owned(),
            Self::DatabaseMissing { .. } => "list the databases with psql -l, then name one with -d".to_owned(),
            Self::TooManyConnections { .. } => "wait or end idle sessions (pg_stat_activity), then run the command again: it resumes".to_owned(),
            Self::StartingUp { .. } => "wait until it takes connections again (pg_isready; ALTER DATABASE … ALLOW_CONNECTIONS), then run the command again: it resumes".to_owned(),
            Self::PoolTimeout { .. } => "run the command again later, or connect to the server itself instead of the pooler".to_owned(),
            Self::Unanswered { .. } => "look at the pool (SHOW POOLS) and at the server (pg_stat_activity), then run the command again: it resumes".to_owned(),
            Self::StartupOption { .. } => "unset PGOPTIONS, or connect to the server itself instead of the pooler".to_owned(),
            Self::SetRole { role, .. } => format!("as an administrator: GRANT \"{role}\" TO the login role, or leave --role out"),
            Self::Other { .. } => "read the server's log; try the same settings with psql".to_owned(),
        }
    }

    /// Whether waiting, or another host, may help.
    pub(super) fn is_temporary(&self) -> bool {
        self.exit_code() == 75
    }
}

fn password_from(origin: Option<&str>) -> String {
    origin.map_or_else(|| "none was given".to_owned(), |origin| format!("password from {origin}"))
}

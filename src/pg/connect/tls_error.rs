//! The TLS handshake was impossible or failed. rustls is stricter than libpq's OpenSSL; where it is, the remedy says so.

use std::path::PathBuf;

use thiserror::Error;

use crate::pg::settings::SslMode;

/// Why there is no TLS session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsError {
    /// The server answered `N`.
    #[error("server {at} does not offer TLS, but sslmode={mode}")]
    NotOffered {
        /// `host:port`.
        at: String,
        /// What was asked for.
        mode: SslMode,
    },
    /// No trusted root signed the certificate.
    #[error("certificate of {at} is not signed by a trusted root ({roots})")]
    UnknownIssuer {
        /// `host:port`.
        at: String,
        /// The roots in use.
        roots: String,
    },
    /// The server presents a certificate authority's own certificate, which is not among the roots.
    #[error("certificate of {at} is a certificate authority's own (CA:TRUE) and is not itself in {roots}")]
    AuthorityAsServer {
        /// `host:port`.
        at: String,
        /// The roots in use.
        roots: String,
    },
    /// The certificate has no subject alternative name, at most a common name.
    #[error("certificate of {at} has no subject alternative name, so it cannot be matched with \"{host}\"")]
    CommonNameOnly {
        /// `host:port`.
        at: String,
        /// The name asked for.
        host: String,
    },
    /// The certificate's X.509 version is 1.
    #[error("certificate of {at} is of X.509 version 1, which has no extensions and is not accepted")]
    VersionOne {
        /// `host:port`.
        at: String,
    },
    /// Past its end.
    #[error("certificate of {at} has expired")]
    Expired {
        /// `host:port`.
        at: String,
    },
    /// Before its start.
    #[error("certificate of {at} is not valid yet")]
    NotYetValid {
        /// `host:port`.
        at: String,
    },
    /// The certificate is for other names.
    #[error("certificate of {at} is for {}, not for \"{host}\"", presented.join(", "))]
    NameMismatch {
        /// `host:port`.
        at: String,
        /// The name asked for.
        host: String,
        /// The certificate's names.
        presented: Vec<String>,
    },
    /// The certificate is wrong in another way.
    #[error("certificate of {at} is not acceptable: {why}")]
    BadCertificate {
        /// `host:port`.
        at: String,
        /// What rustls says.
        why: String,
    },
    /// verify-ca or verify-full without roots.
    #[error("sslmode={mode} needs trusted roots, and {} does not exist", path.display())]
    RootsMissing {
        /// What was asked for.
        mode: SslMode,
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The root file cannot be used.
    #[error("sslrootcert {}: {why}", path.display())]
    RootFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system's roots cannot be used.
    #[error("sslrootcert=system: {why}")]
    SystemRoots {
        /// What is wrong.
        why: String,
    },
    /// The client's certificate cannot be used.
    #[error("sslcert {}: {why}", path.display())]
    ClientCertificateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The client's key cannot be used.
    #[error("sslkey {}: {why}", path.display())]
    ClientKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Others may read the client's key.
    #[error("sslkey {} has group or world access (mode {mode:04o})", path.display())]
    ClientKeyMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The server does not take the client's certificate, or demands one.
    #[error("server {at} rejected the client certificate: {alert}")]
    ClientRejected {
        /// `host:port`.
        at: String,
        /// The alert's name.
        alert: String,
    },
    /// Anything else in the handshake.
    #[error("TLS handshake with {at} failed: {why}")]
    Handshake {
        /// `host:port`.
        at: String,
        /// What rustls says.
        why: String,
    },
}

impl TlsError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOffered { .. } => "TM0940",
            Self::UnknownIssuer { .. } => "TM0941",
            Self::AuthorityAsServer { .. } => "TM0942",
            Self::CommonNameOnly { .. } => "TM0943",
            Self::VersionOne { .. } => "TM0944",
            Self::Expired { .. } => "TM0945",
            Self::NotYetValid { .. } => "TM0946",
            Self::NameMismatch { .. } => "TM0947",
            Self::BadCertificate { .. } => "TM0948",
            Self::RootsMissing { .. } => "TM0949",
            Self::RootFile { .. } => "TM0950",
            Self::SystemRoots { .. } => "TM0951",
            Self::ClientCertificateFile { .. } => "TM0952",
            Self::ClientKeyFile { .. } => "TM0953",
            Self::ClientKeyMode { .. } => "TM0954",
            Self::ClientRejected { .. } => "TM0955",
            Self::Handshake { .. } => "TM0956",
        }
    }

    /// 64 where a file or setting on this side is wrong, 77 where the client's identity was refused, else 69.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::RootsMissing { .. }
            | Self::RootFile { .. }
            | Self::SystemRoots { .. }
            | Self::ClientCertificateFile { .. }
            | Self::ClientKeyFile { .. }
            | Self::ClientKeyMode { .. } => 64,
            Self::ClientRejected { .. } => 77,
            Self::NotOffered { .. }
            | Self::UnknownIssuer { .. }
            | Self::AuthorityAsServer { .. }
            | Self::CommonNameOnly { .. }
            | Self::VersionOne { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::NameMismatch { .. }
            | Self::BadCertificate { .. }
            | Self::Handshake { .. } => 69,
        }
    }

    /// The next thing to do or type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotOffered { .. } => "set ssl = on at the server, or on a trusted network use sslmode=prefer".to_owned(),
            Self::UnknownIssuer { .. } => {
                "set PGSSLROOTCERT to the certificate of the authority that signed it (or sslrootcert=system for a public one); \
                 a self-signed certificate is its own root"
                    .to_owned()
            }
            Self::AuthorityAsServer { .. } => {
                "copy the server's certificate into the sslrootcert file, byte for byte, or issue the server one with basicConstraints=CA:FALSE".to_owned()
            }
            Self::CommonNameOnly { host, .. } => {
                format!("reissue it with subjectAltName=DNS:{host} (psql still accepts a bare common name, rustls does not), or use sslmode=verify-ca")
            }
            Self::VersionOne { .. } => "reissue it as X.509 version 3: openssl x509 -req -extfile … with subjectAltName".to_owned(),
            Self::Expired { .. } => "renew the server's certificate, then SELECT pg_reload_conf(); check this machine's clock too".to_owned(),
            Self::NotYetValid { .. } => "check the clocks of this machine and of the one that issued the certificate".to_owned(),
            Self::NameMismatch { .. } => "connect by one of these names (--host NAME, with hostaddr=IP where it does not resolve), or use sslmode=verify-ca".to_owned(),
            Self::BadCertificate { .. } => "reissue the server's certificate; openssl x509 -text -in server.crt shows it".to_owned(),
            Self::RootsMissing { .. } => "set PGSSLROOTCERT to the authority's certificate, or PGSSLROOTCERT=system for a public one".to_owned(),
            Self::RootFile { path, .. } => format!("openssl x509 -text -in {} must show a certificate", path.display()),
            Self::SystemRoots { .. } => "install the ca-certificates package, or set PGSSLROOTCERT to a file".to_owned(),
            Self::ClientCertificateFile { path, .. } => format!("openssl x509 -text -in {} must show a certificate", path.display()),
            Self::ClientKeyFile { path, .. } => {
                format!("openssl pkey -noout -in {} must read it; an encrypted key is first decrypted with openssl pkey -out", path.display())
            }
            Self::ClientKeyMode { path, .. } => format!("chmod 0600 {}", path.display()),
            Self::ClientRejected { .. } => "use a valid certificate that the server's ssl_ca_file signed: PGSSLCERT and PGSSLKEY".to_owned(),
            Self::Handshake { at, .. } => format!("openssl s_client -starttls postgres -connect {at} shows what the server offers (TLS 1.2 or 1.3 is needed)"),
        }
    }
}

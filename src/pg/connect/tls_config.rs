//! Builds the TLS client of one connection attempt from the settings.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls_error::TlsError;
use super::verifier::{Depth, Verifier};
use crate::pg::settings::{ClientCertificate, SslMode, TlsSettings, TrustedRoots};

/// A TLS client, and what is to be said about it.
#[derive(Clone)]
pub(super) struct Tls {
    pub connector: MakeRustlsConnect,
    pub depth: Depth,
    /// The roots in words, for errors.
    pub roots: String,
    /// The version, once a handshake was made.
    pub negotiated: Arc<OnceLock<ProtocolVersion>>,
    /// What was asked for and is not done.
    pub warning: Option<String>,
}

/// Reads root, certificate and key files and builds the client. `mode` is that of the settings, or `Disable` for a socket,
/// which reads nothing and gets a client that goes unused.
pub(super) fn build(settings: &TlsSettings, mode: SslMode) -> Result<Tls, TlsError> {
    let enabled = mode != SslMode::Disable;
    let (root_certificates, roots_in_words, warning) =
        if enabled { trusted(settings)? } else { (Vec::new(), "none".to_owned(), None) };
    let depth = match mode {
        SslMode::VerifyFull => Depth::ChainAndName,
        SslMode::VerifyCa => Depth::Chain,
        // libpq verifies in the weaker modes too as soon as a root file is there.
        SslMode::Allow | SslMode::Prefer | SslMode::Require if root_certificates.is_empty() => Depth::Nothing,
        SslMode::Allow | SslMode::Prefer | SslMode::Require => Depth::Chain,
        SslMode::Disable => Depth::Nothing,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(root_certificates.iter().cloned());
    let negotiated = Arc::new(OnceLock::new());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        depth,
        roots,
        root_certificates,
        provider: Arc::clone(&provider),
        negotiated: Arc::clone(&negotiated),
    };
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if settings.allow_tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if settings.allow_tls12 {
        versions.push(&rustls::version::TLS12);
    }
    let local = |e: rustls::Error| TlsError::Handshake { at: "this machine".to_owned(), why: e.to_string() };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(local)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match settings.client.as_ref().filter(|_| enabled) {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = identity(client)?;
            let path = client.key.value.clone();
            builder.with_client_auth_cert(chain, key).map_err(|e| TlsError::ClientKeyFile { path, why: unlike(&e) })?
        }
    };
    config.enable_sni = settings.sni;
    config.resumption = Resumption::disabled();
    if settings.direct {
        // PostgreSQL 17 insists on this protocol name when TLS starts without being asked for.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(Tls { connector: MakeRustlsConnect::new(config), depth, roots: roots_in_words, negotiated, warning })
}

type Trusted = (Vec<CertificateDer<'static>>, String, Option<String>);

fn trusted(settings: &TlsSettings) -> Result<Trusted, TlsError> {
    let mode = settings.mode.value;
    match settings.roots.as_ref().map(|r| &r.value) {
        None if mode < SslMode::VerifyCa => Ok((Vec::new(), "none".to_owned(), None)),
        None => Err(TlsError::RootsMissing { mode, path: PathBuf::from("~/.postgresql/root.crt") }),
        Some(TrustedRoots::System) => system_roots().map(|certs| (certs, "the system's roots".to_owned(), None)),
        Some(TrustedRoots::File(path)) if !path.exists() && mode < SslMode::VerifyCa => {
            let warning = format!(
                "sslrootcert {} does not exist: with sslmode={mode} the server's certificate is not verified",
                path.display()
            );
            Ok((Vec::new(), "none".to_owned(), Some(warning)))
        }
        Some(TrustedRoots::File(path)) if !path.exists() => Err(TlsError::RootsMissing { mode, path: path.clone() }),
        Some(TrustedRoots::File(path)) => {
            let certs = certificates(path).map_err(|why| TlsError::RootFile { path: path.clone(), why })?;
            let mut store = RootCertStore::empty();
            if store.add_parsable_certificates(certs.iter().cloned()).0 == 0 {
                return Err(TlsError::RootFile {
                    path: path.clone(),
                    why: "holds no certificate that can be parsed".to_owned(),
                });
            }
            Ok((certs, path.display().to_string(), None))
        }
    }
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why =
            found.errors.first().map_or_else(|| "the system has no trusted roots".to_owned(), ToString::to_string);
        return Err(TlsError::SystemRoots { why });
    }
    Ok(found.certs)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    let certs: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| "is not valid PEM".to_owned())?;
    if certs.is_empty() { Err("holds no PEM certificate".to_owned()) } else { Ok(certs) }
}

fn identity(client: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certificate = client.certificate.value.clone();
    let chain = certificates(&certificate).map_err(|why| TlsError::ClientCertificateFile { path: certificate, why })?;
    let path = client.key.value.clone();
    let unusable = |why: String| TlsError::ClientKeyFile { path: path.clone(), why };
    let meta = std::fs::metadata(&path).map_err(|e| unusable(format!("cannot be read: {e}")))?;
    // As libpq: root's key may be readable by a group, so that services share it.
    let forbidden = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & forbidden != 0 {
        return Err(TlsError::ClientKeyMode { path, mode: meta.mode() & 0o777 });
    }
    let pem = std::fs::read(&path).map_err(|e| unusable(format!("cannot be read: {e}")))?;
    if contains(&pem, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(&pem, b"Proc-Type: 4,ENCRYPTED") {
        return Err(unusable("is encrypted with a passphrase, which is not supported".to_owned()));
    }
    // The parser's own text could quote the file.
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable("holds no PEM private key".to_owned()))?;
    Ok((chain, key))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|w| w == part)
}

#[allow(clippy::wildcard_enum_match_arm)] // not our enum, and open: new kinds get the general error
fn unlike(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "does not belong to the certificate in sslcert".to_owned(),
        other => other.to_string(),
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("depth", &self.depth).field("roots", &self.roots).finish_non_exhaustive()
    }
}

//! Checks the server's certificate as far as libpq's `sslmode` asks for, on rustls.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme};

/// How much of the certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Nothing but the handshake's own signature, which channel binding relies on.
    Nothing,
    /// Signed by a trusted root.
    Chain,
    /// And naming the host.
    ChainAndName,
}

/// The verifier of one connection attempt; it also notes which TLS version was negotiated.
#[derive(Debug)]
pub(super) struct Verifier {
    pub depth: Depth,
    pub roots: RootCertStore,
    /// The roots' own bytes, to recognise a self-signed server certificate among them.
    pub root_certificates: Vec<CertificateDer<'static>>,
    pub provider: Arc<CryptoProvider>,
    /// Set during the handshake; resumption is off, so every handshake comes by here.
    pub negotiated: Arc<OnceLock<ProtocolVersion>>,
}

impl Verifier {
    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms) {
            // OpenSSL takes a self-signed CA:TRUE certificate that is itself trusted. webpki checks the dates before it
            // comes to this error, so an expired one does not pass.
            Err(e) if is_authority_as_server(&e) && self.root_certificates.iter().any(|root| root == leaf) => Ok(()),
            other => other,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.depth {
            Depth::Nothing => {}
            Depth::Chain => self.verify_chain(end_entity, intermediates, now)?,
            Depth::ChainAndName => {
                self.verify_chain(end_entity, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.negotiated.get_or_init(|| ProtocolVersion::TLSv1_2);
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.negotiated.get_or_init(|| ProtocolVersion::TLSv1_3);
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// webpki's errors without a rustls counterpart arrive boxed; their `Debug` form is the variant's name, and our tests
/// with real certificates notice if that changes.
fn is_boxed(error: &Error, name: &str) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if format!("{:?}", other.0) == name)
}

/// A certificate authority's certificate presented as a server's.
pub(super) fn is_authority_as_server(error: &Error) -> bool {
    is_boxed(error, "CaUsedAsEndEntity")
}

/// A certificate of X.509 version 1 (or 2).
pub(super) fn is_version_one(error: &Error) -> bool {
    is_boxed(error, "UnsupportedCertVersion")
}

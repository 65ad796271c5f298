//! The typed connection values and how libpq's words for them are read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::layers::Layers;
use super::origin::Origin;
use super::settings_error::SettingsError;

/// A value with the place that supplied it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    pub(in crate::pg) fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// Treated as `Prefer`: libpq would try without TLS first.
    Allow,
    /// TLS where the server has it, else without.
    Prefer,
    /// TLS; the certificate is verified only when a root file is there.
    Require,
    /// TLS, the certificate signed by a trusted root.
    VerifyCa,
    /// As `VerifyCa`, and the certificate names the host.
    VerifyFull,
}

/// Each libpq word with its value, in rising strength.
const SSL_MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

/// Which kind of session is acceptable, libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    Any,
    /// Transactions may write by default.
    ReadWrite,
    /// Transactions may not write by default.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery, or any server when none of the hosts is.
    PreferStandby,
}

const SESSION_ATTRS: [(&str, TargetSessionAttrs); 6] = [
    ("any", TargetSessionAttrs::Any),
    ("read-write", TargetSessionAttrs::ReadWrite),
    ("read-only", TargetSessionAttrs::ReadOnly),
    ("primary", TargetSessionAttrs::Primary),
    ("standby", TargetSessionAttrs::Standby),
    ("prefer-standby", TargetSessionAttrs::PreferStandby),
];

impl fmt::Display for TargetSessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        })
    }
}

/// The roots that a server's certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedRoots {
    /// The operating system's (`sslrootcert=system`).
    System,
    /// A PEM file.
    File(PathBuf),
}

/// The PEM files that identify the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain.
    pub certificate: Setting<PathBuf>,
    /// The private key, not encrypted.
    pub key: Setting<PathBuf>,
}

/// Everything that shapes the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// How much TLS is asked for.
    pub mode: Setting<SslMode>,
    /// The trusted roots: given, or `~/.postgresql/root.crt` when it is there.
    pub roots: Option<Setting<TrustedRoots>>,
    /// The client's certificate: given, or `~/.postgresql/postgresql.crt` when it is there.
    pub client: Option<ClientCertificate>,
    /// Whether the host's name is sent in clear (`sslsni`).
    pub sni: bool,
    /// Whether the handshake starts without asking first (`sslnegotiation=direct`, PostgreSQL 17).
    pub direct: bool,
    /// Whether TLS 1.2 is offered.
    pub allow_tls12: bool,
    /// Whether TLS 1.3 is offered.
    pub allow_tls13: bool,
}

/// Reads one of `words`; `None` when the key is unset.
pub(super) fn word<T: Copy>(
    layers: &Layers,
    key: &'static str,
    words: &[(&str, T)],
) -> Result<Option<Setting<T>>, SettingsError> {
    let Some((text, origin)) = layers.get(key) else {
        return Ok(None);
    };
    match words.iter().find(|(w, _)| *w == text) {
        Some((_, value)) => Ok(Some(Setting::new(*value, origin.clone()))),
        None => {
            let admitted = words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
            Err(bad(key, origin, format!("\"{text}\" is not one of {admitted}")))
        }
    }
}

/// Reads an integer; `None` when the key is unset.
pub(super) fn integer(layers: &Layers, key: &'static str) -> Result<Option<Setting<i32>>, SettingsError> {
    let Some((text, origin)) = layers.get(key) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(value) => Ok(Some(Setting::new(value, origin.clone()))),
        Err(_) => Err(bad(key, origin, format!("\"{text}\" is not an integer"))),
    }
}

/// Reads a duration of whole `unit`s; zero or less reads as `None`, the system's own.
pub(super) fn duration(
    layers: &Layers,
    key: &'static str,
    unit: Duration,
    default: Duration,
) -> Result<Setting<Option<Duration>>, SettingsError> {
    Ok(match integer(layers, key)? {
        None => Setting::new(Some(default), Origin::Default),
        Some(s) => Setting::new(u32::try_from(s.value).ok().filter(|n| *n > 0).map(|n| unit * n), s.origin),
    })
}

pub(super) fn bad(key: &'static str, origin: &Origin, why: String) -> SettingsError {
    SettingsError::BadValue { key, place: origin.to_string(), why }
}

/// `target_session_attrs`; unset means any server, or with several hosts the one that takes writes.
pub(super) fn session_attrs(layers: &Layers, hosts: usize) -> Result<Setting<TargetSessionAttrs>, SettingsError> {
    let default = if hosts > 1 { TargetSessionAttrs::ReadWrite } else { TargetSessionAttrs::Any };
    Ok(word(layers, "target_session_attrs", &SESSION_ATTRS)?.unwrap_or(Setting::new(default, Origin::Default)))
}

/// Reads every TLS key.
pub(super) fn tls(layers: &Layers, env: &Environment) -> Result<TlsSettings, SettingsError> {
    let home_file = |name: &str| {
        env.home()
            .map(|h| h.join(".postgresql").join(name))
            .filter(|f| f.exists())
            .map(|f| Setting::new(f, Origin::DefaultFile))
    };
    let file = |key: &'static str| layers.get(key).map(|(v, o)| Setting::new(PathBuf::from(v), o.clone()));
    let roots = match layers.get("sslrootcert") {
        Some(("system", origin)) => Some(Setting::new(TrustedRoots::System, origin.clone())),
        Some((path, origin)) => Some(Setting::new(TrustedRoots::File(path.into()), origin.clone())),
        None => home_file("root.crt").map(|s| Setting::new(TrustedRoots::File(s.value), s.origin)),
    };
    let system = roots.as_ref().is_some_and(|r| r.value == TrustedRoots::System);
    let default_mode = if system { SslMode::VerifyFull } else { SslMode::Prefer };
    let mode = word(layers, "sslmode", &SSL_MODES)?.unwrap_or(Setting::new(default_mode, Origin::Default));
    if system && mode.value < SslMode::VerifyFull {
        // As libpq: anyone can get a certificate from a public authority, so only the name tells servers apart.
        return Err(bad(
            "sslmode",
            &mode.origin,
            format!("weak sslmode \"{}\" may not be used with sslrootcert=system (use verify-full)", mode.value),
        ));
    }
    let direct = word(layers, "sslnegotiation", &[("postgres", false), ("direct", true)])?;
    if let Some(direct) = direct.as_ref().filter(|d| d.value && mode.value < SslMode::Require) {
        return Err(bad(
            "sslnegotiation",
            &direct.origin,
            format!("direct needs sslmode=require or stronger, not {}", mode.value),
        ));
    }
    let send =
        word(layers, "sslcertmode", &[("disable", false), ("allow", true), ("require", true)])?.is_none_or(|s| s.value);
    let certificate = if send { file("sslcert").or_else(|| home_file("postgresql.crt")) } else { None };
    let client = certificate.map(|certificate| {
        let beside = || Setting::new(certificate.value.with_file_name("postgresql.key"), Origin::DefaultFile);
        let key = file("sslkey").or_else(|| home_file("postgresql.key")).unwrap_or_else(beside);
        ClientCertificate { certificate, key }
    });
    const VERSIONS: [(&str, u8); 4] = [("TLSv1", 0), ("TLSv1.1", 1), ("TLSv1.2", 2), ("TLSv1.3", 3)];
    let min = word(layers, "ssl_min_protocol_version", &VERSIONS)?.map_or(2, |s| s.value);
    let max = word(layers, "ssl_max_protocol_version", &VERSIONS)?.unwrap_or(Setting::new(3, Origin::Default));
    if max.value < min.max(2) {
        return Err(bad(
            "ssl_max_protocol_version",
            &max.origin,
            "leaves no version of TLS to offer (1.2 and 1.3 are supported)".to_owned(),
        ));
    }
    Ok(TlsSettings {
        mode,
        roots,
        client,
        sni: word(layers, "sslsni", &[("0", false), ("1", true)])?.is_none_or(|s| s.value),
        direct: direct.is_some_and(|d| d.value),
        allow_tls12: min <= 2,
        allow_tls13: max.value >= 3,
    })
}

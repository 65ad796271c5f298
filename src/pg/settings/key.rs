//! The connection keys of libpq 13 to 18, with their variables and what tenantmig does with each.

/// What becomes of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Honoured.
    Honoured,
    /// Has no effect here and none on safety; a value other than the default is warned about.
    Ignored,
    /// Would weaken what the user asked for if it were dropped, so giving it is an error.
    Refused,
}

/// One libpq connection key.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub env: Option<&'static str>,
    pub usage: Use,
}

const fn key(name: &'static str, env: Option<&'static str>, usage: Use) -> Key {
    Key { name, env, usage }
}

/// Source: `PQconninfoOptions` of libpq 18.
pub(super) const KEYS: &[Key] = &[
    key("service", Some("PGSERVICE"), Use::Honoured),
    key("servicefile", Some("PGSERVICEFILE"), Use::Honoured),
    key("host", Some("PGHOST"), Use::Honoured),
    key("hostaddr", Some("PGHOSTADDR"), Use::Honoured),
    key("port", Some("PGPORT"), Use::Honoured),
    key("dbname", Some("PGDATABASE"), Use::Honoured),
    key("user", Some("PGUSER"), Use::Honoured),
    key("password", Some("PGPASSWORD"), Use::Honoured),
    key("passfile", Some("PGPASSFILE"), Use::Honoured),
    key("connect_timeout", Some("PGCONNECT_TIMEOUT"), Use::Honoured),
    key("application_name", Some("PGAPPNAME"), Use::Honoured),
    key("fallback_application_name", None, Use::Ignored),
    key("options", Some("PGOPTIONS"), Use::Honoured),
    key("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Use::Honoured),
    key("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Use::Honoured),
    key("keepalives", None, Use::Honoured),
    key("keepalives_idle", None, Use::Honoured),
    key("keepalives_interval", None, Use::Honoured),
    key("keepalives_count", None, Use::Honoured),
    key("tcp_user_timeout", None, Use::Honoured),
    key("channel_binding", Some("PGCHANNELBINDING"), Use::Honoured),
    key("sslmode", Some("PGSSLMODE"), Use::Honoured),
    key("sslnegotiation", Some("PGSSLNEGOTIATION"), Use::Honoured),
    key("sslrootcert", Some("PGSSLROOTCERT"), Use::Honoured),
    key("sslcert", Some("PGSSLCERT"), Use::Honoured),
    key("sslkey", Some("PGSSLKEY"), Use::Honoured),
    key("sslcertmode", Some("PGSSLCERTMODE"), Use::Honoured),
    key("sslsni", Some("PGSSLSNI"), Use::Honoured),
    key("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Use::Honoured),
    key("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Use::Honoured),
    key("client_encoding", Some("PGCLIENTENCODING"), Use::Ignored),
    key("sslcompression", Some("PGSSLCOMPRESSION"), Use::Ignored),
    key("gssencmode", Some("PGGSSENCMODE"), Use::Ignored),
    key("krbsrvname", Some("PGKRBSRVNAME"), Use::Ignored),
    key("gsslib", Some("PGGSSLIB"), Use::Ignored),
    key("gssdelegation", Some("PGGSSDELEGATION"), Use::Ignored),
    key("min_protocol_version", Some("PGMINPROTOCOLVERSION"), Use::Ignored),
    key("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Use::Ignored),
    key("sslcrl", Some("PGSSLCRL"), Use::Refused),
    key("sslcrldir", Some("PGSSLCRLDIR"), Use::Refused),
    key("sslpassword", None, Use::Refused),
    key("sslkeylogfile", None, Use::Refused),
    key("requirepeer", Some("PGREQUIREPEER"), Use::Refused),
    key("require_auth", Some("PGREQUIREAUTH"), Use::Refused),
    key("replication", None, Use::Refused),
    key("scram_client_key", None, Use::Refused),
    key("scram_server_key", None, Use::Refused),
    key("oauth_issuer", None, Use::Refused),
    key("oauth_client_id", None, Use::Refused),
    key("oauth_client_secret", None, Use::Refused),
    key("oauth_scope", None, Use::Refused),
];

/// The key of this exact name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

/// The known key that `name` most likely meant, when one is near.
pub(super) fn closest(name: &str) -> Option<&'static str> {
    /// Below this Jaro-Winkler similarity a suggestion misleads more than it helps.
    const SIMILARITY_MIN: f64 = 0.8;
    let name = name.trim().to_ascii_lowercase();
    // The names that other tools use for the same thing; no distance would find them.
    match name.as_str() {
        "username" | "usr" | "uid" => return Some("user"),
        "database" | "db" | "databasename" => return Some("dbname"),
        "pwd" | "pass" => return Some("password"),
        "hostname" | "server" => return Some("host"),
        _ => {}
    }
    KEYS.iter()
        .map(|k| (strsim::jaro_winkler(&name, k.name), k.name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

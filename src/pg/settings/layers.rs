//! Lays the sources of connection values over each other: for each key the first source that names it counts.
//!
//! Order: a connection string given to `-d` (its values win over the other flags, as in psql), flags, then
//! TENANTMIG_DATABASE_URL or else DATABASE_URL, the service file, PG* variables. Service values stand above PG* variables
//! because libpq's `conninfo_add_defaults` has it so.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::conninfo::{self, Pair};
use super::environment::Environment;
use super::key::{self, Use};
use super::origin::Origin;
use super::resolve::ConnectFlags;
use super::settings_error::SettingsError;
use super::{servicefile, uri};

/// The variables that hold a whole connection string, the first one set counts.
const URL_VARIABLES: [&str; 2] = ["TENANTMIG_DATABASE_URL", "DATABASE_URL"];

/// A raw value and its origin; the value may be a password, hence secret.
#[derive(Debug)]
struct Entry {
    value: SecretString,
    origin: Origin,
}

/// Each key's winning raw value.
#[derive(Debug, Default)]
pub(super) struct Layers {
    entries: BTreeMap<&'static str, Entry>,
}

impl Layers {
    pub fn gather(flags: &ConnectFlags, env: &Environment) -> Result<Self, SettingsError> {
        let mut layers = Self::default();
        let target = flags.dbname.as_deref().filter(|d| !d.is_empty());
        let string_given = target.is_some_and(is_connection_string);
        if let Some(target) = target {
            if string_given {
                layers.put_string(target, &Origin::Flag("-d"), &[])?;
            } else {
                layers.put("dbname", SecretString::from(target), Origin::Flag("-d"));
            }
        }
        let single =
            [("host", "--host", &flags.host), ("port", "--port", &flags.port), ("user", "--username", &flags.username)];
        for (name, flag, value) in single {
            if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
                layers.put(name, SecretString::from(value), Origin::Flag(flag));
            }
        }
        if !string_given {
            let variable = URL_VARIABLES.iter().find_map(|name| Some((*name, env.set_var(name)?)));
            if let Some((name, text)) = variable {
                // With the host replaced by a flag, the string's address belongs to another machine.
                let skipped: &[&str] = if layers.get("host").is_some() { &["hostaddr"] } else { &[] };
                layers.put_string(text, &Origin::Env(name), skipped)?;
            }
        }
        layers.put_defaults(env)?;
        Ok(layers)
    }

    /// Of one connection string alone, with what the surroundings give to any.
    pub fn of_string(text: &str, origin: &Origin, env: &Environment) -> Result<Self, SettingsError> {
        let mut layers = Self::default();
        layers.put_string(text, origin, &[])?;
        layers.put_defaults(env)?;
        Ok(layers)
    }

    fn put_defaults(&mut self, env: &Environment) -> Result<(), SettingsError> {
        self.put_service(env)?;
        for k in key::KEYS {
            if let Some((name, value)) = k.env.and_then(|name| Some((name, env.set_var(name)?))) {
                self.put(k.name, SecretString::from(value), Origin::Env(name));
            }
        }
        Ok(())
    }

    /// The key's value and origin; an empty value, which blocks the layers below, reads as unset.
    pub fn get(&self, name: &str) -> Option<(&str, &Origin)> {
        let entry = self.entries.get(name)?;
        let value = entry.value.expose_secret();
        (!value.is_empty()).then_some((value, &entry.origin))
    }

    /// Refuses keys that may not be dropped, and returns a warning for each that has no effect.
    pub fn check_usage(&self) -> Result<Vec<String>, SettingsError> {
        let mut warnings = Vec::new();
        for k in key::KEYS {
            let Some((value, origin)) = self.get(k.name) else { continue };
            let harmless = match k.name {
                "client_encoding" => ["utf8", "utf-8", "auto"].contains(&value.to_ascii_lowercase().as_str()),
                "gssencmode" => ["disable", "prefer"].contains(&value),
                "sslcompression" => value == "0",
                "fallback_application_name" => true,
                _ => false,
            };
            match k.usage {
                Use::Honoured => {}
                Use::Ignored if k.name == "gssencmode" && !harmless => return Err(unsupported(k.name, origin)),
                Use::Ignored if harmless => {}
                Use::Ignored => warnings.push(format!("{} from {origin} has no effect in tenantmig", k.name)),
                Use::Refused => return Err(unsupported(k.name, origin)),
            }
        }
        Ok(warnings)
    }

    fn put(&mut self, name: &'static str, value: SecretString, origin: Origin) {
        self.entries.entry(name).or_insert(Entry { value, origin });
    }

    fn put_string(&mut self, text: &str, origin: &Origin, skipped: &[&str]) -> Result<(), SettingsError> {
        let place = origin.to_string();
        let pairs = if uri::is_uri(text) {
            uri::parse(text, &place)?
        } else if let Some(scheme) = foreign_scheme(text) {
            return Err(SettingsError::Malformed {
                place,
                why: format!("scheme {scheme}:// is not PostgreSQL's, write postgresql://"),
            });
        } else if text.contains('=') {
            conninfo::parse(text, &place)?
        } else {
            return Err(SettingsError::Malformed {
                place,
                why: "neither a postgresql:// URI nor key=value pairs".to_owned(),
            });
        };
        self.put_pairs(pairs, text, origin, skipped)
    }

    /// The last of two equal keys counts, as in libpq, so the pairs go in from the end.
    fn put_pairs(
        &mut self,
        pairs: Vec<Pair>,
        text: &str,
        origin: &Origin,
        skipped: &[&str],
    ) -> Result<(), SettingsError> {
        // After a password with an unescaped blank, ? or &, an "unknown key" is a piece of it: name no key then.
        let may_leak = pairs.iter().any(|(k, _)| k == "password") || text.contains('@');
        for (name, value) in pairs.into_iter().rev() {
            let Some(known) = key::find(&name) else {
                let closest = key::closest(&name);
                let shown = if may_leak && closest.is_none() { String::new() } else { name };
                return Err(SettingsError::UnknownKey { place: origin.to_string(), key: shown, closest });
            };
            if !skipped.contains(&known.name) {
                self.put(known.name, value, origin.clone());
            }
        }
        Ok(())
    }

    fn put_service(&mut self, env: &Environment) -> Result<(), SettingsError> {
        let name = self.get("service").map(|(v, _)| v).or_else(|| env.set_var("PGSERVICE"));
        let Some(name) = name.map(str::to_owned) else {
            return Ok(());
        };
        let named = self.get("servicefile").map(|(v, _)| v).or_else(|| env.set_var("PGSERVICEFILE"));
        let (pairs, file) = servicefile::load(&name, servicefile::candidates(named, env))?;
        let origin = Origin::Service { name, file };
        self.put_pairs(pairs, "", &origin, &[])
    }
}

/// libpq's rule for `-d`: a URI, or anything with a `=`.
fn is_connection_string(text: &str) -> bool {
    uri::is_uri(text) || foreign_scheme(text).is_some() || text.contains('=')
}

/// The scheme of a URI that is not PostgreSQL's, such as SQLAlchemy's `postgresql+psycopg2`.
fn foreign_scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let plain = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (plain && !uri::is_uri(text)).then_some(scheme)
}

fn unsupported(key: &'static str, origin: &Origin) -> SettingsError {
    SettingsError::Unsupported { key, place: origin.to_string() }
}

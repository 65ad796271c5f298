//! Reads a section of the connection service file, as libpq's `parseServiceFile` does.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::conninfo::Pair;
use super::environment::Environment;
use super::key;
use super::settings_error::SettingsError;

/// Where Debian's libpq looks for the system-wide file when PGSYSCONFDIR is unset.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// The files to search, in order: the named one or else the user's, then the system-wide one.
pub(super) fn candidates(named: Option<&str>, env: &Environment) -> Vec<PathBuf> {
    let user = match named {
        Some(file) => Some(PathBuf::from(file)),
        None => env.home().map(|h| h.join(".pg_service.conf")),
    };
    let system = Path::new(env.set_var("PGSYSCONFDIR").unwrap_or(SYSTEM_DIRECTORY)).join("pg_service.conf");
    user.into_iter().chain([system]).collect()
}

/// The pairs of section `[name]` in the first file that has it, and that file.
pub(super) fn load(name: &str, files: Vec<PathBuf>) -> Result<(Vec<Pair>, PathBuf), SettingsError> {
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => {
                return Err(SettingsError::ServiceFile {
                    file: file.clone(),
                    line: 0,
                    why: format!("cannot be read ({})", e.kind()),
                });
            }
        };
        if let Some(pairs) = section(&text, name, file)? {
            return Ok((pairs, file.clone()));
        }
    }
    Err(SettingsError::ServiceMissing { name: name.to_owned(), searched: files })
}

fn section(text: &str, name: &str, file: &Path) -> Result<Option<Vec<Pair>>, SettingsError> {
    let mut pairs: Option<Vec<Pair>> = None;
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if pairs.is_some() {
                break;
            }
            if header.strip_suffix(']') == Some(name) {
                pairs = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = pairs.as_mut() else { continue };
        let wrong = |why: String| SettingsError::ServiceFile { file: file.to_owned(), line: i + 1, why };
        if line.starts_with("ldap") && line.contains("://") {
            return Err(wrong("LDAP lookup is not supported".to_owned()));
        }
        let (known, value) = line.split_once('=').ok_or_else(|| wrong("the line has no \"=\"".to_owned()))?;
        match key::find(known) {
            None => {
                let hint = key::closest(known).map(|k| format!(", did you mean \"{k}\"?")).unwrap_or_default();
                return Err(wrong(format!("unknown key \"{known}\"{hint}")));
            }
            Some(k) if k.name == "service" || k.name == "servicefile" => {
                return Err(wrong("a service may not name another service".to_owned()));
            }
            // The first of two equal keys counts, as in libpq.
            Some(k) if !pairs.iter().any(|(seen, _)| seen == k.name) => {
                pairs.push((k.name.to_owned(), SecretString::from(value.to_owned())));
            }
            Some(_) => {}
        }
    }
    Ok(pairs)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const TEXT: &str = "# comment\nhost=before\n[one]\nhost=a\n port=1 \nhost=b\n\n[two]\nuser=u\n[typo]\nhots=a\n[bare]\nhost\n\
                        [ldap]\nldap://x/y\n[nested]\nservice=one\n[one]\nhost=c\n";

    fn check(name: &str, expect: Result<&[(&str, &str)], &str>) {
        let got = section(TEXT, name, Path::new("/x/services"));
        match (got, expect) {
            (Ok(pairs), Ok(expect)) => {
                let pairs = pairs.unwrap_or_default();
                let got: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
                assert_eq!(got, expect, "{name}");
            }
            (Err(e), Err(expect)) => assert_eq!(e.to_string(), expect, "{name}"),
            (got, expect) => panic!("{name}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn reads_one_section() {
        check("one", Ok(&[("host", "a"), ("port", "1")]));
        check("two", Ok(&[("user", "u")]));
        check("none", Ok(&[]));
        check("typo", Err("service file /x/services:11: unknown key \"hots\", did you mean \"host\"?"));
        check("bare", Err("service file /x/services:13: the line has no \"=\""));
        check("ldap", Err("service file /x/services:15: LDAP lookup is not supported"));
        check("nested", Err("service file /x/services:17: a service may not name another service"));
    }

    #[test]
    fn the_users_file_comes_before_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join(".pg_service.conf"), "[mine]\nhost=home\n").unwrap();
        std::fs::write(dir.path().join("pg_service.conf"), "[mine]\nhost=no\n[shared]\nhost=system\n").unwrap();
        std::fs::write(dir.path().join("named"), "[named]\nhost=named\n").unwrap();
        let env = Environment::of(&[("HOME", home.to_str().unwrap()), ("PGSYSCONFDIR", dir.path().to_str().unwrap())]);
        let host = |service: &str, named: Option<&str>| {
            load(service, candidates(named, &env)).map(|(pairs, _)| pairs[0].1.expose_secret().to_owned())
        };
        assert_eq!(host("mine", None).unwrap(), "home");
        assert_eq!(host("shared", None).unwrap(), "system");
        let named = dir.path().join("named");
        assert_eq!(host("named", named.to_str()).unwrap(), "named");
        assert_eq!(host("mine", named.to_str()).unwrap(), "no");
        let missing = host("absent", None).unwrap_err();
        assert_eq!(missing.code(), "TM0905");
        assert!(missing.to_string().contains(".pg_service.conf"), "{missing}");
    }
}

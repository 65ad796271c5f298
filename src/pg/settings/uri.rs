//! Parses `postgresql://` URIs as libpq's `conninfo_uri_parse` does, with more care about misplaced passwords.

use secrecy::SecretString;

use super::conninfo::Pair;
use super::settings_error::SettingsError;

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Whether libpq would read this text as a URI.
pub(super) fn is_uri(text: &str) -> bool {
    SCHEMES.iter().any(|s| text.starts_with(s))
}

/// Parses `postgresql://user:password@host:port,host2:port2/dbname?key=value&…` to libpq's keys. Several hosts become
/// comma-separated `host` and `port` values, as libpq has them.
///
/// No error quotes the text, because an unescaped `@`, `/` or `?` in a password lands in any part of it.
pub(super) fn parse(text: &str, place: &str) -> Result<Vec<Pair>, SettingsError> {
    let malformed = |why: &str| SettingsError::Malformed { place: place.to_owned(), why: why.to_owned() };
    let rest = SCHEMES.iter().find_map(|s| text.strip_prefix(s)).ok_or_else(|| malformed("not a postgresql:// URI"))?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (userinfo, hosts) = match authority.split_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        None => (None, authority),
    };
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    let stray_password = hosts.contains('@') || (userinfo.is_none() && hosts.contains(':') && tail.contains('@'));
    if stray_password {
        return Err(malformed(
            "an \"@\" stands where none may; inside a password write @ as %40, / as %2F, ? as %3F, : as %3A",
        ));
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    if let Some(userinfo) = userinfo {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        if !user.is_empty() {
            pairs.push(("user".into(), decode(user).map_err(malformed)?));
        }
        if let Some(password) = password.filter(|p| !p.is_empty()) {
            pairs.push(("password".into(), decode(password).map_err(malformed)?));
        }
    }
    push_hosts(hosts, &mut pairs).map_err(malformed)?;
    let dbname = path.strip_prefix('/').unwrap_or(path);
    if !dbname.is_empty() {
        pairs.push(("dbname".into(), decode(dbname).map_err(malformed)?));
    }
    if let Some(query) = query {
        push_query(query, &mut pairs).map_err(malformed)?;
    }
    Ok(pairs.into_iter().map(|(k, v)| (k, SecretString::from(v))).collect())
}

fn push_hosts(hosts: &str, pairs: &mut Vec<(String, String)>) -> Result<(), &'static str> {
    if hosts.is_empty() {
        return Ok(());
    }
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for spec in hosts.split(',') {
        let (name, port) = if let Some(bracketed) = spec.strip_prefix('[') {
            let (name, after) = bracketed.split_once(']').ok_or("an IPv6 address lacks its \"]\"")?;
            match after.strip_prefix(':') {
                Some(port) => (name, port),
                None if after.is_empty() => (name, ""),
                None => return Err("something other than a port follows \"]\""),
            }
        } else {
            spec.split_once(':').unwrap_or((spec, ""))
        };
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err("a port is not a number (inside a password write : as %3A, / as %2F, @ as %40)");
        }
        names.push(decode(name)?);
        ports.push(port);
    }
    if names.iter().any(|n| !n.is_empty()) {
        pairs.push(("host".into(), names.join(",")));
    }
    if ports.iter().any(|p| !p.is_empty()) {
        pairs.push(("port".into(), ports.join(",")));
    }
    Ok(())
}

fn push_query(query: &str, pairs: &mut Vec<(String, String)>) -> Result<(), &'static str> {
    for parameter in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = parameter.split_once('=').ok_or("a query parameter lacks its \"=\"")?;
        if value.contains('=') {
            return Err("a query parameter has a second \"=\" (write it as %3D)");
        }
        let (key, value) = (decode(key)?, decode(value)?);
        // JDBC's spelling, which libpq takes in URIs too.
        if key == "ssl" && value == "true" {
            pairs.push(("sslmode".into(), "require".into()));
        } else {
            pairs.push((key, value));
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(0), Some(0)) => return Err("%00 is not allowed"),
            (Some(high), Some(low)) => out.push(high * 16 + low),
            (Some(_) | None, None) | (None, Some(_)) => {
                return Err("a \"%\" is not followed by two hexadecimal digits (write % itself as %25)");
            }
        }
    }
    String::from_utf8(out).map_err(|_| "percent-encoded bytes are not UTF-8")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let pairs = parse(text, "-d").unwrap();
        let got: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn reads_uris_as_libpq_does() {
        check("postgresql://", &[]);
        check("postgres://h", &[("host", "h")]);
        check("postgresql://u@h:1/d", &[("user", "u"), ("host", "h"), ("port", "1"), ("dbname", "d")]);
        check("postgresql://u:p%40%2F@h", &[("user", "u"), ("password", "p@/"), ("host", "h")]);
        check("postgresql://u:p:q@h", &[("user", "u"), ("password", "p:q"), ("host", "h")]);
        check("postgresql://[::1]:5433/d", &[("host", "::1"), ("port", "5433"), ("dbname", "d")]);
        check("postgresql://a:1,b:2/d", &[("host", "a,b"), ("port", "1,2"), ("dbname", "d")]);
        check("postgresql://a,b:2", &[("host", "a,b"), ("port", ",2")]);
        check("postgresql:///d?host=/tmp&port=3", &[("dbname", "d"), ("host", "/tmp"), ("port", "3")]);
        check("postgresql://%2Ftmp/d", &[("host", "/tmp"), ("dbname", "d")]);
        check("postgresql://:1/d", &[("port", "1"), ("dbname", "d")]);
        check("postgresql://h/d?ssl=true", &[("host", "h"), ("dbname", "d"), ("sslmode", "require")]);
        check("postgresql://h?application_name=a@b", &[("host", "h"), ("application_name", "a@b")]);
        check("postgresql://h/d?options=-c%20a%3Db", &[("host", "h"), ("dbname", "d"), ("options", "-c a=b")]);
    }

    #[test]
    fn errors_never_quote_the_uri() {
        for text in [
            "postgresql://u:hunter2@x@h/d",
            "postgresql://u:hunter2/x@h/d",
            "postgresql://u:12?hunter2=x@h/d",
            "postgresql://u:hunter2",
            "postgresql://u:hunter2%zz@h",
            "postgresql://u:hunter2%0@h",
            "postgresql://u:hunter2%00@h",
            "postgresql://u:hunter2@h?x",
            "postgresql://u:hunter2@h?a=b=c",
            "postgresql://u:hunter2@[::1/d",
            "postgresql://u:hunter2@[::1]x/d",
            "postgresql://u:hunter2%ff@h",
        ] {
            let error = parse(text, "-d").expect_err(text);
            assert_eq!(error.code(), "TM0901");
            let shown = format!("{error} {error:?} {}", error.remedy());
            assert!(!shown.contains("hunter"), "{shown}");
        }
    }
}

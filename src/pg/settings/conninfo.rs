//! Parses `key=value` connection strings as libpq's `conninfo_parse` does.

use secrecy::SecretString;

use super::settings_error::SettingsError;

/// One key and its value, in the order of the string.
pub(super) type Pair = (String, SecretString);

/// Parses `host=/tmp dbname = 'my db'`: blanks around `=` are allowed, values with blanks stand in single quotes,
/// `\` takes the next character literally. `place` names the string's origin in errors.
pub(super) fn parse(text: &str, place: &str) -> Result<Vec<Pair>, SettingsError> {
    let malformed = |why: String| SettingsError::Malformed { place: place.to_owned(), why };
    let mut chars = text.chars().peekable();
    let mut pairs: Vec<Pair> = Vec::new();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_ascii_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.next_if_eq(&'=').is_none() {
            // The word itself is not quoted: after `password=two words` it is half of the password.
            return Err(malformed(format!(
                "word {} has no \"=\" after it (a value that holds blanks stands in single quotes)",
                pairs.len() + 1
            )));
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let value = if chars.next_if_eq(&'\'').is_some() {
            quoted_value(&mut chars)
                .ok_or_else(|| malformed(format!("unterminated quote in the value of key {}", pairs.len() + 1)))?
        } else {
            bare_value(&mut chars)
        };
        pairs.push((key, SecretString::from(value)));
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted_value(chars: &mut Chars<'_>) -> Option<String> {
    let mut value = String::new();
    loop {
        match chars.next()? {
            '\'' => return Some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

fn bare_value(chars: &mut Chars<'_>) -> String {
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace()) {
        match c {
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    value
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
    fn reads_pairs_as_libpq_does() {
        check("", &[]);
        check("host=a port=1", &[("host", "a"), ("port", "1")]);
        check("  host = a\tport= 1 ", &[("host", "a"), ("port", "1")]);
        check("dbname='my db' user=''", &[("dbname", "my db"), ("user", "")]);
        check(r"password='it\'s' options=-c\ a=b", &[("password", "it's"), ("options", "-c a=b")]);
        check(r"password=a\\b", &[("password", r"a\b")]);
        check("host=a host=b", &[("host", "a"), ("host", "b")]);
        check("dbname=naïve", &[("dbname", "naïve")]);
        check("host=a,b port=5432,5433", &[("host", "a,b"), ("port", "5432,5433")]);
    }

    #[test]
    fn errors_never_quote_the_string() {
        for text in ["password=hunter2 hunter3 host=a", "password='hunter2", "host=a hunter2", r"password='hunter2\"] {
            let error = parse(text, "DATABASE_URL").unwrap_err();
            assert_eq!(error.code(), "TM0901");
            let shown = format!("{error} {error:?} {}", error.remedy());
            assert!(shown.contains("DATABASE_URL") && !shown.contains("hunter"), "{shown}");
        }
    }
}

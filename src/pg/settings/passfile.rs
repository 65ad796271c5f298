//! Looks a password up in `~/.pgpass`, as libpq's `passwordFromFile` does.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

/// What is read of a password file; a larger file is not one.
const PASSFILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the caller wants to log in to. A local socket in a default directory counts as host `localhost`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub host: &'a str,
    pub port: u16,
    pub dbname: &'a str,
    pub user: &'a str,
}

/// Reads the file: `Ok(None)` when it does not exist, `Err` with a warning when it has to be ignored.
pub(super) fn read(file: &Path) -> Result<Option<String>, String> {
    let Ok(meta) = std::fs::metadata(file) else {
        return Ok(None);
    };
    let shown = file.display();
    if !meta.is_file() {
        return Err(format!("password file {shown} is not a plain file: ignored"));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "password file {shown} has group or world access (mode {mode:04o}): ignored; run: chmod 0600 {shown}"
        ));
    }
    let mut text = Vec::new();
    std::fs::File::open(file)
        .and_then(|f| f.take(PASSFILE_BYTES_MAX).read_to_end(&mut text))
        .map_err(|e| format!("password file {shown} cannot be read ({}): ignored", e.kind()))?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// The first line that matches all four fields gives the password, with its line number counted from 1.
pub(super) fn find(text: &str, wanted: Wanted<'_>) -> Option<(SecretString, usize)> {
    let port = wanted.port.to_string();
    text.lines().enumerate().find_map(|(i, line)| {
        if line.starts_with('#') {
            return None;
        }
        let mut rest = line;
        for field in [wanted.host, &port, wanted.dbname, wanted.user] {
            let (pattern, after) = split_field(rest)?;
            if pattern != "*" && unescape(pattern) != field {
                return None;
            }
            rest = after;
        }
        let password = split_field(rest).map_or(rest, |(password, _)| password);
        (!password.is_empty()).then(|| (SecretString::from(unescape(password)), i + 1))
    })
}

/// Splits at the first `:` that no `\` escapes.
fn split_field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..i], &text[i + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn check(text: &str, expect: Option<(&str, usize)>) {
        let wanted = Wanted { host: "::1", port: 5432, dbname: "d:b", user: "bob" };
        let got = find(text, wanted);
        assert_eq!(got.as_ref().map(|(p, l)| (p.expose_secret(), *l)), expect, "{text}");
    }

    #[test]
    fn the_first_matching_line_wins() {
        check("", None);
        check("*:*:*:*:pw", Some(("pw", 1)));
        check("# *:*:*:*:no\n*:*:*:bob:pw\n*:*:*:*:later", Some(("pw", 2)));
        check(r"\:\:1:5432:d\:b:bob:pw", Some(("pw", 1)));
        check(r"::1:5432:d\:b:bob:pw", None);
        check("*:5433:*:*:no\n*:5432:*:*:pw", Some(("pw", 2)));
        check("*:*:*:alice:no", None);
        check(r"*:*:*:*:a\:b\\c", Some((r"a:b\c", 1)));
        check("*:*:*:*:a:b", Some(("a", 1)));
        check(r"\*:*:*:*:no", None);
        check("*:*:*:*:\n*:*:*:*:pw", Some(("pw", 2)));
        check("*:*:*:*:pw\r\n", Some(("pw", 1)));
        check("garbage\n*:*:*:*:pw", Some(("pw", 2)));
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pgpass");
        assert_eq!(read(&file), Ok(None));
        assert!(read(dir.path()).unwrap_err().contains("not a plain file"));
        std::fs::write(&file, "*:*:*:*:hunter2").unwrap();
        for (mode, ignored) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o666, true)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            match read(&file) {
                Ok(text) => assert!(!ignored && text.is_some(), "{mode:o}"),
                Err(warning) => {
                    assert!(ignored && warning.contains("chmod 0600") && !warning.contains("hunter2"), "{mode:o}")
                }
            }
        }
    }
}

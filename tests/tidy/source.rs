//! The repository's Rust files, and their text without comments, strings and tests.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
};

/// A file, and views of it of the same length, so that a place in one is a place in all.
#[derive(Debug)]
pub struct File {
    /// From the repository's root, with slashes.
    pub path: String,
    pub text: String,
    /// Comments and what is in quotes blanked.
    pub code: String,
    /// Likewise, and what is compiled for tests only blanked.
    pub live: String,
    /// What is compiled for tests only and comments blanked; strings are there.
    pub spoken: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let (code, mut spoken) = (blank(text, true), blank(text, false));
        let mut live = code.clone();
        for range in test_items(&code) {
            wipe(&mut live, range.clone());
            wipe(&mut spoken, range);
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, live, spoken }
    }

    /// `src/engine/run.rs` is of the module `engine`; `None` outside src.
    pub fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split(['/', '.']).next().unwrap_or(inside))
    }

    /// The line of the byte `at`, from 1.
    pub fn line(&self, at: usize) -> usize {
        1 + self.text[..at].matches('\n').count()
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The paths of the Rust files that git knows; in an unpacked archive, of all below src and tests.
pub fn paths() -> Vec<String> {
    let git = Command::new("git").args(["ls-files", "--", "*.rs"]).current_dir(root()).output();
    let listed = git.ok().filter(|out| out.status.success()).map(|out| String::from_utf8(out.stdout).unwrap());
    let mut paths: Vec<String> = listed.unwrap_or_default().lines().map(str::to_owned).collect();
    if paths.is_empty() {
        ["src", "tests"].iter().for_each(|folder| walk(&root().join(folder), &mut paths));
    }
    paths.retain(|path| root().join(path).is_file());
    paths
}

fn walk(folder: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            paths.push(path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"));
        }
    }
}

/// Every Rust file of the repository.
pub fn files() -> Vec<File> {
    const FILES_MIN: usize = 100;
    let files: Vec<File> =
        paths().iter().map(|path| File::new(path, &fs::read_to_string(root().join(path)).unwrap())).collect();
    assert!(files.len() > FILES_MIN, "only {} files found", files.len());
    files
}

/// Where `needle` stands in `text` as a word of its own.
pub fn words<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let open = part(needle.chars().next());
    let closed = part(needle.chars().next_back());
    text.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + needle.len()..].chars().next();
        !(open && part(before) || closed && part(after))
    })
}

/// The end of the bracket that opens at `open`, past its closing one.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (i, c) in code[open..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return open + i + c.len_utf8();
        }
    }
    code.len()
}

/// `text` with comments blanked, and with `strings` what is between quotes too. Lines and bytes stay where they are.
fn blank(text: &str, strings: bool) -> String {
    let mut out = text.to_owned();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let comment = if rest.starts_with("//") {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            Some(block_comment(rest))
        } else {
            None
        };
        let quoted = quoted(text, at);
        match (comment, quoted) {
            (Some(length), _) => {
                wipe(&mut out, at..at + length);
                at += length;
            }
            (None, Some((inner, end))) => {
                if strings {
                    wipe(&mut out, inner);
                }
                at = end;
            }
            (None, None) => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    out
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// What is between the quotes of the string or character literal that starts at `at`, and where the literal ends.
fn quoted(text: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let rest = &text[at..];
    let inside_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !inside_word || text[..at].ends_with(['b', 'c'])) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = at + 1 + hashes + 1;
            let end = text[start..].find(&format!("\"{}", "#".repeat(hashes))).map_or(text.len(), |n| start + n);
            return Some((start..end, end + 1 + hashes));
        }
    }
    let plain = |inner: usize| (at + 1..at + 1 + inner, at + 1 + inner + 1);
    if let Some(inner) = rest.strip_prefix('"') {
        return Some(plain(escaped(inner, '"')));
    }
    let next: Vec<char> = rest.strip_prefix('\'')?.chars().take(2).collect();
    match next.as_slice() {
        ['\\', _] => Some(plain(escaped(&rest[1..], '\''))),
        [c, '\''] => Some(plain(c.len_utf8())),
        _ => None, // a lifetime
    }
}

fn escaped(inner: &str, quote: char) -> usize {
    let mut skip = false;
    for (i, c) in inner.char_indices() {
        match c {
            _ if skip => skip = false,
            '\\' => skip = true,
            _ if c == quote => return i,
            _ => {}
        }
    }
    inner.len()
}

fn wipe(text: &mut String, range: Range<usize>) {
    let range = range.start.min(text.len())..range.end.min(text.len());
    let blank: String = text[range.clone()].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &blank);
}

/// The items below `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let starts = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    let end = |at: usize| {
        let mut from = at;
        while code[from..].trim_start().starts_with("#[") {
            let open = from + code[from..].find('[').unwrap_or(0);
            from = closing(code, open);
        }
        let stop = code[from..].find(['{', ';']).map_or(code.len(), |n| from + n);
        if code[stop..].starts_with('{') { closing(code, stop) } else { stop + 1 }
    };
    starts.map(|at| at..end(at)).collect()
}

#[test]
fn comments_strings_and_tests_are_told_from_code() {
    let text = "let a = \"// {\"; // } fn x\nlet b = r#\"\"{\"#; /* { /* */ { */ let c = '{'; let d: &'a str = b'\\'';\n\
                #[cfg(test)]\n#[allow(x)]\nmod tests { fn f() { g(\"}\") } }\nfn live() {}\n#[cfg(test)]\nmod trial;\nlet e = \"größe }\";";
    let file = File::new("src/a/b.rs", text);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for view in [&file.code, &file.live, &file.spoken] {
        assert_eq!(view.matches('\n').count(), text.matches('\n').count());
        assert_eq!(view.len(), text.len());
    }
    assert_eq!(
        squeezed(&file.live),
        "let a = \" \"; let b = r#\" \"#; let c = ' '; let d: &'a str = b' '; fn live() {} let e = \" \";"
    );
    assert!(file.spoken.contains("größe }") && !file.spoken.contains("fn x") && !file.spoken.contains("trial"));
    assert_eq!((file.module(), file.line(text.find("fn live").unwrap())), (Some("a"), 6));
    assert_eq!(words("fs::x prefs::y (fs::z)", "fs::").collect::<Vec<_>>(), [0, 16]);
}

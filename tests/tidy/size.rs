//! How large things may be, and what files may not be called.

use crate::{
    found, none,
    source::{File, closing, files, words},
};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// What wants one of these names lacks a home.
const NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "shared"];

fn too_large(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            out.push(format!("{}: {lines} lines, {FILE_LINES_MAX} are allowed", file.path));
        }
        if let Some(name) = file.path.split('/').map(|part| part.trim_end_matches(".rs")).find(|n| NAMES.contains(n)) {
            out.push(format!("{}: `{name}` does not say what is in it", file.path));
        }
        for (at, name, lines) in functions(file).into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX) {
            out.push(format!(
                "{}:{}: fn {name} has {lines} lines, {FUNCTION_LINES_MAX} are allowed",
                file.path,
                file.line(at)
            ));
        }
    }
    out
}

/// Every function with a body: its place, its name and its lines, from `fn` to the closing brace.
fn functions(file: &File) -> Vec<(usize, String, usize)> {
    let code = file.code.as_str();
    let mut out = Vec::new();
    for at in words(code, "fn") {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(body) = body(code, at).filter(|_| !name.is_empty()) else { continue };
        out.push((at, name, code[at..closing(code, body)].matches('\n').count() + 1));
    }
    out
}

/// The opening brace behind a signature; `None` where a semicolon ends it.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(c) = code[at..].chars().next() {
        match c {
            '(' | '[' => at = closing(code, at),
            '{' => return Some(at),
            ';' => return None,
            _ => at += c.len_utf8(),
        }
    }
    None
}

#[test]
fn files_and_functions_fit_in_a_head() {
    let files = files();
    let count: usize = files.iter().map(|file| functions(file).len()).sum();
    assert!(count > 1_000, "only {count} functions found");
    none(&too_large(&files));
}

#[test]
fn planted_giants_are_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&too_large(&[File::new(path, text)]), expect);
    let function = |lines: usize| {
        format!(
            "fn f<T>(a: [u8; 4], b: T) -> u8\nwhere\n    T: Fn() -> u8,\n{{\n{}}}\n",
            "    x(\"}\"); // }\n".repeat(lines)
        )
    };
    check("src/a.rs", &function(FUNCTION_LINES_MAX - 5), &[]);
    check("src/a.rs", &function(FUNCTION_LINES_MAX - 4), &["src/a.rs:1: fn f has 71 lines"]);
    check("src/a.rs", &format!("trait A {{ fn g(&self); }}\nimpl A for B {{\n{}}}", function(80)), &["a.rs:3: fn f"]);
    check("src/a.rs", &"// x\n".repeat(FILE_LINES_MAX), &[]);
    check("src/a.rs", &"// x\n".repeat(FILE_LINES_MAX + 1), &["401 lines"]);
    check("src/pg/util.rs", "", &["`util`"]);
    check("src/common/x.rs", "", &["`common`"]);
    check("tests/it/helpers.rs", "", &["`helpers`"]);
    check("src/pg/utility.rs", "type F = fn(u8) -> u8; struct S { f: fn() }", &[]);
}

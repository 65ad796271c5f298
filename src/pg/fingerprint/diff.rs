//! The difference between two fingerprints, for a person to read.

use std::fmt::Write as _;
use std::time::Duration;

use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, TextDiff};

/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;

/// After this the diff may be longer than the shortest one. The usual difference of some lines takes milliseconds on 100,000;
/// two databases with nothing in common would take minutes.
const DIFF_TIME_MAX: Duration = Duration::from_secs(5);

/// Compares two lists of facts, each sorted. `None` when they are equal; otherwise a unified diff (`-` before, `+` after) in
/// which each hunk's header names the first object that changed. A fact of several lines is indented from its second on.
#[must_use]
pub fn diff(before: &[String], after: &[String]) -> Option<String> {
    if before == after {
        return None;
    }
    let (old, new) = (Text::of(before), Text::of(after));
    let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_slices(&old.refs(), &new.refs());
    let mut out = String::from("--- before\n+++ after\n");
    for ops in diff.grouped_ops(CONTEXT_LINES) {
        let changes = || ops.iter().flat_map(|op| diff.iter_changes(op));
        let object =
            changes().find(|c| c.tag() != ChangeTag::Equal).and_then(|c| match (c.old_index(), c.new_index()) {
                (Some(at), _) => old.object_at(at),
                (None, Some(at)) => new.object_at(at),
                (None, None) => None,
            });
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} {}", UnifiedHunkHeader::new(&ops), object.unwrap_or_default());
        for change in changes() {
            let _ = writeln!(out, "{}{}", change.tag(), change.value());
        }
    }
    Some(out)
}

/// Facts cut into lines of text, each of which knows its fact.
struct Text<'a> {
    lines: Vec<(String, &'a str)>,
}

impl<'a> Text<'a> {
    fn of(facts: &'a [String]) -> Self {
        let lines = facts.iter().flat_map(|fact| {
            let indents = std::iter::once("").chain(std::iter::repeat("    "));
            fact.split('\n').zip(indents).map(move |(line, indent)| (format!("{indent}{line}"), fact.as_str()))
        });
        Self { lines: lines.collect() }
    }

    fn refs(&self) -> Vec<&str> {
        self.lines.iter().map(|(line, _)| line.as_str()).collect()
    }

    /// The part of the fact before its definition.
    fn object_at(&self, at: usize) -> Option<&'a str> {
        self.lines.get(at).map(|(_, fact)| fact.split_once(": ").map_or(*fact, |(object, _)| object))
    }
}

#[cfg(test)]
mod tests {
    use super::diff;

    fn facts(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&l| l.to_owned()).collect()
    }

    #[track_caller]
    fn check(before: &[&str], after: &[&str], expect: Option<&str>) {
        assert_eq!(diff(&facts(before), &facts(after)).as_deref(), expect);
    }

    #[test]
    fn equal_facts_have_no_diff() {
        check(&["a: 1", "b: 2"], &["a: 1", "b: 2"], None);
        check(&[], &[], None);
    }

    #[test]
    fn a_changed_fact_is_shown_with_its_object_and_neighbours() {
        check(
            &["a: 1", "b: 2", "c: 3", "d: 4", "table app.t force row security: forced", "u: 6"],
            &["a: 1", "b: 2", "c: 3", "d: 4", "table app.t force row security: not forced", "u: 6"],
            Some(
                "--- before\n+++ after\n@@ -2,5 +2,5 @@ table app.t force row security\n b: 2\n c: 3\n d: 4\n\
                 -table app.t force row security: forced\n+table app.t force row security: not forced\n u: 6\n",
            ),
        );
    }

    #[test]
    fn only_the_changed_line_of_a_function_is_shown_as_changed() {
        check(
            &["function app.f(): CREATE\nAS 1\nEND"],
            &["function app.f(): CREATE\nAS 2\nEND"],
            Some(
                "--- before\n+++ after\n@@ -1,3 +1,3 @@ function app.f()\n function app.f(): CREATE\n-    AS 1\n+    AS 2\n     END\n",
            ),
        );
    }

    #[test]
    fn a_line_break_moved_from_one_fact_to_the_next_is_a_difference() {
        assert!(diff(&facts(&["a\n    b", "c"]), &facts(&["a", "    b\nc"])).is_some());
    }
}

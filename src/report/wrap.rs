//! Breaking a line at a terminal's width.

use console::measure_text_width;

/// The width below which nothing is tried any more, in columns.
const WIDTH_MIN: usize = 10;

/// Breaks `text` at its spaces into lines of at most `width` columns; the first begins with `first`, the others with as
/// many spaces as `hang`. A word that is wider than a line is broken inside.
pub fn wrap(first: &str, text: &str, hang: usize, width: usize) -> Vec<String> {
    let width = width.max(WIDTH_MIN);
    let hang = " ".repeat(hang.min(width / 2));
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_bare = true;
    for word in text.split(' ') {
        let space = usize::from(!is_bare);
        if !is_bare && measure_text_width(&line) + space + measure_text_width(word) > width {
            lines.push(std::mem::replace(&mut line, hang.clone()));
            is_bare = true;
        }
        if !is_bare {
            line.push(' ');
        }
        is_bare = false;
        // Whole where it fits, so that no colour's sequence is cut.
        if measure_text_width(&line) + measure_text_width(word) <= width {
            line.push_str(word);
            continue;
        }
        for c in word.chars() {
            let mut buffer = [0; 4];
            if measure_text_width(&line) + measure_text_width(c.encode_utf8(&mut buffer)) > width {
                lines.push(std::mem::replace(&mut line, hang.clone()));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_hang() {
        let check = |first: &str, text: &str, hang, width, expect: &[&str]| {
            let lines = wrap(first, text, hang, width);
            assert_eq!(lines, expect);
            assert!(lines.iter().all(|line| measure_text_width(line) <= width), "{lines:?}");
        };
        check("+ ", "add column", 2, 40, &["+ add column"]);
        check("+ ", "add column tenant_id to app.users", 2, 20, &["+ add column", "  tenant_id to", "  app.users"]);
        check("+ ", "abcdefghijklmnop q", 2, 10, &["+ abcdefgh", "  ijklmnop", "  q"]);
        check("+ ", "日本語日本語", 2, 10, &["+ 日本語日", "  本語"]);
        check("+ ", "", 2, 40, &["+ "]);
    }
}

//! Text from elsewhere (a server's message, somebody's query) made fit for one line of a terminal.

/// One line without control characters: what another session's query holds must not move the cursor or paint the screen.
/// Runs of blanks and of control characters become one space.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() || is_direction(c) {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Characters that turn the direction of what follows them (Unicode Standard Annex 9), so that it reads as something else.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of at most `chars_max` characters; what is cut off is shown as `...`.
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= chars_max {
        return line;
    }
    let kept: String = line.chars().take(chars_max.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_harmless_line() {
        for (text, expect) in [
            ("", ""),
            ("  select\n\t 1 ;\r\n", "select 1 ;"),
            ("a\u{1b}[2Jb\u{7}c", "a [2Jb c"),
            ("x\u{202e}y", "x y"),
            ("zähle  日本", "zähle 日本"),
        ] {
            assert_eq!(one_line(text), expect);
        }
    }

    #[test]
    fn a_long_text_is_cut_with_a_sign() {
        for (text, max, expect) in
            [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc..."), ("ab cdefg", 6, "ab..."), ("éééé", 4, "éééé")]
        {
            assert_eq!(excerpt(text, max), expect);
        }
    }
}

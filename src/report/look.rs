//! How the output may look: colours and characters.

/// What the output can show. The caller decides: `--color`, `NO_COLOR`, the terminal, the locale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// ANSI colours.
    pub color: bool,
    /// ✓ ✗ → and bars of blocks; otherwise ASCII.
    pub unicode: bool,
}

/// The sign before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Something begins.
    Begin,
    /// Something is done.
    Done,
    /// Something failed.
    Failed,
    /// Something stands still.
    Wait,
    /// None of these.
    Blank,
}

/// The meaning of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
    Caution,
    Strong,
    Faint,
}

impl Look {
    /// No colours, no characters beyond ASCII.
    pub const fn ascii() -> Self {
        Self { color: false, unicode: false }
    }

    /// `text` in the colour of its meaning.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color || text.trim().is_empty() {
            return text.to_owned();
        }
        // Select Graphic Rendition, ECMA-48: the eight basic colours, which every theme keeps legible.
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Caution => "33",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The sign, one column wide, painted.
    pub fn mark(self, mark: Mark) -> String {
        let (unicode, ascii, tone) = match mark {
            Mark::Begin => ("→", ">", Tone::Strong),
            Mark::Done => ("✓", "+", Tone::Good),
            Mark::Failed => ("✗", "x", Tone::Bad),
            Mark::Wait => ("…", "~", Tone::Caution),
            Mark::Blank => (" ", " ", Tone::Faint),
        };
        self.paint(tone, if self.unicode { unicode } else { ascii })
    }

    /// What stands for the part of a text that was cut off.
    pub fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}

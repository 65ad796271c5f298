//! A drawing, written by hand. Its colours are of middle lightness and it has no ground, so that it reads on white and on black;
//! a style sheet would follow the reader's system, which need not be as dark as the page around it.

use std::fmt::Write;

const FONT: &str = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif";

/// What a mark is for, and so its colour: contrast 3.5 or more to white and to GitHub's black.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Text,
    Faint,
    Ours,
    Others,
    Limit,
    Target,
}

impl Ink {
    fn colour(self) -> &'static str {
        match self {
            Self::Text => "#768390",
            Self::Faint => "#8b949e",
            Self::Ours => "#2f81f7",
            Self::Others => "#8b949e",
            Self::Limit => "#a371f7",
            Self::Target => "#db6d28",
        }
    }
}

/// Where a text is held.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    Start,
    End,
}

/// A drawing in the making.
#[derive(Debug, Default)]
pub struct Drawing {
    body: String,
}

impl Drawing {
    /// A line of text; `size` in pixels.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, (size, bold): (f64, bool), ink: Ink, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::End => "end",
        };
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\"{weight} fill=\"{}\">{text}</text>",
            ink.colour()
        ));
    }

    /// A bar from `x` on.
    pub fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), ink: Ink) {
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{}\"/>",
            ink.colour()
        ));
    }

    /// An upright line.
    pub fn upright(&mut self, x: f64, (top, bottom): (f64, f64), (width, opacity): (f64, f64), ink: Ink) {
        self.put(format_args!(
            "<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"{}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\"/>",
            ink.colour()
        ));
    }

    /// A level line.
    pub fn level(&mut self, (left, right): (f64, f64), y: f64, (width, opacity): (f64, f64), ink: Ink) {
        self.put(format_args!(
            "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"{}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\"/>",
            ink.colour()
        ));
    }

    /// The file; `title` is for those who cannot see it.
    pub fn finish(self, (width, height): (f64, f64), title: &str) -> String {
        let title = title.replace('&', "&amp;").replace('<', "&lt;");
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"{FONT}\">\n<title>{title}</title>\n{}</svg>\n",
            self.body
        )
    }

    fn put(&mut self, mark: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.body, "{mark}");
    }
}

//! Diagnostics: what is wrong in a plan, where, and what to write instead. Rendered as rustc does.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One finding in a plan's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diag {
    pub severity: Severity,
    /// Stable: `TM01xx` for a plan's form, `TM02xx` and `TM03xx` for its meaning; each is explained in `codes`.
    pub code: &'static str,
    /// What is wrong; a lowercase fragment.
    pub message: String,
    /// Bytes of the plan's text.
    pub span: Range<usize>,
    /// Said beside the marked place.
    pub label: String,
    /// Another place that belongs to it.
    pub other: Option<(Range<usize>, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diag {
    /// An error at `span`.
    pub fn error(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            label: String::new(),
            other: None,
            help: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// With words beside the place.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a second place.
    pub fn other(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.other = Some((span, label.into()));
        self
    }
}

/// All findings of one plan, in the order they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diags(pub Vec<Diag>);

impl Diags {
    /// Adds one.
    pub fn push(&mut self, diag: Diag) {
        self.0.push(diag);
    }

    /// Whether the plan must be refused.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// How many errors and warnings there are.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.0.iter().filter(|d| d.severity == Severity::Error).count();
        (errors, self.0.len() - errors)
    }

    /// The findings as text, in the order of their places. `path` names the plan.
    pub fn render(&self, path: &str, source: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut sorted: Vec<&Diag> = self.0.iter().collect();
        sorted.sort_by_key(|d| d.span.start);
        let texts: Vec<String> = sorted.iter().map(|d| renderer.render(&report(d, path, source))).collect();
        texts.join("\n\n")
    }
}

fn report<'a>(diag: &'a Diag, path: &'a str, source: &'a str) -> Vec<Group<'a>> {
    let level = match diag.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut snippet = Snippet::source(source).path(path);
    let mark = AnnotationKind::Primary.span(clamp(&diag.span, source));
    snippet = snippet.annotation(if diag.label.is_empty() { mark } else { mark.label(diag.label.as_str()) });
    if let Some((span, label)) = &diag.other {
        snippet = snippet.annotation(AnnotationKind::Context.span(clamp(span, source)).label(label.as_str()));
    }
    let mut group = level.primary_title(diag.message.as_str()).id(diag.code).element(snippet);
    if let Some(help) = &diag.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    vec![group]
}

fn clamp(span: &Range<usize>, source: &str) -> Range<usize> {
    let end = span.end.min(source.len());
    span.start.min(end)..end
}

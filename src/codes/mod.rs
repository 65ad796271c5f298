//! What the codes of diagnostics and refusals mean: what is wrong, what causes it, what to do. Hazards and classes of an audit
//! explain themselves in their own tables (`hazards`, `audit`); no code is in two of them, and each that the source tells is in
//! one, which a test counts.

mod connecting;
mod database;
mod filling;
mod form;
mod statements;
mod steps;
mod tables;

/// One code.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    pub code: &'static str,
    /// What is wrong; a lowercase fragment.
    pub title: &'static str,
    pub example: Example,
    /// What to do.
    pub help: &'static str,
    /// By which command it is told.
    pub by: &'static str,
}

/// What causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// Lines of a plan. A test reads them, and finds this very code.
    Plan(&'static str),
    /// What only a server shows.
    Words(&'static str),
}

/// Of a plan's text.
const fn plan(code: &'static str, title: &'static str, example: &'static str, help: &'static str) -> Meaning {
    Meaning { code, title, example: Example::Plan(example), help, by: "validate, plan and apply" }
}

/// Of a plan and the database that it is for.
const fn live(code: &'static str, title: &'static str, example: &'static str, help: &'static str) -> Meaning {
    Meaning { code, title, example: Example::Words(example), help, by: "plan and apply" }
}

/// Of the way to the server.
const fn connect(code: &'static str, title: &'static str, example: &'static str, help: &'static str) -> Meaning {
    Meaning { code, title, example: Example::Words(example), help, by: "whatever connects; doctor shows the settings" }
}

/// All of them, by number.
pub fn meanings() -> Vec<Meaning> {
    let parts = [form::ALL, statements::ALL, filling::ALL, steps::ALL, tables::ALL, database::ALL, connecting::ALL];
    let mut all: Vec<Meaning> = parts.concat();
    all.sort_by_key(|meaning| meaning.code);
    all
}

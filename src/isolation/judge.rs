//! What an answer means.

use super::{
    Answer, Refusal,
    report::{Command, Context, On, Verdict},
};

/// One statement that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub command: Command,
    pub context: Context,
    pub on: On,
    /// Whether it tries to give the row to another tenant: the real tenant's UPDATE of the tenant column.
    pub moves: bool,
    /// What the real tenant must see, where that was counted by somebody who sees every row.
    pub owed: Option<i64>,
    /// Whether a session without a tenant must be refused.
    pub strict: bool,
    /// Whether the policies have conditions beyond the tenant, which may hide a tenant's own rows.
    pub further: bool,
    /// Whether the row is made up: it has the tenant and nothing else.
    pub made_up: bool,
    /// Whether the tenant says which partition takes a row: that is asked before the policies are, and a phantom may have none.
    pub routed: bool,
    /// Whether a session that said no tenant is the real one.
    pub fallen: bool,
}

impl Case {
    /// A plain one: nothing is owed and nothing moved.
    pub fn new(command: Command, context: Context, on: On, strict: bool) -> Self {
        Self {
            command,
            context,
            on,
            moves: false,
            owed: None,
            strict,
            further: false,
            made_up: false,
            routed: false,
            fallen: false,
        }
    }
}

/// The verdict on one answer.
pub fn judge(case: Case, answer: &Answer) -> Verdict {
    let verdict = said(case, answer);
    let says_nothing = match &verdict {
        Verdict::Outage(_) => true,
        Verdict::Holds(_) => case.made_up,
        Verdict::Leak(_) | Verdict::Weak(_) | Verdict::Untried(_) | Verdict::Unmeasured(_) => false,
    };
    if case.further && says_nothing {
        return Verdict::Untried(
            "the policies have conditions beyond the tenant, which nobody here may fulfil".to_owned(),
        );
    }
    verdict
}

fn said(case: Case, answer: &Answer) -> Verdict {
    if let (true, Answer::Rows { .. } | Answer::Refused(_)) = (case.fallen, answer) {
        return fallen(case, answer);
    }
    let (rows, foreign) = match answer {
        Answer::Unasked(why) => return Verdict::Untried(why.clone()),
        Answer::Unmeasured(why) => return Verdict::Unmeasured(why.clone()),
        Answer::Glance(why) => return Verdict::Holds(why.clone()),
        Answer::Rows { rows, foreign } => (*rows, *foreign),
        Answer::Refused(refusal) => return refused(case, refusal),
    };
    match (case.command, case.context) {
        (_, Context::Real) => own(case, rows, foreign),
        (command, Context::None | Context::Empty | Context::Garbage | Context::Phantom) => others(case, command, rows),
    }
}

/// As the tenant to which the context function falls back: its rows, and nobody else's. What it may write it may.
fn fallen(case: Case, answer: &Answer) -> Verdict {
    let who = case.context.words();
    match (case.command, answer) {
        (Command::Select, Answer::Rows { foreign: 1.., .. }) => {
            Verdict::Leak(format!("{who} rows of others than the fallback tenant are visible"))
        }
        (Command::Select, Answer::Rows { .. }) => {
            Verdict::Holds("the rows of the fallback tenant and no others".to_owned())
        }
        (Command::Select, Answer::Refused(refusal)) => unmeasured(refusal),
        _ => Verdict::Untried(format!("{who} a session is the fallback tenant")),
    }
}

/// Rows where none may be reached.
fn others(case: Case, command: Command, rows: i64) -> Verdict {
    let who = case.context.words();
    match command {
        Command::Select if rows == 0 => Verdict::Holds("no row".to_owned()),
        Command::Select => Verdict::Leak(format!("{who} {rows} rows or more are visible")),
        // A BEFORE trigger that returns NULL, or a rule.
        Command::Insert if rows == 0 => Verdict::Unmeasured("something swallowed the row".to_owned()),
        Command::Insert => Verdict::Leak(format!("{who} a row can be planted in a real tenant")),
        Command::Update | Command::Delete if rows == 0 => Verdict::Holds("0 rows".to_owned()),
        Command::Update => Verdict::Leak(format!("{who} a real tenant's row can be changed")),
        Command::Delete => Verdict::Leak(format!("{who} a real tenant's row can be deleted")),
    }
}

/// As a real tenant: its own rows are there, all and no others, and none leaves it.
fn own(case: Case, rows: i64, foreign: i64) -> Verdict {
    if case.moves {
        return if rows == 0 {
            Verdict::Unmeasured("the row was gone meanwhile".to_owned())
        } else {
            Verdict::Leak("a row can be moved into another tenant".to_owned())
        };
    }
    if foreign > 0 {
        return Verdict::Leak(format!("a tenant sees rows of another one: {foreign} of those looked at"));
    }
    match (case.command, case.owed) {
        (Command::Select, _) if rows == 0 => Verdict::Outage(
            "a tenant that has rows sees none of them: is the setting's name the one that the policy reads?".to_owned(),
        ),
        (Command::Select, Some(owed)) if owed > rows && case.further && rows > 0 => Verdict::Holds(format!(
            "{rows} of its {owed} rows and no others; the policies have conditions beyond the tenant"
        )),
        (Command::Select, Some(owed)) if owed > rows => {
            Verdict::Outage(format!("a tenant sees {rows} of its {owed} rows"))
        }
        (Command::Select, Some(_)) => Verdict::Holds(format!("{rows} rows, all of them and no others")),
        (Command::Select, None) => Verdict::Holds(format!(
            "{rows} rows and no others; not compared with all that it has, which this role may not count"
        )),
        (Command::Insert | Command::Update | Command::Delete, _) if rows == 0 => {
            Verdict::Outage("a tenant does not reach its own row".to_owned())
        }
        (Command::Insert | Command::Update | Command::Delete, _) => Verdict::Holds("its own row".to_owned()),
    }
}

/// An error: of a policy, of the context, of something that is asked after them, or of neither.
fn refused(case: Case, refusal: &Refusal) -> Verdict {
    let who = case.context.words();
    if case.context == Context::Real {
        return refused_its_own(case, refusal);
    }
    let unset = matches!(case.context, Context::None | Context::Empty);
    if refusal.is_denied() && (case.strict && unset || case.command == Command::Insert) {
        return Verdict::Holds("refused, 42501".to_owned());
    }
    if refusal.is_noise() {
        return if case.context == Context::Garbage {
            Verdict::Holds(format!("refused, {}", refusal.sqlstate))
        } else {
            Verdict::Weak(format!(
                "{who} it is closed by an error that the application must expect: {}",
                refusal.told()
            ))
        };
    }
    // Policies are asked before constraints and indexes are, so the row had passed them.
    if refusal.is_past_the_policies() && case.command != Command::Select {
        return Verdict::Leak(format!(
            "{who} a real tenant's row is reached; only a constraint stopped it: {}",
            refusal.told()
        ));
    }
    if refusal.is_denied() && case.command == Command::Update {
        return Verdict::Weak(format!("{who} USING lets a real tenant's row in, and only WITH CHECK refuses it"));
    }
    unmeasured(refusal)
}

fn refused_its_own(case: Case, refusal: &Refusal) -> Verdict {
    if case.moves {
        return match refusal.sqlstate.as_str() {
            "42501" => Verdict::Holds("refused, 42501".to_owned()),
            "23514" if case.routed => Verdict::Untried(
                "no partition takes a tenant that does not exist: tried on a copy of its policies only".to_owned(),
            ),
            _ if refusal.is_past_the_policies() => Verdict::Leak(format!(
                "a row can be moved into another tenant; only a constraint stopped this one: {}",
                refusal.told()
            )),
            _ => unmeasured(refusal),
        };
    }
    if refusal.is_past_the_policies() {
        return Verdict::Holds("its own row".to_owned());
    }
    // 42P17: a policy that queries its own table.
    if refusal.is_denied() || refusal.is_noise() || refusal.sqlstate == "42P17" {
        return Verdict::Outage(format!("a tenant is refused its own rows: {}", refusal.told()));
    }
    unmeasured(refusal)
}

/// Locks, deadlines and lost sessions say nothing about the policy, nor does what a trigger raised before it was asked.
fn unmeasured(refusal: &Refusal) -> Verdict {
    Verdict::Unmeasured(match refusal.sqlstate.as_str() {
        "57014" => "it took longer than a probe may; an index on the tenant column makes it short".to_owned(),
        "55P03" => "the row is locked by somebody".to_owned(),
        _ => refusal.told(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Holds(_) => "holds",
            Verdict::Leak(_) => "leak",
            Verdict::Outage(_) => "outage",
            Verdict::Weak(_) => "weak",
            Verdict::Untried(_) => "untried",
            Verdict::Unmeasured(_) => "unmeasured",
        }
    }

    #[track_caller]
    fn check(command: Command, context: Context, strict: bool, answer: &Answer, expect: &str) {
        let verdict = judge(Case::new(command, context, On::Table, strict), answer);
        assert_eq!(word(&verdict), expect, "{command:?} {context:?}: {verdict:?}");
    }

    #[test]
    fn nothing_may_be_read_without_a_tenant() {
        let denied = Answer::refused("42501", "no");
        for context in [Context::None, Context::Empty, Context::Garbage, Context::Phantom] {
            check(Command::Select, context, false, &Answer::rows(0), "holds");
            check(Command::Select, context, false, &Answer::rows(1), "leak");
            // Not a policy's word: a policy hides.
            check(Command::Select, context, false, &denied, "unmeasured");
            check(Command::Select, context, false, &Answer::refused("57014", "late"), "unmeasured");
        }
        check(Command::Select, Context::None, true, &denied, "holds");
        check(Command::Select, Context::Empty, true, &denied, "holds");
        check(Command::Select, Context::Phantom, true, &denied, "unmeasured");
        check(Command::Select, Context::Garbage, false, &Answer::refused("22P02", "no uuid"), "holds");
        check(Command::Select, Context::Empty, false, &Answer::refused("22P02", "no uuid"), "weak");
        check(Command::Select, Context::None, false, &Answer::refused("42704", "unknown"), "weak");
    }

    #[test]
    fn who_falls_back_sees_one_tenant() {
        let case = Case { fallen: true, ..Case::new(Command::Select, Context::None, On::Table, false) };
        let see = |foreign: i64| word(&judge(case, &Answer::Rows { rows: 5, foreign }));
        assert_eq!([see(0), see(1)], ["holds", "leak"]);
        let insert = Case { command: Command::Insert, ..case };
        assert_eq!(word(&judge(insert, &Answer::rows(1))), "untried");
    }

    #[test]
    fn a_constraint_that_spoke_tells_that_the_policy_did_not() {
        check(Command::Insert, Context::Phantom, false, &Answer::refused("42501", "no"), "holds");
        check(Command::Insert, Context::Phantom, false, &Answer::refused("23505", "twice"), "leak");
        check(Command::Insert, Context::Phantom, false, &Answer::rows(1), "leak");
        check(Command::Insert, Context::Phantom, false, &Answer::refused("P0001", "a trigger"), "unmeasured");
        check(Command::Delete, Context::Phantom, false, &Answer::rows(0), "holds");
        check(Command::Delete, Context::Phantom, false, &Answer::rows(1), "leak");
        check(Command::Delete, Context::Phantom, false, &Answer::refused("23503", "a child"), "leak");
        check(Command::Update, Context::Phantom, false, &Answer::refused("42501", "no"), "weak");
    }

    #[test]
    fn a_tenant_gets_what_is_its_own_and_loses_nothing() {
        let see = |owed: Option<i64>, rows: i64, foreign: i64| {
            let case = Case { owed, ..Case::new(Command::Select, Context::Real, On::Table, false) };
            word(&judge(case, &Answer::Rows { rows, foreign }))
        };
        assert_eq!([see(Some(3), 3, 0), see(Some(3), 2, 0), see(None, 1, 0)], ["holds", "outage", "holds"]);
        assert_eq!([see(Some(3), 0, 0), see(Some(3), 3, 1), see(None, 0, 0)], ["outage", "leak", "outage"]);
        let moves = |routed: bool, answer: &Answer| {
            let case = Case { moves: true, routed, ..Case::new(Command::Update, Context::Real, On::Table, false) };
            word(&judge(case, answer))
        };
        let moved = |answer: &Answer| moves(false, answer);
        assert_eq!(moves(true, &Answer::refused("23514", "no partition")), "untried");
        assert_eq!(moved(&Answer::refused("42501", "no")), "holds");
        assert_eq!(moved(&Answer::rows(1)), "leak");
        assert_eq!(moved(&Answer::refused("23503", "no such tenant")), "leak");
        assert_eq!(moved(&Answer::refused("23514", "a check")), "leak");
        assert_eq!(moved(&Answer::rows(0)), "unmeasured");
    }
}

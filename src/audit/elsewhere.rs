//! Classes that no catalogue shows: what shows them instead. An audit names them, so that nobody takes silence for an answer.

use super::rule::{Look, Rule};
use crate::hazards::Severity;

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0520",
        severity: Severity::Critical,
        title: "a tenant that a pooler hands to the next client",
        why: "SET without LOCAL stays on the server's session, and a transaction pooler gives that session to the next client, who is \
              then the former one's tenant",
        fix: "set_config(…, true) or SET LOCAL, in each transaction",
        look: Look::Elsewhere("it lives in sessions: verify, over the pooler, looks for it"),
    },
    Rule {
        code: "TM0521",
        severity: Severity::High,
        title: "what a pooled session keeps",
        why: "temporary tables, WITH HOLD cursors, prepared statements, advisory locks and row_security stay on the server's session for \
              the next client",
        fix: "server_reset_query_always = 1 in PgBouncer, and none of these in the application",
        look: Look::Elsewhere("it lives in sessions: verify, over the pooler, looks for it"),
    },
    Rule {
        code: "TM0523",
        severity: Severity::Break,
        title: "SET LOCAL outside a transaction",
        why: "it is a warning and has no effect: the next statement runs without a tenant and finds nothing",
        fix: "BEGIN first",
        look: Look::Elsewhere("it is in the application: verify's probe without a transaction shows what it leads to"),
    },
    Rule {
        code: "TM0524",
        severity: Severity::Medium,
        title: "a rollback to a savepoint brings the former tenant back",
        why: "ROLLBACK TO, and the EXCEPTION block of a PL/pgSQL function, undo a SET LOCAL of after the savepoint",
        fix: "one tenant a transaction",
        look: Look::Elsewhere("it is in the application's code: review that a transaction has one tenant"),
    },
    Rule {
        code: "TM0525",
        severity: Severity::High,
        title: "a tenant that changes while a cursor is open",
        why: "an open cursor goes on in the former tenant's rows, or in none's, as its plan happens to be",
        fix: "one tenant a transaction",
        look: Look::Elsewhere("it is in the application's code: review that a transaction has one tenant"),
    },
    Rule {
        code: "TM0538",
        severity: Severity::Low,
        title: "side channels",
        why: "estimated rows, sizes of tables and EXPLAIN ANALYZE's \"Rows Removed by Filter\" tell of other tenants' rows, and PostgreSQL has \
              no way to hide them from a role that may run SQL",
        fix: "let no tenant run SQL of its own",
        look: Look::Elsewhere("every database has it: review whether a tenant may run SQL of its own"),
    },
    Rule {
        code: "TM0547",
        severity: Severity::Break,
        title: "a DROP … CASCADE that takes policies along",
        why: "a policy depends on its column and its function: DROP … CASCADE of one of them drops the policy and leaves row-level security \
              on, so nothing is shown any more",
        fix: "no CASCADE",
        look: Look::Elsewhere("it is seen once it has happened, as TM0503"),
    },
    Rule {
        code: "TM0549",
        severity: Severity::Medium,
        title: "who can run SQL can name any tenant",
        why: "the setting is the application's word: whoever can run SQL as its role, by injection for one, can set another tenant",
        fix: "bind parameters; where that is not enough, a context that is signed, checked by the context function",
        look: Look::Elsewhere(
            "it is the model of isolation by a setting: review who can run SQL as the application's roles",
        ),
    },
    Rule {
        code: "TM0555",
        severity: Severity::Slow,
        title: "an InitPlan hides that one tenant is large",
        why: "the planner does not see which tenant is meant and takes the average (999 rows estimated, 499,567 real), so a large \
              tenant gets the plan of a small one",
        fix: "for such a table a policy that compares with the setting directly, which the planner sees",
        look: Look::Elsewhere(
            "it is in the rows' distribution: compare EXPLAIN's estimate with the rows, as the largest tenant",
        ),
    },
    Rule {
        code: "TM0559",
        severity: Severity::High,
        title: "a query of the plan that answers another than is expected",
        why: "a [[probe]] says what its query must answer as a tenant, and the database answers otherwise",
        fix: "see whose rows the query reads, and which policy lets them through or hides them",
        look: Look::Probes("audit asks each [[probe]] of --plan that has `expect`, and here is none"),
    },
];

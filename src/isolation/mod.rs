//! Isolation, asked: what is tried as the application's role, what must come out, and what it means when it does not. Pure;
//! `pg::isolation` asks.
//!
//! | context \ command | SELECT | INSERT | UPDATE | DELETE |
//! |---|---|---|---|---|
//! | none, '', garbage, a phantom tenant | no row | refused | no row | no row |
//! | a real tenant | its rows, all of them and no others | its own | its own; not into another tenant | its own |
//!
//! Each field is tried on the table itself where that touches nobody's row and fires nothing, and always on a copy of its
//! policies (see [`On`]). A phantom is a tenant that no row has, so no fixture is needed and nothing of anybody's is looked for.

mod answer;
mod judge;
mod phantom;
mod probe;
mod report;
mod spec;

pub use answer::{Answer, Refusal};
pub use judge::{Case, judge};
pub use phantom::Phantoms;
pub use probe::Probe;
pub use report::{Asked, Cell, Command, Context, On, Report, Verdict, Way};
pub use spec::Spec;

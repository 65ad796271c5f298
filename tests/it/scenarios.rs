//! The scenarios of the three documents that this program is held to, each a test of that name: the document's database, the
//! real program with a plan of ours for it, the document's failure, and what the document expects, line by line as far as the
//! database decides it. The time to recovery is measured beside the document's bound (`recovery`).

mod chaos_levels;
mod chaos_plan;
mod firm;
pub mod recovery;
mod rollback_procedure;
mod slow_path;
mod traffic;

//! The ledger: tenantmig's own tables in the target database. Runs, events, progress and the lease live here.

mod activity;
mod append;
mod approvals;
mod chain;
mod error;
mod evidence;
mod holder;
mod layout;
mod lease;
mod load;
mod measurements;
mod pace;
mod preimages;
mod prints;
mod progress;
mod ranges;
mod repair;
mod requests;
mod retake;
mod schema;
mod server;
mod sessions;

pub use activity::{activity, keep_activity};
pub use append::{NewRun, Place, append, create_run};
pub use approvals::{Approval, Counts, KeptApproval, all_approvals, approval, approve};
pub use error::LedgerError;
pub use evidence::{Head, KeptPrint, KeptRange, KeptRequest, all_ranges, all_requests, head, prints};
pub use holder::Holder;
pub use layout::version;
pub use lease::{
    Acquired, Hold, Purpose, Taker, Term, acquire, epoch, fence, force_release, heartbeat, holder, release, works_on,
};
pub use load::{Entry, Kept, Recorded, RunName, RunRecord, entries, read, read_as_it_stands, runs};
pub use measurements::{Measured, keep_measurements, measurements};
pub use pace::{Governing, Pace, PaceState};
pub use preimages::{
    Listed, Preimage, begin as begin_keeping, complete, forget, half_kept, listed, restored, waiting, written_back,
};
pub use prints::{Print, keep_print, print_in_force, spend_print};
pub use progress::{Cursor, Progress, begin_walk, cursor, estimate, progress, set_pace};
pub use ranges::{Batch, Written, abandon, batch, claim, newest_sweep, piece, range_now, ranges, written};
pub use repair::accept;
pub use requests::{Answer, Pause, Request, Wish, answer, ask, open_requests, pause_is_asked, refuse, taken};
pub use retake::{Ours, retake};
pub use schema::{exists, install, is_current, known_version, require, uninstall};
pub use server::{last_server, same_server, stands_on};
pub use sessions::{AtWork, Ended, Left, at_work, tag};

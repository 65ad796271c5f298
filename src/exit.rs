//! Every exit code, in one place. The README's table is this list.

use std::process::{ExitCode, Termination};

/// How the program ended. Nothing but [`Exit::Done`] is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// The operation failed; the checkpoint is kept.
    Failed = 1,
    /// With `--detailed-exitcode`: work remains.
    WorkRemains = 2,
    /// A check ran and found problems; or a rollback is done, and a gate of its `after_undo` found some.
    Findings = 3,
    /// Refused: a guard (before a rollback, or on its way, where it could not be asked before), a changed plan, no confirmation, a
    /// point of no return.
    Refused = 4,
    /// A step or gate failed and the rollback to the stated phase was clean.
    RolledBack = 5,
    /// The rollback itself failed.
    Stuck = 6,
    /// The command line is wrong.
    Usage = 64,
    /// The plan is invalid.
    PlanInvalid = 65,
    /// The database cannot be reached.
    Unreachable = 69,
    /// Try again later: the lease is held, somebody paused the run, locks were not had, the server is full, lag or load too long.
    Temporary = 75,
    /// A privilege is missing.
    Privilege = 77,
    /// Stopped by SIGINT; resumable.
    Interrupted = 130,
    /// Stopped by SIGTERM or SIGHUP; resumable.
    Terminated = 143,
}

impl Exit {
    /// All codes with their meaning, for the documentation.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Done, "done, or nothing to do"),
        (Self::Failed, "the operation failed, checkpoint kept"),
        (Self::WorkRemains, "with --detailed-exitcode: work remains"),
        (Self::Findings, "a check ran and found problems; rolled back, and after_undo found some"),
        (Self::Refused, "refused (guard, before a rollback or on its way; changed plan, unconfirmed, irreversible)"),
        (Self::RolledBack, "failed and rolled back cleanly to the stated phase"),
        (Self::Stuck, "stuck: the rollback itself failed"),
        (Self::Usage, "usage"),
        (Self::PlanInvalid, "plan invalid"),
        (Self::Unreachable, "database unreachable"),
        (Self::Temporary, "temporary: lease held, paused, lock retries spent, server full"),
        (Self::Privilege, "privilege missing"),
        (Self::Interrupted, "stopped by SIGINT, resumable"),
        (Self::Terminated, "stopped by SIGTERM or SIGHUP, resumable"),
    ];

    /// The code as the layers below name it.
    pub fn of(code: u8) -> Self {
        Self::ALL.iter().map(|(exit, _)| *exit).find(|exit| *exit as u8 == code).unwrap_or(Self::Failed)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

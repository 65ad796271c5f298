//! The command line, as clap reads it.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

pub use super::form::{Color, Form, Format, LogFormat};
pub use super::rollback::options::Rollback;
use super::{
    audit::options::Audit,
    init::options::Init,
    report::options::Report,
    throttle::options::{Throttle, reason},
};
use crate::{pg::settings::ConnectFlags, plan::Millis};

/// Takes a live, single-tenant PostgreSQL database to multi-tenant Row-Level Security, and back.
#[derive(Debug, Parser)]
#[command(name = "tenantmig", version, disable_help_flag = true, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
The database is taken from -d, else TENANTMIG_DATABASE_URL, else DATABASE_URL, else PG* as psql has it.

Exit codes: 0 done, 1 failed (resumable), 2 work remains, 3 findings, 4 refused, 5 rolled back, 6 stuck,
  64 usage, 65 plan invalid, 69 unreachable, 75 try again later, 77 privilege missing,
  130 and 143 stopped by a signal (resumable).";

/// Where the database is, as psql has it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Database name, URI or conninfo string
    #[arg(short = 'd', long = "dbname", global = true, value_name = "NAME|URI", hide_env_values = true)]
    pub dbname: Option<String>,
    /// Server host or socket directory
    #[arg(long, global = true)]
    pub host: Option<String>,
    /// Server port
    #[arg(short = 'p', long, global = true)]
    pub port: Option<String>,
    /// User to log in as
    #[arg(short = 'U', long = "username", global = true, value_name = "NAME")]
    pub username: Option<String>,
    /// URI or conninfo string of the server itself, where -d leads to a pooler: CREATE INDEX CONCURRENTLY and VACUUM run there
    /// [env: TENANTMIG_DIRECT_URL]
    #[arg(long, global = true, value_name = "URI")]
    pub direct_url: Option<String>,
    /// URI or conninfo string of the application, by which `verify` probes as it logs in; in a command line others can read a
    /// password, so use the variable or a password file [env: TENANTMIG_APP_URL]
    #[arg(long, global = true, value_name = "URI")]
    pub app_url: Option<String>,
    /// URI or conninfo string of the application through its pooler, where --app-url does not lead there: `verify` asks what the
    /// pool keeps; better in the variable, as above [env: TENANTMIG_POOLER_URL]
    #[arg(long, global = true, value_name = "URI")]
    pub pooler_url: Option<String>,
    /// Role to take after the login (SET ROLE), as pg_dump has it
    #[arg(long, global = true)]
    pub role: Option<String>,
    /// Schema of tenantmig's own tables
    #[arg(long, global = true, default_value = "tenantmig", env = "TENANTMIG_LEDGER_SCHEMA", value_name = "NAME")]
    pub ledger_schema: String,
    /// Print help
    #[arg(short = 'h', short_alias = '?', long = "help", global = true, action = clap::ArgAction::HelpShort)]
    pub help: Option<bool>,
}

impl Connection {
    /// As the settings take them.
    pub fn flags(&self) -> ConnectFlags {
        ConnectFlags {
            dbname: self.dbname.clone(),
            host: self.host.clone(),
            port: self.port.clone(),
            username: self.username.clone(),
            direct_url: self.direct_url.clone(),
            app_url: self.app_url.clone(),
            pooler_url: self.pooler_url.clone(),
            role: self.role.clone(),
        }
    }
}

/// How it is told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Form of the results on standard output; sarif, junit and markdown are audit's
    #[arg(long, global = true, value_enum, default_value_t = Form::Text)]
    pub format: Form,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Lines instead of a progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Never ask; refuse instead
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Answer yes to every question that has yes for an answer
    #[arg(short = 'y', long, global = true)]
    pub yes: bool,
    /// More about what happens, on standard error (twice: everything)
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Only errors on standard error
    #[arg(short = 'q', long, global = true)]
    pub quiet: bool,
    /// Form of the log on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// A plan file, as an argument or by `-f`.
#[derive(Debug, Args)]
pub struct PlanFile {
    /// The plan
    #[arg(value_name = "PLAN", required_unless_present = "file")]
    pub plan: Option<PathBuf>,
    /// The plan, instead of the argument
    #[arg(short = 'f', long = "file", value_name = "PLAN", conflicts_with = "plan")]
    pub file: Option<PathBuf>,
}

impl PlanFile {
    /// The path that was given.
    pub fn path(&self) -> PathBuf {
        self.plan.clone().or_else(|| self.file.clone()).unwrap_or_default()
    }
}

/// A run's identifier; clap puts the value and the option before the message.
pub(super) fn run_id(text: &str) -> Result<uuid::Uuid, &'static str> {
    text.parse().map_err(|_| "not the identifier of a run; `tenantmig status` prints it")
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a plan for a live database: the tenants' table, every table's way to it, what is shared, what is unclear
    Init(Init),
    /// Check a plan without a database: every diagnostic, each at its place
    Validate(PlanFile),
    /// Show what apply would do: phases, locks, rows, time, the way back, the SQL
    Plan(Plan),
    /// Carry a plan out; goes on by itself where an earlier apply stopped
    Apply(Apply),
    /// Go on with the run of the ledger, from any directory, without the plan file
    Resume(Resume),
    /// Where the run stands, who works on it, and the next command to type
    Status(Status),
    /// Change the pace of the run's backfills while they run, from any host; without an option, show it
    Throttle(Throttle),
    /// Let the run stand still, from any host, until somebody resumes it
    Pause(Pause),
    /// Let a phase begin that waits for somebody, or confirm what it did, from any host
    Approve(Approve),
    /// Undo everything after a phase, by the ledger alone
    Rollback(Rollback),
    /// Up, down, up, down on a database, comparing catalogue and data at each end
    Cycle(Cycle),
    /// Measure every gate again and compare the ledger with the database
    Verify(Verify),
    /// Look for every known way in which isolation leaks, breaks or gets slow; on any database, without a plan, read-only
    Audit(Audit),
    /// Print what a code of a finding or hazard means, why it matters and what helps; without one, list them
    Explain {
        /// Such as TM0501
        code: Option<String>,
    },
    /// Write the evidence of a run as one HTML page, or as JSON with --format json
    Report(Report),
    /// Break-glass: take the lease from a holder that is gone for good
    Unlock(Unlock),
    /// Break-glass: say what is wrong with the ledger, or accept a damaged log as it stands
    Repair(Repair),
    /// Show every setting with its origin, and test the connection and privileges
    Doctor,
    /// The whole story on a throwaway PostgreSQL
    Demo(Demo),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub file: PlanFile,
    /// Print the plan in explicit form: each [[table]] as the phases that it becomes. Asks no database
    #[arg(long, conflicts_with = "sql")]
    pub expand: bool,
    /// Print the SQL as psql scripts, one a phase
    #[arg(long)]
    pub sql: bool,
    /// Only this phase (with --sql)
    #[arg(long, value_name = "PHASE", requires = "sql")]
    pub phase: Option<String>,
    /// With --sql: the scripts that take each phase back where nothing of it stood before. Asks no database
    #[arg(long, requires = "sql")]
    pub undo: bool,
    /// With --undo: the major version of the server that the scripts are for; the oldest supported one's run on all newer
    #[arg(long, value_name = "MAJOR", requires = "undo", default_value_t = 13, value_parser = clap::value_parser!(u32).range(13..=99))]
    pub server: u32,
    /// With --sql: write each phase's script into this folder, as 1-PHASE.sql, 2-PHASE.sql …
    #[arg(long, value_name = "FOLDER", requires = "sql")]
    pub out_dir: Option<PathBuf>,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    pub file: PlanFile,
    /// Stop when this phase is done
    #[arg(long, value_name = "PHASE")]
    pub to: Option<String>,
    /// Show what would be done and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Take this server for the one of the ledger: a restored copy that is meant, or the same after pg_upgrade
    #[arg(long)]
    pub accept_server: bool,
    /// Begin steps without looking whether the disk has room for them
    #[arg(long)]
    pub skip_disk_check: bool,
    /// Take what others changed of the touched objects since the last phase for the new measure
    #[arg(long)]
    pub accept_drift: bool,
    #[command(flatten)]
    pub patience: Patience,
}

/// What to do while another tenantmig works.
#[derive(Debug, Args)]
pub struct Patience {
    /// Wait so long for another tenantmig that holds the lease, instead of leaving at once with 75
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Millis>,
}

impl Patience {
    /// The longest wait.
    pub fn longest(&self) -> Option<Duration> {
        self.wait.map(Millis::duration)
    }
}

/// `resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// Begin steps without looking whether the disk has room for them
    #[arg(long)]
    pub skip_disk_check: bool,
    /// Take what others changed of the touched objects since the last phase for the new measure
    #[arg(long)]
    pub accept_drift: bool,
    /// Give up a rollback that a guard stopped on its way, and go forward again
    #[arg(long)]
    pub forward: bool,
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
    /// Take this server for the one of the ledger: a restored copy that is meant, or the same after pg_upgrade
    #[arg(long)]
    pub accept_server: bool,
    #[command(flatten)]
    pub patience: Patience,
}

/// `pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
    /// Why, for whoever looks at it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// The phase
    pub phase: String,
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
    /// Why, for whoever looks at it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
    /// The same as --format json
    #[arg(long)]
    pub json: bool,
    /// Exit 2 while work remains, 6 when stuck
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// `cycle`.
#[derive(Debug, Args)]
pub struct Cycle {
    #[command(flatten)]
    pub file: PlanFile,
    /// Run on a throwaway copy instead of the database that is connected to: a throwaway cluster, loaded from this SQL file
    #[arg(long, value_name = "SCHEMA.SQL")]
    pub on_demo: Option<PathBuf>,
    /// Migrate even as a superuser or BYPASSRLS role, in whom RLS hides nothing: what passes then may fail in production
    #[arg(long)]
    pub as_superuser: bool,
    /// Take row-level security off again although the tables hold rows of more than one tenant: on its way down a cycle shows them
    /// to each other, as they are before it
    #[arg(long)]
    pub accept_exposure: bool,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
}

/// `unlock`.
#[derive(Debug, Args)]
pub struct Unlock {
    /// The run whose lease is taken, as status prints it
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub force: uuid::Uuid,
}

/// `repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// Take this run's log, as it stands, for the truth: somebody changed it and knows why
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub accept_ledger: Option<uuid::Uuid>,
    /// The database's name, which accepting asks for
    #[arg(long, value_name = "NAME", requires = "accept_ledger")]
    pub confirm: Option<String>,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the cluster running and print its URL
    #[arg(long)]
    pub keep: bool,
    /// Whose story is told: alphapulse, portfolio, memory_chunks or chat
    #[arg(long, value_name = "NAME")]
    pub plan: Option<String>,
    /// The step of the plan that is made to fail
    #[arg(long, value_name = "STEP")]
    pub fail_at: Option<String>,
}

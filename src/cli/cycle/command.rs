//! The command: everything that can be refused is refused first, then the legs, then the report.

use std::time::Duration;

use super::{
    ground,
    legs::{Start, Stopped, Walk, leave, walk},
    report::Report,
    role::{self, Actor},
    throwaway::Throwaway,
};
use crate::{
    cli::{
        args,
        args::Format,
        console::Answer,
        failure::CliError,
        plan_file,
        plan_file::PlanFile,
        preview::{facts, look_ahead},
        session::Context,
    },
    driver::{Access, Request, begin},
    engine::{Program, lower},
    exit::Exit,
    ledger::Purpose,
    pg::{
        connect::{Connection, Fleet, SessionSpec, connect},
        settings::Settings,
    },
    report::{Listener, Tone},
    sql::Ident,
};

/// The longest wait of the session that takes fingerprints for a lock.
const LOOK_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Cycles the plan on the database that is connected to, or on a throwaway one.
pub async fn run(context: &Context, args: &args::Cycle) -> Result<Exit, CliError> {
    let file = plan_file::load(context, &args.file.path())?;
    let Some(sql) = &args.on_demo else { return cycle(context, args, &file, false).await };
    let throwaway = Throwaway::start(sql).await?;
    let result = cycle(&throwaway.context(context), args, &file, true).await;
    throwaway.end().await;
    result
}

/// A cycle about to begin.
struct Cycle<'a> {
    context: &'a Context,
    file: &'a PlanFile,
    program: Program,
    actor: Actor,
    /// Takes the fingerprints and keeps the ground: the login as it came, no role taken.
    admin: Connection,
    /// As which the plan is carried out.
    settings: Settings,
    /// The schema of the cycle's own ledger.
    own: Ident,
    throwaway: bool,
}

async fn cycle(context: &Context, args: &args::Cycle, file: &PlanFile, throwaway: bool) -> Result<Exit, CliError> {
    let given = context.settings()?;
    let mut login = given.clone();
    login.role = None;
    let admin = connect(&login, &SessionSpec::new("tenantmig cycle", LOOK_LOCK_WAIT)).await?;
    let program = lower(&file.plan, facts(&admin)).unattended();
    ground::refuse_irreversible(&program)?;
    if !throwaway && !args.accept_exposure {
        ground::refuse_exposure(&program)?;
    }
    let real = context.schema()?;
    ground::refuse_unrest(&admin, &real, file).await?;
    let asked = given.role.as_ref().map(|role| role.value.as_str());
    let actor = role::choose(&admin, asked, args.as_superuser, &file.plan).await?;
    let settings = actor.settings(&login);
    let own = ground::ledger_schema(&real);
    let cycle = Cycle { context, file, program, actor, admin, settings, own, throwaway };
    ground::refuse_leftover(&cycle.admin, &cycle.own, &cycle.way_back()).await?;
    let session = connect(&cycle.settings, &SessionSpec::new("tenantmig look", LOOK_LOCK_WAIT)).await?;
    look_ahead(context, file, &cycle.program, &session).await?;
    drop(session);
    cycle.ask()?;
    cycle.go(&real).await
}

impl Cycle<'_> {
    /// The command that undoes what a cycle that was stopped left behind.
    fn way_back(&self) -> String {
        let role = if self.actor.name == self.actor.login {
            String::new()
        } else {
            format!("--role {} ", shell_word(&self.actor.name))
        };
        format!("tenantmig {role}--ledger-schema {} rollback --to start", shell_word(self.own.as_str()))
    }

    fn ask(&self) -> Result<(), CliError> {
        let console = &self.context.console;
        if !self.actor.plain {
            let text = format!("WARNING: {}; what passes here may fail in production", self.actor.describe());
            console.tell(&console.err.paint(Tone::Bad, &text));
        }
        if self.throwaway {
            return Ok(());
        }
        let question = format!(
            "Apply plan `{}` to {} and undo it, twice, as {}? Everyone who uses the database meets its locks and policies meanwhile.",
            self.program.plan, self.admin.at, self.actor.name
        );
        match console.confirm(&question) {
            Answer::Yes => Ok(()),
            Answer::No => {
                Err(CliError::new(Exit::Refused, "nothing was changed", "look first with: tenantmig plan PLAN"))
            }
            Answer::Nobody => Err(CliError::new(
                Exit::Refused,
                "nobody is there to confirm; nothing was changed",
                "add --yes when this is a job, or --on-demo SCHEMA.SQL for a throwaway database",
            )),
        }
    }

    async fn go(&self, real: &Ident) -> Result<Exit, CliError> {
        let exclude = [real.as_str().to_owned(), self.own.as_str().to_owned()];
        let (mut access, listener) = self.context.access()?;
        access.settings = self.settings.clone();
        // The session that takes the fingerprints is none of the run's.
        access.settings.fleet = Fleet::default();
        access.schema = self.own.clone();
        let begun = match Start::take(&self.admin, &access.stop, &exclude).await {
            Ok(start) => ground::prepare(&self.admin, &self.own, &self.actor).await.map(|()| start),
            Err(error) => Err(again(CliError { message: format!("{}; nothing was changed", error.message), ..error })),
        };
        let walked = match begun {
            Ok(start) => {
                let walked = self.legs(&access, &exclude, start).await;
                self.tidy(walked).await
            }
            Err(error) => Err(error),
        };
        drop(access);
        self.hush(listener).await;
        self.tell(&walked?)
    }

    async fn legs(&self, access: &Access, exclude: &[String], start: Start) -> Result<Walk, CliError> {
        let path = self.file.path.display().to_string();
        let request = Request {
            path: Some(&path),
            text: &self.file.text,
            fingerprint: &self.file.fingerprint.0,
            program: &self.program,
            purpose: Purpose::Cycle,
        };
        let (mut shell, lease) = begin(access, &request).await?;
        let walked = walk(&self.admin, &mut shell, exclude, start).await;
        let (done, units) = leave(shell, lease).await;
        walked.map_err(|Stopped { during, mut error }| {
            error.message = format!(
                "{}; it was {during} of the cycle, and {done} of {units} units stand in the database",
                error.message
            );
            error
        })
    }

    /// The cycle's ledger goes, unless it is needed to go back.
    async fn tidy(&self, walked: Result<Walk, CliError>) -> Result<Walk, CliError> {
        if self.throwaway {
            return walked;
        }
        let cleared = ground::clear(&self.admin, &self.own).await;
        match (walked, cleared) {
            (Ok(walk), Ok(true)) => Ok(walk),
            (Ok(mut walk), Ok(false)) => {
                if let Some(failure) = &mut walk.failure {
                    failure.next = Some(format!("mend the cause, then: {}", self.way_back()));
                }
                Ok(walk)
            }
            (Ok(_), Err(error)) => Err(error),
            (Err(error), Ok(true)) => Err(again(error)),
            (Err(error), Ok(false) | Err(_)) => Err(CliError { advice: Some(self.way_back()), ..error }),
        }
    }

    /// Ends the reporters, so that their last lines stand above the report.
    async fn hush(&self, listener: Listener) {
        match tokio::task::spawn_blocking(move || listener.finish()).await {
            Ok(ending) => {
                if let Some(why) = ending.broken {
                    self.context.console.note(&format!("note: the progress was not told to its end: {why}"));
                }
            }
            Err(error) => tracing::warn!("the reporters ended badly: {error}"),
        }
    }

    fn tell(&self, walk: &Walk) -> Result<Exit, CliError> {
        let console = &self.context.console;
        let report = Report { plan: &self.program.plan, actor: &self.actor, walk, units: self.program.units().count() };
        match console.format {
            Format::Text => console.print(&report.text(console.out))?,
            Format::Json => console.print(&report.json().to_string())?,
            Format::Ndjson => {
                let mut value = report.json();
                value["kind"] = serde_json::json!("summary");
                console.print(&value.to_string())?;
            }
        }
        if let Some(next) = report.next() {
            console.note(&format!(" next: {next}"));
        }
        Ok(report.exit())
    }
}

/// Advice for when nothing stands: the layers below speak of a run that goes on, and a cycle begins anew.
fn again(error: CliError) -> CliError {
    if [Exit::Privilege, Exit::Refused].contains(&error.exit) {
        return error;
    }
    CliError { advice: Some("tenantmig cycle PLAN".to_owned()), ..error }
}

/// A word as a shell reads it back.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

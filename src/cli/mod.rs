//! The commands: one file each. They read arguments, call the driver, print, and choose the exit code.

mod apply;
mod approve;
mod approved;
mod args;
mod asked;
mod at_work;
mod audit;
mod awaits;
mod completions;
mod consent;
mod console;
mod cycle;
mod damage;
mod demo;
mod disk;
mod doctor;
mod explain;
mod failure;
mod form;
mod hazards;
mod init;
mod kept;
mod pace;
mod pause;
mod plan;
mod plan_file;
mod preview;
mod repair;
mod report;
mod resume;
mod rollback;
mod session;
mod status;
mod story;
mod throttle;
mod trouble;
mod unlock;
mod validate;
mod verify;

use std::ffi::OsString;

use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt};

use self::{
    args::{Cli, Command, Form, LogFormat},
    console::Console,
    failure::CliError,
    session::Context,
};
use crate::{
    driver::{Stop, Until},
    exit::Exit,
};

/// Runs the command line and says how it ended. The one place where errors are printed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let console = Console::new(&cli.output);
    log(&cli, &console);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("no threads can be started: {error}");
            console.error(&CliError { exit: Exit::Failed, code: None, message, advice: None });
            return Exit::Failed;
        }
    };
    let result = runtime.block_on(dispatch(cli, console.clone()));
    // What still waits (a question to a server that does not answer) has its own bounds and is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit,
        Err(error) => {
            console.error(&error);
            error.exit
        }
    }
}

/// Ends the process after a signal: at once while no run is under way (a question may be open, or a server be looked at), and
/// otherwise when the time for the end is over, whatever is still waited for. The server ends what a session left.
async fn guard(stop: Stop, console: Console) {
    stop.signalled().await;
    if stop.is_engaged() {
        stop.over(Until::Gone).await;
    }
    if let Err(reason) = stop.check() {
        let mut error = CliError::from(reason);
        if !stop.is_engaged() {
            console.break_line();
            error = CliError {
                advice: Some("tenantmig status".to_owned()),
                message: error.message.replace("; everything done so far is kept", ""),
                ..error
            };
        }
        console.error(&error);
        std::process::exit(i32::from(error.exit as u8));
    }
}

/// clap's own text; its exit code 2 means something else here.
fn usage(error: &clap::Error) -> Exit {
    let printed = error.print();
    match error.exit_code() {
        0 if printed.is_ok() => Exit::Done,
        0 => Exit::Failed,
        _ => Exit::Usage,
    }
}

fn log(cli: &Cli, console: &Console) {
    let level = match (cli.output.quiet, cli.output.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "tenantmig=debug,warn",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("TENANTMIG_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(console.err.color);
    match cli.output.log_format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// A form of the results that the command does not have is not passed over.
fn is_a_form_of_the_command(cli: &Cli) -> Result<(), CliError> {
    let report = matches!(cli.output.format, Form::Sarif | Form::Junit | Form::Markdown);
    if report && !matches!(cli.command, Command::Audit(_)) {
        let message = "--format sarif, junit and markdown are for audit";
        return Err(CliError::new(Exit::Usage, message, "--format text, json or ndjson"));
    }
    if cli.output.format == Form::Html && !matches!(cli.command, Command::Report(_)) {
        let message = "--format html is for report";
        return Err(CliError::new(Exit::Usage, message, "--format text, json or ndjson"));
    }
    Ok(())
}

async fn dispatch(cli: Cli, console: Console) -> Result<Exit, CliError> {
    let stop = Stop::new();
    // The demo hears them itself, to end its server and its commands.
    if !matches!(cli.command, Command::Demo(_)) {
        stop.listen()?;
        tokio::spawn(guard(stop.clone(), console.clone()));
    }
    is_a_form_of_the_command(&cli)?;
    let context = Context { connection: cli.connection, console, stop, holder: uuid::Uuid::now_v7() };
    match cli.command {
        Command::Init(args) => init::run(&context, &args).await,
        Command::Validate(args) => validate::run(&context, &args),
        Command::Plan(args) => plan::run(&context, &args).await,
        Command::Apply(args) => apply::run(&context, &args).await,
        Command::Resume(args) => resume::run(&context, &args).await,
        Command::Status(args) => status::run(&context, &args).await,
        Command::Throttle(args) => throttle::run(&context, &args).await,
        Command::Pause(args) => pause::run(&context, &args).await,
        Command::Approve(args) => approve::run(&context, &args).await,
        Command::Rollback(args) => rollback::run(&context, &args).await,
        Command::Cycle(args) => cycle::run(&context, &args).await,
        Command::Audit(args) => audit::run(&context, &args).await,
        Command::Explain { code } => explain::run(&context, code.as_deref()),
        Command::Report(args) => report::run(&context, &args).await,
        Command::Verify(args) => verify::run(&context, &args).await,
        Command::Unlock(args) => unlock::run(&context, &args).await,
        Command::Repair(args) => repair::run(&context, &args).await,
        Command::Doctor => doctor::run(&context).await,
        Command::Demo(args) => demo::run(&context, &args).await,
        Command::Completions { shell } => completions::run(&context, shell),
    }
}

//! The commands: one file each. They read arguments, call the driver, print, and choose the exit code.

mod apply;
mod args;
mod asked;
mod completions;
mod console;
mod cycle;
mod damage;
mod demo;
mod doctor;
mod failure;
mod pace;
mod pause;
mod plan;
mod plan_file;
mod preview;
mod resume;
mod rollback;
mod session;
mod status;
mod story;
mod throttle;
mod unlock;
mod validate;
mod verify;

use std::ffi::OsString;

use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt};

use self::{
    args::{Cli, Command, LogFormat},
    console::Console,
    failure::CliError,
    session::Context,
};
use crate::exit::Exit;

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

async fn dispatch(cli: Cli, console: Console) -> Result<Exit, CliError> {
    let context = Context { connection: cli.connection, console, holder: uuid::Uuid::now_v7() };
    match cli.command {
        Command::Validate(args) => validate::run(&context, &args),
        Command::Plan(args) => plan::run(&context, &args).await,
        Command::Apply(args) => apply::run(&context, &args).await,
        Command::Resume(args) => resume::run(&context, &args).await,
        Command::Status(args) => status::run(&context, &args).await,
        Command::Throttle(args) => throttle::run(&context, &args).await,
        Command::Pause(args) => pause::run(&context, &args).await,
        Command::Rollback(args) => rollback::run(&context, &args).await,
        Command::Cycle(args) => cycle::run(&context, &args).await,
        Command::Verify(args) => verify::run(&context, &args).await,
        Command::Unlock(args) => unlock::run(&context, &args).await,
        Command::Doctor => doctor::run(&context).await,
        Command::Demo(args) => demo::run(&context, &args).await,
        Command::Completions { shell } => completions::run(&context, shell),
    }
}

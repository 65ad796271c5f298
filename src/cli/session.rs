//! What commands share: the connection, the ledger's schema, the reporters of a run.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    args::{Connection as Flags, Format},
    console::Console,
    failure::CliError,
};
use crate::{
    driver::{Access, Stop, Tell},
    engine::Notice,
    exit::Exit,
    ledger,
    pg::{
        connect::{Connection, SessionSpec, connect},
        settings::{Environment, Settings, resolve},
    },
    report::{Bar, FanOut, Listener, Ndjson, Plain, Reporter, channel},
    sql::Ident,
};

/// The longest that a command which only looks may wait for a lock, and run one statement.
const LOOK_LOCK_WAIT: Duration = Duration::from_secs(5);
const LOOK_STATEMENT_MAX: Duration = Duration::from_secs(600);

/// The flags of this process and how it talks.
#[derive(Debug)]
pub struct Context {
    pub connection: Flags,
    pub console: Console,
    /// Signals are heard from the process's beginning.
    pub stop: Stop,
    /// This process.
    pub holder: Uuid,
}

impl Context {
    /// The connection's settings; what was ignored is told.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let mut settings = resolve(&self.connection.flags(), &Environment::from_process())?;
        settings.tag = Some(ledger::tag(self.holder));
        for warning in &settings.warnings {
            self.console.note(&format!("warning: {warning}"));
        }
        Ok(settings)
    }

    /// The schema of tenantmig's own tables.
    pub fn schema(&self) -> Result<Ident, CliError> {
        Ident::new(self.connection.ledger_schema.clone())
            .map_err(|e| CliError::new(Exit::Usage, format!("--ledger-schema: {e}"), "give a plain name"))
    }

    /// A session for looking.
    pub async fn look(&self) -> Result<Connection, CliError> {
        let mut spec = SessionSpec::new("tenantmig look", LOOK_LOCK_WAIT);
        spec.statement_timeout = Some(LOOK_STATEMENT_MAX);
        let session = connect(&self.settings()?, &spec).await?;
        for warning in session.warnings.iter().chain(&session.notes) {
            self.console.note(&format!("warning: {warning}"));
        }
        Ok(session)
    }

    /// Everything a run needs: its reporters listen from now on, and after a signal it ends by itself.
    pub fn access(&self) -> Result<(Access, Listener), CliError> {
        self.stop.engage();
        let (teller, listener) = channel(FanOut::new(self.reporters()))?;
        let tell: Tell = Arc::new(move |notice| teller.tell(notice));
        Ok((self.access_telling(tell)?, listener))
    }

    /// As [`Self::access`], for a command that takes the lease for a moment and has no story: notes alone are told, and a
    /// signal ends it at once.
    pub fn access_quietly(&self) -> Result<Access, CliError> {
        let console = self.console.clone();
        self.access_telling(Arc::new(move |notice| {
            if let Notice::Note { text } = notice {
                console.note(&format!("note: {text}"));
            }
        }))
    }

    fn access_telling(&self, tell: Tell) -> Result<Access, CliError> {
        let (settings, schema, stop) = (self.settings()?, self.schema()?, self.stop.clone());
        let holder = self.holder;
        Ok(Access { settings, schema, host: host(), holder, wait: None, tell, stop, accept_server: false })
    }

    fn reporters(&self) -> Vec<Box<dyn Reporter>> {
        let mut all: Vec<Box<dyn Reporter>> = Vec::new();
        if self.console.format == Format::Ndjson {
            all.push(Box::new(Ndjson::new(Box::new(std::io::stdout()))));
        }
        if self.console.quiet {
            return all;
        }
        match Bar::on_stderr(self.console.err).filter(|_| !self.console.no_progress) {
            Some(bar) => all.push(Box::new(bar)),
            None => all.push(Box::new(Plain::new(Box::new(std::io::stderr()), self.console.err))),
        }
        all
    }
}

/// This machine's name, for whoever wonders who holds the lease.
pub fn host() -> String {
    whoami::hostname().unwrap_or_else(|_| "unknown".to_owned())
}

//! The database of a law: the example schema under an ordinary owner, and runs of the real driver on it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tenantmig::{
    driver::{Access, DriveError, Lease, Request, Rest, Shell, Stop, Tell, Verdict, begin, drive, reopen, verify},
    engine::{Effect, Event, Notice, Outcome, Program, lower},
    ledger::Purpose,
    pg::{
        connect::{Connection, SessionSpec, connect},
        fingerprint::{ColumnName, Fingerprint, TableName, columns},
        settings::{ConnectFlags, Environment, Settings, resolve},
    },
    plan::{Fingerprint as PlanPrint, ServerFacts, parse},
    sql::Ident,
    steps::EXAMPLE_SCHEMA,
};
use tokio_postgres::Client;

use crate::harness::{Db, database};

/// How long the sessions of a driver that was ended may take to go.
const SESSIONS_GONE_MAX: Duration = Duration::from_secs(10);

/// Every table of the ledger but the lease's refers to a run, so a new one is emptied as well. The events are append-only, but
/// not for a superuser who says that triggers are not meant for him.
const EMPTY_LEDGER: &str = "DO $$ BEGIN
    IF to_regclass('tenantmig.runs') IS NOT NULL THEN
        SET LOCAL session_replication_role = replica;
        TRUNCATE tenantmig.runs CASCADE;
        SET LOCAL session_replication_role = origin;
    END IF; END $$";

/// Tables that were put aside stand in schemas of their own.
const DROP_ASIDE: &str = "DO $$ DECLARE aside name; BEGIN
    FOR aside IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenantmig\\_aside\\_%' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', aside);
    END LOOP; END $$";

/// A database with the example schema.
pub struct World {
    pub db: Db,
    pub owner: String,
    /// A superuser's session.
    pub admin: Client,
    settings: Settings,
    version: u32,
    setup: &'static str,
}

/// A plan, read and lowered.
#[derive(Clone)]
pub struct Draft {
    pub text: String,
    pub print: String,
    pub program: Program,
}

/// How a driver ended.
#[derive(Debug)]
pub enum End {
    Rest(Rest),
    /// At the notice that was asked for.
    Crashed,
    Error(DriveError),
}

/// What a driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// When the driver's process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    Never,
    /// When it has just told its n-th notice, counted from 1: what follows an event in the ledger does not happen.
    At(usize),
    /// In the middle of a statement, which waits for a lock.
    Waiting,
}

/// A driver's notices, and how it ended.
pub struct Driven {
    pub notices: Vec<Notice>,
    pub end: End,
}

impl World {
    /// A database of its own, loaded, after the owner's `setup`.
    pub async fn new(name: &str, setup: &'static str) -> Self {
        let db = database(name);
        let owner = db.role("owner", "LOGIN NOSUPERUSER NOBYPASSRLS CREATEROLE");
        db.sql(&format!("GRANT CREATE ON DATABASE {} TO {owner}", db.name()));
        let flags = ConnectFlags { dbname: Some(db.url_as(&owner)), ..ConnectFlags::default() };
        let settings = resolve(&flags, &Environment::of(&[("USER", "postgres")])).unwrap();
        let admin = db.client().await;
        let row = admin.query_one("SELECT current_setting('server_version_num')::int", &[]).await.unwrap();
        let version = u32::try_from(row.get::<_, i32>(0)).unwrap();
        let world = Self { db, owner, admin, settings, version, setup };
        world.reset().await;
        world
    }

    /// Everything as in the beginning, with an empty ledger where there was one: to install it takes longer than a run.
    pub async fn reset(&self) {
        let role = self.role();
        let sql = format!(
            "DO $$ BEGIN IF to_regrole('{role}') IS NOT NULL THEN DROP OWNED BY {role}; DROP ROLE {role}; END IF; END $$;
             DROP SCHEMA IF EXISTS app CASCADE; DROP SCHEMA IF EXISTS law CASCADE; {DROP_ASIDE}; {EMPTY_LEDGER};
             SET SESSION AUTHORIZATION {}; {EXAMPLE_SCHEMA}; {}; RESET SESSION AUTHORIZATION",
            self.owner, self.setup
        );
        self.sql(&sql).await;
    }

    /// The role that stands for `app_rw` here: roles belong to the server, and each law has a database of its own.
    pub fn role(&self) -> String {
        format!("{}_rw", self.owner)
    }

    /// Statements as the superuser.
    pub async fn sql(&self, sql: &str) {
        if let Err(error) = self.admin.batch_execute(sql).await {
            panic!("{sql}\n{error:?}");
        }
    }

    /// The plan with these steps and gates as its one phase.
    pub fn draft(&self, name: &str, body: &str) -> Draft {
        let body = body.replace("app_rw", &self.role());
        let text = format!(
            "format = 1\nname = \"{name}\"\n
             [safety]\nlock_timeout = \"300ms\"\nlock_retries = 2\nindex_wait = \"600ms\"\n
             [tenancy]\ncolumn = \"tenant_id\"\nsetting = \"app.tenant_id\"\n\
             registry = {{ table = \"app.accounts\", key = \"tenant_id\", type = \"uuid\" }}\n
             [backfill]\nbatch_rows = 300\n
             [[phase]]\nid = \"one\"\n{body}"
        );
        let (plan, diags) = parse(&text, &|_| Err("no files here".to_owned()));
        let plan = plan.unwrap_or_else(|| panic!("{text}\n{diags:#?}"));
        let program = lower(&plan, ServerFacts { version_num: self.version });
        let print = PlanPrint::of(&text, &[]).unwrap().0;
        Draft { text, print, program }
    }

    /// A session of the owner's, as the driver opens them.
    pub async fn session(&self) -> Connection {
        connect(&self.settings, &SessionSpec::new("law", Duration::from_secs(5))).await.unwrap()
    }

    /// What the database is, the ledger and what the laws bring along left out.
    pub async fn print(&self) -> Fingerprint {
        let own = ["tenantmig".to_owned(), "law".to_owned()];
        // The first row of a log says when it was made.
        let of = TableName { schema: "app".to_owned(), table: "tenantmig_writes".to_owned() };
        let moments = ["id", "minute", "first_at", "last_at"]
            .map(|column| ColumnName { of: of.clone(), column: column.to_owned() });
        let of = TableName { schema: "app".to_owned(), table: "tenantmig_shadow".to_owned() };
        let noted = ["id", "slot", "at"].map(|column| ColumnName { of: of.clone(), column: column.to_owned() });
        let fluid = columns(&self.admin, &own).await.unwrap().fluid;
        // When a row was quarantined is not the same twice.
        let quarantined = fluid.into_iter().filter(|column| column.column == "quarantined_at");
        let when: Vec<_> = quarantined.chain(moments).chain(noted).collect();
        let mut print = Fingerprint::take(&self.admin, &own, &when).await.unwrap();
        // A database's fingerprint does not look at the server's roles.
        let role =
            format!("SELECT 'role: ' || (to_jsonb(r) - 'oid')::text FROM pg_roles r WHERE rolname = '{}'", self.role());
        print
            .catalog
            .lines
            .extend(self.admin.query(&role, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
        assert_eq!(print.data.unreadable().count(), 0);
        print
    }

    /// How many events the ledger has, over all runs.
    pub async fn events(&self) -> i64 {
        self.admin.query_one("SELECT count(*) FROM tenantmig.events", &[]).await.unwrap().get(0)
    }

    /// Opens the run of the plan.
    pub async fn open(&self, draft: &Draft, tell: Tell) -> Result<(Shell, Lease), DriveError> {
        let request = Request {
            path: None,
            text: &draft.text,
            fingerprint: &draft.print,
            program: &draft.program,
            purpose: Purpose::Apply,
        };
        begin(&self.access(tell), &request).await
    }

    fn access(&self, tell: Tell) -> Access {
        Access {
            settings: self.settings.clone(),
            schema: Ident::parse("tenantmig").unwrap(),
            holder: uuid::Uuid::now_v7(),
            host: "law".to_owned(),
            tell,
            wait: None,
            stop: Stop::new(),
            accept_server: false,
        }
    }

    /// Drives the plan up, or the newest run back to the start, until it rests or is killed.
    pub async fn go(&self, draft: &Draft, way: Way, crash: Crash) -> Driven {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let told = notices.clone();
        let tell: Tell = Arc::new(move |notice| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.push(notice);
            if crash == Crash::At(told.len()) {
                // Without the hook's message: this is the process being killed right here.
                resume_unwind(Box::new("crash"));
            }
        });
        let opened = match way {
            // On the heap: a thread of a test has 2 MiB of stack.
            Way::Up => Box::pin(self.open(draft, tell)).await,
            Way::Down => Box::pin(reopen(&self.access(tell), None, Purpose::Rollback)).await,
        };
        let (mut shell, lease) = match opened {
            Ok(opened) => opened,
            Err(error) => return Driven { notices: Vec::new(), end: End::Error(error) },
        };
        let work = async {
            match way {
                Way::Up => shell.wake().await?,
                Way::Down if matches!(shell.journal.next(), Effect::Halt(Outcome::Stuck { .. })) => {
                    shell.wake().await?;
                }
                Way::Down => {
                    shell.record(Event::RollbackRequested { keep: "start".to_owned(), consents: vec![] }).await?
                }
            }
            Box::pin(drive(&mut shell, None)).await
        };
        let end = tokio::select! {
            done = AssertUnwindSafe(work).catch_unwind() => match done {
                Ok(Ok(rest)) => End::Rest(rest),
                Ok(Err(error)) => End::Error(error),
                Err(_) => End::Crashed,
            },
            () = self.worker_waits(), if crash == Crash::Waiting => End::Crashed,
        };
        match end {
            End::Crashed => {
                drop(shell);
                // First, or it would renew itself on another session: a dead process does not.
                lease.abandon();
                self.end_sessions().await;
            }
            End::Rest(_) | End::Error(_) => lease.give_back().await,
        }
        let notices = std::mem::take(&mut *notices.lock().unwrap_or_else(PoisonError::into_inner));
        Driven { notices, end }
    }

    /// Returns when the driver's worker waits for a lock.
    async fn worker_waits(&self) {
        let query = "SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name LIKE 'tenantmig worker%' AND wait_event_type = 'Lock'";
        while self.admin.query(query, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends every session of a driver, as the death of its process does.
    async fn end_sessions(&self) {
        let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND application_name LIKE 'tenantmig %'";
        let begun = std::time::Instant::now();
        while !self.admin.query(query, &[]).await.unwrap().is_empty() {
            assert!(begun.elapsed() < SESSIONS_GONE_MAX, "sessions stay");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Drives to the end and asserts where it came to rest.
    #[track_caller]
    pub fn reach(
        &self,
        draft: &Draft,
        way: Way,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Vec<Notice>, String>> {
        let draft = draft.clone();
        async move {
            let driven = Box::pin(self.go(&draft, way, Crash::Never)).await;
            match driven.end {
                End::Rest(Rest::At(at)) if at == outcome => Ok(driven.notices),
                other @ (End::Rest(_) | End::Crashed | End::Error(_)) => {
                    Err(format!("{way:?} ended with {other:?}\n{:#?}", driven.notices))
                }
            }
        }
    }

    /// Up to completion.
    pub async fn up(&self, draft: &Draft) -> Result<Vec<Notice>, String> {
        self.reach(draft, Way::Up, Outcome::Completed).await
    }

    /// Back to the start.
    pub async fn down(&self, draft: &Draft) -> Result<Vec<Notice>, String> {
        self.reach(draft, Way::Down, Outcome::RolledBack { keep: 0 }).await
    }

    /// `verify` finds nothing wrong with the newest run.
    pub async fn verified(&self) -> Result<(), String> {
        let session = self.session().await;
        let all = verify(&session, &Ident::parse("tenantmig").unwrap(), None).await.map_err(|e| e.to_string())?;
        let wrong: Vec<_> =
            all.into_iter().filter(|v| !matches!(v.verdict, Verdict::Passed | Verdict::Untried(_))).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("verify: {wrong:#?}")) }
    }
}

/// The events among the notices.
pub fn events(notices: &[Notice]) -> Vec<&Event> {
    notices.iter().filter_map(|n| if let Notice::Event(event) = n { Some(event) } else { None }).collect()
}

/// Nothing, or what became different.
pub fn same(what: &str, before: &Fingerprint, after: &Fingerprint) -> Result<(), String> {
    before.diff(after).map_or(Ok(()), |diff| Err(format!("{what}:\n{diff}")))
}

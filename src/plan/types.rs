//! The plan as it stands after parsing: every value valid by itself, phases in the order in which they run.

use std::{collections::BTreeMap, fmt, ops::Range, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::approval::Approvals;
use super::disk::Disk;
use super::expand::Shared;
use super::throttle::{Pacing, SynchronousCommit, Throttle};
use crate::{
    checks::CheckKind,
    isolation, latency, sql,
    sql::{Ident, Literal, QName, Stmt, TypeName},
    steps::{Object, StepKind},
    unit::{Fill, OnOrphan, UnitId},
};

/// A whole plan.
#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub description: String,
    pub safety: Safety,
    pub tenancy: Option<Tenancy>,
    pub backfill: BackfillDefaults,
    pub throttle: Throttle,
    pub disk: Disk,
    pub capture: Capture,
    pub backup: Backup,
    /// Those of `[[table]]`, parents first; their phases are among the others.
    pub tables: Vec<QName>,
    /// Those of `[[shared]]`.
    pub shared: Vec<Shared>,
    pub probes: Vec<latency::Spec>,
    pub phases: Vec<Phase>,
}

/// One phase: the unit of rolling back.
#[derive(Debug)]
pub struct Phase {
    pub id: String,
    pub on_failure: OnFailure,
    pub approvals: Approvals,
    pub steps: Vec<PlanStep>,
    pub gates: Vec<PlanGate>,
    /// Measured before the phase is undone; what they find refuses the rollback.
    pub before_undo: Vec<PlanGate>,
    /// Measured when the phase is undone.
    pub after_undo: Vec<PlanGate>,
}

/// One step of a phase, with the places of its keys.
#[derive(Debug)]
pub struct PlanStep {
    pub id: String,
    pub kind: &'static str,
    pub step: Box<dyn StepKind>,
    pub span: Range<usize>,
    pub keys: BTreeMap<String, Range<usize>>,
}

/// One gate that the plan names itself.
#[derive(Debug)]
pub struct PlanGate {
    pub kind: &'static str,
    pub check: Box<dyn CheckKind>,
    pub span: Range<usize>,
}

/// What happens when a step or a gate of a phase fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The phase is undone; earlier phases stay.
    #[default]
    Rollback,
    /// Everything is undone.
    RollbackAll,
    /// Everything stays as it is until somebody decides.
    Pause,
}

/// What happens when the server's disk is full in the middle of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDiskFull {
    /// What failed is cleared away, and the run waits for somebody to make room.
    #[default]
    Pause,
    /// It is a failure like any other: the phase's `on_failure` says what becomes of it.
    Rollback,
}

/// A length of time, written as `250ms`, `2s` or `5min`; kept as the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl std::str::FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let length = humantime::parse_duration(text)
            .map_err(|_| format!("`{text}` is not a length of time; write it like \"250ms\", \"2s\" or \"5min\""))?;
        u64::try_from(length.as_millis()).map(Self).map_err(|_| "that is too long".to_owned())
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}ms", self.0))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Length;
        impl Visitor<'_> for Length {
            type Value = Millis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as \"250ms\", \"2s\" or \"5min\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Millis, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Length)
    }
}

/// How much the run may ask of the server. Every wait is bounded by one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// The longest that DDL queues for a lock: everyone behind it waits as long.
    pub lock_timeout: Millis,
    /// How often a lock is tried for again before the step fails.
    pub lock_retries: u32,
    /// No DDL is queued while a transaction on its table is older than this.
    pub max_xact_age: Millis,
    /// The longest that one wait of CREATE or DROP INDEX CONCURRENTLY for older transactions may take.
    pub index_wait: Millis,
    /// The longest that one statement may run: an index build, a validation, a gate.
    pub statement_deadline: Millis,
    /// How long a server that went away is tried for before the run is left for `resume`.
    pub reconnect_max: Millis,
    /// How long the lease is good without a heartbeat: so long a successor waits where it cannot see that a process is gone.
    pub lease: Millis,
    pub on_failure: OnFailure,
    pub on_disk_full: OnDiskFull,
}

/// Below, a busy server or a slow line would take the lease from a process that works; above, nobody would wait for it.
pub const LEASE: std::ops::RangeInclusive<Millis> = Millis(3_000)..=Millis(600_000);

impl Default for Safety {
    fn default() -> Self {
        Self {
            lock_timeout: Millis(2_000),
            lock_retries: 20,
            max_xact_age: Millis(5 * 60_000),
            index_wait: Millis(10 * 60_000),
            statement_deadline: Millis(6 * 3_600_000),
            reconnect_max: Millis(5 * 60_000),
            lease: Millis(30_000),
            on_failure: OnFailure::Rollback,
            on_disk_full: OnDiskFull::Pause,
        }
    }
}

impl Plan {
    /// How fast its backfills go.
    pub fn pacing(&self) -> Pacing {
        Pacing {
            target_batch: self.backfill.target_batch,
            workers: self.backfill.workers,
            throttle: self.throttle.clone(),
            synchronous_commit: self.backfill.synchronous_commit,
            vacuum_percent: self.backfill.vacuum_percent,
            hold: None,
        }
    }
}

/// Who the tenants are and how a session says which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenancy {
    pub registry: Registry,
    /// The column that carries the tenant in every table.
    pub column: Ident,
    /// The setting by which the application names the tenant: `app.tenant_id`.
    pub setting: String,
    /// The application's runtime roles.
    #[serde(default)]
    pub roles: Vec<Ident>,
    /// Roles that see every tenant's rows, for reports and transports.
    #[serde(default)]
    pub bypass: Vec<Ident>,
    /// A function of no arguments that returns the session's tenant, in place of the expression over `setting`.
    #[serde(default)]
    pub function: Option<QName>,
    /// Whether the owner of a table is bound by its policies too.
    #[serde(default = "yes")]
    pub force: bool,
    /// What a session meets that has not said which tenant it is.
    #[serde(default)]
    pub on_unset: OnUnset,
    /// The tenant of such a session until the phase `strict`, by its key: for releases of the application that know of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Literal>,
}

/// What a session meets that has not said which tenant it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnset {
    /// No row, and no write.
    #[default]
    Deny,
    /// An error (42501) that names the setting: a forgotten context is loud, and an empty answer is really empty.
    Error,
}

fn yes() -> bool {
    true
}

impl Tenancy {
    /// The tenant of the session, as an SQL expression: `{tenant}` in a plan. A scalar subquery, so that it is evaluated once
    /// a query and not once a row; NULLIF, because the setting is '' and not NULL once a transaction has set it; `true`, so
    /// that a session that never set it sees no row instead of an error.
    pub fn context(&self) -> Stmt {
        sql!("(SELECT {})", self.context_once())
    }

    /// What is asked of a table of this column's, as the application.
    pub fn isolation_of(&self, table: &QName) -> isolation::Spec {
        let registry = &self.registry;
        let column = if *table == registry.table { &registry.key } else { &self.column };
        isolation::Spec {
            table: table.clone(),
            column: column.clone(),
            setting: self.setting.clone(),
            roles: self.roles.clone(),
            bypass: self.bypass.clone(),
            registry: (registry.table.clone(), registry.key.clone()),
            force: self.force,
            extra: false,
            strict: self.on_unset == OnUnset::Error && self.fallback.is_none(),
            fallback: self.fallback.as_ref().map(|key| key.0.clone()),
        }
    }

    /// The table in which `shadow_rls` notes what it would hide, where the plan names no other: beside the registry.
    pub fn shadow_log(&self) -> QName {
        self.registry.table.sibling(Ident::derived(&["tenantmig_shadow"]))
    }

    /// The table that notes who goes on as the tenant of `fallback`, where the plan names no other: beside the registry.
    pub fn fallback_log(&self) -> QName {
        self.registry.table.sibling(Ident::derived(&["tenantmig_fallback"]))
    }

    /// The same without the subquery around it, for a place that takes none and evaluates it once anyway: a column's default.
    pub fn context_once(&self) -> Stmt {
        match &self.function {
            Some(function) => sql!("{}()", function),
            None => self.setting_read(),
        }
    }

    /// The tenant as the setting says it: what a context function returns.
    pub fn setting_read(&self) -> Stmt {
        sql!("NULLIF(current_setting({}, true), '')::{}", Literal::new(self.setting.clone()), self.registry.r#type)
    }
}

/// The table of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub table: QName,
    pub key: Ident,
    pub r#type: TypeName,
}

/// How rows that an application without tenants writes meanwhile get theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// The table that notes who wrote without a tenant; beside the registry where it is left out.
    pub log: Option<QName>,
    /// Nobody may have written without a tenant for so long before the column becomes NOT NULL.
    pub quiet_for: Option<Millis>,
    /// How long that is waited for before the run pauses.
    pub quiet_wait: Millis,
}

impl Default for Capture {
    fn default() -> Self {
        // A day: the last old release of an application is often replaced over night.
        Self { log: None, quiet_for: None, quiet_wait: Millis(24 * 3_600_000) }
    }
}

/// The copy that is made of the database before anything is destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// The folder on the host of the command that rolls back; no backup is made where it is left out.
    pub directory: Option<String>,
}

/// What backfill steps do where they say nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackfillDefaults {
    /// How long a batch should take; its size follows.
    pub target_batch: Millis,
    /// The most rows of the table that one batch walks over, however fast it is.
    pub batch_rows: u32,
    /// Sessions that write at once; left out, it is chosen from the server's cores and load.
    pub workers: Option<u32>,
    pub on_orphan: OnOrphan,
    pub synchronous_commit: Option<SynchronousCommit>,
    /// The table is vacuumed each time so much of it, in percent, was written.
    pub vacuum_percent: Option<u32>,
}

impl Default for BackfillDefaults {
    fn default() -> Self {
        let Pacing { target_batch, workers, synchronous_commit, vacuum_percent, .. } = Pacing::default();
        Self {
            target_batch,
            batch_rows: 20_000,
            workers,
            on_orphan: OnOrphan::Stop,
            synchronous_commit,
            vacuum_percent,
        }
    }
}

/// What lowering must know of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// As in `server_version_num`: 150018.
    pub version_num: u32,
}

impl Default for ServerFacts {
    /// The oldest supported version: what `validate` assumes without a server.
    fn default() -> Self {
        Self { version_num: 130_000 }
    }
}

/// What a step sees of the plan around it while it is lowered.
#[derive(Debug)]
pub struct Lowering<'a> {
    pub phase: &'a str,
    pub step: &'a str,
    pub server: ServerFacts,
    pub tenancy: Option<&'a Tenancy>,
    pub backfill: &'a BackfillDefaults,
    /// What earlier steps of the plan made, and the unit that made it.
    pub made: &'a BTreeMap<Object, UnitId>,
    /// The columns that steps of the plan fill, also later ones, and with what: the first of each.
    pub filled: &'a BTreeMap<Object, Fill>,
}

impl Lowering<'_> {
    /// The id of this step's unit `part`.
    pub fn unit(&self, part: &str) -> UnitId {
        UnitId(format!("{}/{}/{part}", self.phase, self.step))
    }
}

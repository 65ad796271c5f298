//! The step kinds: one file each, and this table. A new kind is a file with its struct, `check`, `lower`, `EXAMPLE` and
//! tests, and one row here; parsing, laws, documentation and snapshots follow from the row.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use toml::{Spanned, de::DeTable};

use crate::{
    checks::{Gate, Guard},
    plan::{Deals, Lowering, Site},
    sql::{Ident, QName, Stmt},
    unit::{Fill, Unit},
};

/// What every step kind can do. All of it is pure.
pub trait StepKind: Debug + Send + Sync {
    /// The step's id where the plan gives none.
    fn default_id(&self) -> String;

    /// Finds what is wrong with the step by itself, and reads the files it names.
    fn check(&mut self, site: &mut Site<'_>);

    /// The units that carry it out, in order. Called only for a step that `check` found no error in.
    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit>;

    /// The gates that this step brings to its phase without being asked.
    fn gates(&self, _cx: &Lowering<'_>) -> Vec<Gate> {
        Vec::new()
    }

    /// What must not be found when the step is about to be undone.
    fn guards(&self, _cx: &Lowering<'_>) -> Vec<Guard> {
        Vec::new()
    }

    /// What must exist before the step runs: in the database, or made by an earlier step. With the key that names it.
    fn needs(&self) -> Vec<(&'static str, Object)> {
        Vec::new()
    }

    /// Tables that the application's writes look rows up in from then on, and by which columns: without an index that leads
    /// with them, each such write reads the table.
    fn looks_up(&self) -> Vec<(QName, Vec<Ident>)> {
        Vec::new()
    }

    /// The column to which it gives one and the same value in every row.
    fn fills_alike(&self) -> Option<Object> {
        None
    }

    /// The column that it fills where it has no value, and with what.
    fn fills(&self) -> Option<(Object, Fill)> {
        None
    }

    /// What in the database forbids it, as an expression: words, or NULL. With the key that it is told at. Asked before anything is
    /// touched, of what no earlier step changes.
    fn hindrance(&self) -> Option<(&'static str, Stmt)> {
        None
    }

    /// What in the database would bite, and does not because of it.
    fn deals(&self) -> Option<Deals> {
        None
    }

    /// What exists after it, and the part of the unit that makes it.
    fn makes(&self) -> Vec<(Object, &'static str)> {
        Vec::new()
    }
}

/// A thing in the catalogue that steps need or make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    Table(QName),
    Column(QName, Ident),
    Tablespace(Ident),
    /// What was seen of a table by an earlier step.
    Activity(QName),
}

/// Reads a table of the plan, `kind` taken out.
type Parse = fn(Spanned<DeTable<'_>>) -> Result<Box<dyn StepKind>, toml::de::Error>;

/// One row of the table: a kind's name, its example, its file, and how to read it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// A `[[phase.step]]` in TOML that works on the database of [`EXAMPLE_SCHEMA`].
    pub example: &'static str,
    /// The file's text; its top comment is the documentation.
    pub source: &'static str,
    parse: Parse,
}

impl Kind {
    /// Reads a step from its table, `kind` and `id` taken out.
    pub fn parse(&self, table: Spanned<DeTable<'_>>) -> Result<Box<dyn StepKind>, toml::de::Error> {
        (self.parse)(table)
    }

    /// The top comment of the kind's file as plain text: what it does, its lock, why that is safe, how it is undone.
    pub fn doc(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
    }
}

fn parse<T: StepKind + DeserializeOwned + 'static>(
    table: Spanned<DeTable<'_>>,
) -> Result<Box<dyn StepKind>, toml::de::Error> {
    Ok(Box::new(T::deserialize(toml::de::Deserializer::from(table))?))
}

#[cfg(test)]
mod trial;

macro_rules! kinds {
    ($($name:ident => $type:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Every step kind, in the order of the documentation.
        pub const KINDS: &[Kind] = &[$(Kind {
            name: stringify!($name),
            example: $name::EXAMPLE,
            source: include_str!(concat!(stringify!($name), ".rs")),
            parse: parse::<$name::$type>,
        }),*];
    };
}

kinds! {
    create_table => CreateTable,
    add_column => AddColumn,
    capture_log => CaptureLog,
    capture => Capture,
    end_capture => EndCapture,
    backfill => Backfill,
    quarantine => Quarantine,
    settle => Settle,
    copy_rows => CopyRows,
    create_index => CreateIndex,
    add_foreign_key => AddForeignKey,
    scope_unique => ScopeUnique,
    composite_foreign_key => CompositeForeignKey,
    set_not_null => SetNotNull,
    set_default => SetDefault,
    create_function => CreateFunction,
    create_trigger => CreateTrigger,
    attach_check => AttachCheck,
    create_role => CreateRole,
    grant => Grant,
    revoke => Revoke,
    create_statistics => CreateStatistics,
    analyze => Analyze,
    drop_column => DropColumn,
    drop_table => DropTable,
    create_policy => CreatePolicy,
    enable_rls => EnableRls,
    force_rls => ForceRls,
    shadow_log => ShadowLog,
    shadow_rls => ShadowRls,
    fallback_log => FallbackLog,
    enforce_rls => EnforceRls,
    observe => Observe,
    watch => Watch,
    sql => Sql,
    assert => Assert,
}

/// The database that every EXAMPLE works on. Plain SQL, run once by an owner who is no superuser.
pub const EXAMPLE_SCHEMA: &str = include_str!("example_schema.sql");

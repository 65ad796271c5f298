//! The outer form of a plan: which tables there are, and the plain ones among them.

use std::ops::Range;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{
    canary::Canary,
    disk::{self, Disk},
    fallback::Fallback,
    limits,
    probes::Latency,
    section::{self, Table},
    shadow::Shadow,
    throttle::Throttle,
    types::{BackfillDefaults, Backup, Capture, LEASE, OnUnset, Safety, Tenancy},
    wording::a,
};
use crate::diag::{Diag, Diags};

/// The version of the plan's form that this program reads.
pub const FORMAT: i64 = 1;

/// The keys of a plan's outermost table.
pub const KEYS: &[&str] = &[
    "format",
    "name",
    "description",
    "safety",
    "tenancy",
    "backfill",
    "throttle",
    "disk",
    "capture",
    "shadow",
    "fallback",
    "backup",
    "latency",
    "canary",
    "table",
    "shared",
    "phase",
    "gate",
    "probe",
];

/// The plain values of a plan; phases and gates are read by `parse`.
#[derive(Debug)]
pub struct Header {
    pub name: String,
    pub description: String,
    pub safety: Safety,
    pub tenancy: Option<Tenancy>,
    pub backfill: BackfillDefaults,
    pub throttle: Throttle,
    pub disk: Disk,
    pub capture: Capture,
    pub shadow: Option<Shadow>,
    pub fallback: Fallback,
    pub backup: Backup,
    pub latency: Latency,
    pub canary: Canary,
}

#[derive(Deserialize)]
struct Top {
    #[serde(rename = "format")]
    _format: i64,
    name: String,
    #[serde(default)]
    description: String,
}

/// Whether this version reads the plan's form. A plan of another form is not told what else is wrong with it.
pub fn is_known(doc: &DeTable<'_>, diags: &mut Diags) -> bool {
    let Some(value) = doc.get("format") else { return true };
    let known = FORMAT.to_string();
    match value.get_ref().as_integer() {
        Some(number) if number.as_str() != known => {
            diags.push(
                Diag::error("TM0110", value.span(), format!("format {} is not known", number.as_str()))
                    .help(format!("this version of tenantmig reads format = {known}")),
            );
            false
        }
        Some(_) | None => true,
    }
}

/// Reads everything but phases and gates.
pub fn header(doc: &DeTable<'_>, source: &str, diags: &mut Diags) -> Option<Header> {
    let top = top(doc, source, diags);
    if let Some(top) = &top {
        check_top(top, doc, diags);
    }
    let safety = table(doc, "safety", diags, |t| Safety::deserialize(Deserializer::from(t)));
    let tenancy = table(doc, "tenancy", diags, |t| Tenancy::deserialize(Deserializer::from(t)));
    let backfill = table(doc, "backfill", diags, |t| BackfillDefaults::deserialize(Deserializer::from(t)));
    let throttle = table(doc, "throttle", diags, |t| Throttle::deserialize(Deserializer::from(t)));
    let disk = table(doc, "disk", diags, |t| Disk::deserialize(Deserializer::from(t)));
    let capture = table(doc, "capture", diags, |t| Capture::deserialize(Deserializer::from(t)));
    let shadow = table(doc, "shadow", diags, |t| Shadow::deserialize(Deserializer::from(t)));
    let fallback = table(doc, "fallback", diags, |t| Fallback::deserialize(Deserializer::from(t)));
    let backup = table(doc, "backup", diags, |t| Backup::deserialize(Deserializer::from(t)));
    let latency = table(doc, "latency", diags, |t| Latency::deserialize(Deserializer::from(t)));
    let canary = table(doc, "canary", diags, |t| Canary::deserialize(Deserializer::from(t)));
    check_sections(doc, safety.as_ref(), tenancy.as_ref(), diags);
    let place = |table: &str, key: &str| value_of(doc, table, key);
    if let Some(backfill) = &backfill {
        limits::check_backfill(backfill, &place, diags);
    }
    if let Some(throttle) = &throttle {
        limits::check_throttle(throttle, &place, diags);
    }
    if let Some(disk) = &disk {
        disk::check_disk(disk, &place, diags);
    }
    let top = top?;
    Some(Header {
        name: top.name,
        description: top.description,
        safety: safety.unwrap_or_default(),
        tenancy,
        backfill: backfill.unwrap_or_default(),
        throttle: throttle.unwrap_or_default(),
        disk: disk.unwrap_or_default(),
        capture: capture.unwrap_or_default(),
        shadow,
        fallback: fallback.unwrap_or_default(),
        backup: backup.unwrap_or_default(),
        latency: latency.unwrap_or_default(),
        canary: canary.unwrap_or_default(),
    })
}

/// The first line that has something on it: the place of what belongs at the top and is not there.
pub fn first_line(source: &str) -> Range<usize> {
    let start = source.find(|c: char| !c.is_whitespace() && c != '\u{feff}').unwrap_or(source.len());
    let line = source[start..].lines().next().unwrap_or_default();
    start..start + line.len()
}

/// Reads the plain values. What is missing has no place of its own, so the first line of the plan is marked.
fn top(doc: &DeTable<'_>, source: &str, diags: &mut Diags) -> Option<Top> {
    let mut plain = DeTable::new();
    for (key, example) in [("format", "1"), ("name", "\"my-plan\""), ("description", "\"\"")] {
        if let Some((key, value)) = doc.get_key_value(key) {
            plain.insert(key.clone(), value.clone());
            continue;
        }
        if key != "description" {
            diags.push(
                Diag::error("TM0104", first_line(source), format!("the key `{key}` is missing"))
                    .label("the plan begins here")
                    .help(format!("write {key} = {example} above everything else")),
            );
        }
        plain.insert(Spanned::new(0..0, key.into()), DeValue::parse(example).ok()?);
    }
    section::read(Spanned::new(0..0, plain), diags, |t| Top::deserialize(Deserializer::from(t)))
}

fn check_top(top: &Top, doc: &DeTable<'_>, diags: &mut Diags) {
    let place = |key: &str| doc.get(key).map_or(0..0, Spanned::span);
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if top.name.is_empty() || !top.name.chars().all(fits) {
        diags.push(
            Diag::error("TM0103", place("name"), "a plan's name has letters, digits, `-`, `_` and `.` only")
                .help("it names the plan in the ledger, in commands and in metrics"),
        );
    }
}

/// The place of a plain value of a table; empty where the plan does not say it.
pub(super) fn value_of(doc: &DeTable<'_>, table: &str, key: &str) -> Range<usize> {
    let value = doc.get(table).and_then(|t| t.get_ref().as_table()).and_then(|t| t.get(key));
    value.map_or(0..0, Spanned::span)
}

fn check_sections(doc: &DeTable<'_>, safety: Option<&Safety>, tenancy: Option<&Tenancy>, diags: &mut Diags) {
    let place = |table: &str, key: &str| value_of(doc, table, key);
    if let Some(safety) = safety {
        limits::check_safety(safety, &place, diags);
    }
    if let Some(safety) = safety.filter(|safety| !LEASE.contains(&safety.lease)) {
        let message = format!("a lease of {} is no use", humantime::format_duration(safety.lease.duration()));
        diags.push(Diag::error("TM0103", place("safety", "lease"), message).help(
            "write 3s to 10min: it is renewed six times in that, and a successor of a process that froze waits as long",
        ));
    }
    if let Some(tenancy) = tenancy
        && !tenancy.setting.contains('.')
    {
        diags.push(
            Diag::error(
                "TM0103",
                place("tenancy", "setting"),
                format!("`{}` is not a custom setting", tenancy.setting),
            )
            .help("PostgreSQL takes only names with a dot, such as \"app.tenant_id\""),
        );
    }
    if let Some(fallback) = tenancy.and_then(|tenancy| tenancy.fallback.as_ref()) {
        let mut refuse = |message: &str, help: &str| {
            diags.push(Diag::error("TM0111", place("tenancy", "fallback"), message).help(help));
        };
        if tenancy.is_some_and(|tenancy| tenancy.function.is_none()) {
            refuse(
                "a fallback needs a context function, which is replaced without a lock when it ends",
                "write function = \"app.current_tenant\"; [[table]] creates it, and takes the fallback away in the phase strict",
            );
        }
        if fallback.0.trim().is_empty() {
            refuse("an empty key is nobody's", "write the key of the tenant whose rows were there first");
        }
    }
    if let Some(section) = doc.get("fallback")
        && tenancy.is_some_and(|tenancy| tenancy.fallback.is_none())
    {
        let message = "[fallback] waits for the end of a fallback, and [tenancy] has none";
        diags.push(Diag::error("TM0111", section.span(), message).help(
            "write fallback = \"…\" into [tenancy], the tenant of sessions that say none; or take the section out",
        ));
    }
    // No expression over a setting raises the error of a missing right; only a function does.
    if tenancy.is_some_and(|tenancy| tenancy.on_unset == OnUnset::Error && tenancy.function.is_none()) {
        let message = "on_unset = \"error\" needs a context function, which raises the error";
        diags.push(
            Diag::error("TM0111", place("tenancy", "on_unset"), message)
                .help("write function = \"app.current_tenant\"; [[table]] creates it, or a step create_function with template = \"tenant_context\""),
        );
    }
}

fn table<'i, T>(
    doc: &DeTable<'i>,
    key: &str,
    diags: &mut Diags,
    parse: impl Fn(Table<'i>) -> Result<T, toml::de::Error>,
) -> Option<T> {
    let value = doc.get(key)?;
    match value.get_ref() {
        DeValue::Table(table) => section::read(Spanned::new(value.span(), table.clone()), diags, parse),
        other @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)) => {
            let message = format!("`{key}` is a table, not {}", a(other));
            diags
                .push(Diag::error("TM0103", value.span(), message).help(format!("write [{key}] on a line of its own")));
            None
        }
    }
}

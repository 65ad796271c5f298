//! The audit: every class that a catalogue shows on a leaky database, and the fixes that silence it; nothing on a canonical one;
//! quick and read-only on a large one; waivers and forms.

mod canonical;
mod forms;
mod leaky;
mod many;
mod missed;

use std::collections::BTreeSet;

use serde_json::Value;
use tenantmig::demo::cluster::{Cluster, ClusterOptions};

use crate::harness::{Output, Tool, cluster};

const SCHEMA: &str = include_str!("../fixtures/schemas/isolation.sql");

/// Roles of the leaky database as which an application works.
const ROLES: [&str; 6] = ["--app-role", "iso_app", "--app-role", "iso_second", "--app-role", "iso_reports"];

/// What only the server's version decides: the minors are data, and tested where they stand.
const OF_THE_VERSION: [&str; 2] = ["TM0508", "TM0509"];

/// A server of its own, since roles are the cluster's.
fn server(extra_conf: &[(&str, &str)]) -> Cluster {
    let bindir = Some(cluster().bindir().to_owned());
    let extra_conf = extra_conf.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Cluster::start(ClusterOptions { bindir, extra_conf, ..ClusterOptions::default() }).unwrap()
}

fn audit(url: &str, arguments: &[&str]) -> Output {
    Tool::without_database().url(url).args(["audit"]).args(arguments).run()
}

/// The findings of an audit in JSON, but for those of the server's version.
fn findings(output: &Output) -> Vec<Value> {
    let all = output.json()["findings"].as_array().unwrap_or_else(|| panic!("{output}")).clone();
    all.into_iter().filter(|finding| !OF_THE_VERSION.contains(&finding["code"].as_str().unwrap())).collect()
}

fn codes(findings: &[Value]) -> BTreeSet<&str> {
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// Each finding in a line, for a failure's message.
fn told(findings: &[Value]) -> String {
    let line = |finding: &Value| {
        format!("{} {}: {} [{}]\n", finding["code"], finding["object"], finding["what"], finding["sql"])
    };
    findings.iter().map(line).collect()
}

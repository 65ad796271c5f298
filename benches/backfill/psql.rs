//! A plain loop in psql: one DO block that commits after each range of keys.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{command, run};
use crate::deed::{Deed, Kit};
use crate::ground::Copy;

/// What stands before the batches' lengths in the loop's last notice.
const BATCHES: &str = "batches_ms ";

pub fn act(copy: &Copy<'_>, kit: &Kit, deadline: Duration) -> Result<Deed> {
    let script = kit.home.path().join("psql.sql");
    fs::write(&script, include_str!("sql/psql.sql")).context("write the loop for psql")?;
    let mut psql = command(copy.server.program("psql"), kit.home.path());
    psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d"]).arg(copy.url()).arg("-f").arg(&script);
    let ended = run(&mut psql, deadline)?;
    let batches_ms = ended
        .stderr
        .lines()
        .find_map(|line| line.split_once(BATCHES))
        .map(|(_, list)| list.split(' ').filter_map(|ms| ms.parse().ok()).collect())
        .unwrap_or_default();
    Ok(Deed { batches_ms, ..Deed::of(&ended) })
}

//! A real migration of Alembic, in a virtual environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{Ended, command, run};
use crate::deed::{Deed, Kit};
use crate::ground::Copy;

/// Three small packages; without a network pip gives up by itself, after its retries.
const INSTALL: Duration = Duration::from_secs(240);

const REQUIREMENTS: &str = include_str!("alembic/requirements.txt");

/// The migration and its surroundings, by path.
const FILES: &[(&str, &str)] = &[
    ("alembic.ini", include_str!("alembic/alembic.ini")),
    ("env.py", include_str!("alembic/env.py")),
    ("versions/0001_tenant_id.py", include_str!("alembic/versions/0001_tenant_id.py")),
];

/// The program `alembic` of the environment below `folder`, which is made if need be; or why there is none.
pub fn install(folder: &Path) -> Result<PathBuf, String> {
    let venv = folder.join("venv");
    let (program, stamp) = (venv.join("bin/alembic"), venv.join("requirements.txt"));
    // Written last, so that an environment that is half made, or of other versions, is made again.
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(program);
    }
    let told = |error: anyhow::Error| format!("{error:#}");
    fs::create_dir_all(&venv).map_err(|error| format!("{}: {error}", venv.display()))?;
    let mut python = command("python3", folder);
    succeed(run(python.args(["-m", "venv", "--clear"]).arg(&venv), INSTALL).map_err(told)?, "python3 -m venv")?;
    let list = folder.join("requirements.txt");
    fs::write(&list, REQUIREMENTS).map_err(|error| format!("{}: {error}", list.display()))?;
    let mut pip = command(venv.join("bin/pip"), folder);
    // pip's own settings may name another index, in the real home.
    pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&list);
    if let Some(home) = std::env::var_os("HOME") {
        pip.env("HOME", home);
    }
    succeed(run(&mut pip, INSTALL).map_err(told)?, "pip install")?;
    fs::write(&stamp, REQUIREMENTS).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(program)
}

fn succeed(ended: Ended, what: &str) -> Result<(), String> {
    if ended.succeeded() { Ok(()) } else { Err(format!("{what}: {}", ended.complaint())) }
}

pub fn act(copy: &Copy<'_>, kit: &Kit, deadline: Duration) -> Result<Deed> {
    let program = match &kit.alembic {
        Ok(program) => program,
        Err(why) => return Ok(Deed::absent(why.clone())),
    };
    let folder = kit.home.path().join("alembic");
    fs::create_dir_all(folder.join("versions")).context("make a folder for the migration")?;
    for (name, text) in FILES {
        fs::write(folder.join(name), text).with_context(|| format!("write {name}"))?;
    }
    let list = folder.join("batches");
    fs::write(&list, "").context("empty the list of batches")?;
    let url = copy.url().replacen("postgres://", "postgresql+psycopg2://", 1);
    let mut alembic = command(program, kit.home.path());
    alembic.args(["upgrade", "head"]).current_dir(&folder).env("BENCH_URL", url).env("BENCH_BATCHES", &list);
    let ended = run(&mut alembic, deadline)?;
    let text = fs::read_to_string(&list).context("read the list of batches")?;
    let batches_ms: Vec<f64> =
        text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(_, ms)| ms.parse().ok()).collect();
    // Of the command, a second is Python's start.
    let seconds = batches_ms.iter().sum::<f64>() / 1_000.0;
    Ok(Deed { seconds: (seconds > 0.0).then_some(seconds), batches_ms, ..Deed::of(&ended) })
}

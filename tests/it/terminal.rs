//! Where the output goes: a pipe that closes or fills up, a narrow terminal, no terminal and nobody to ask; a pooler.

use std::time::{Duration, Instant};

use console::{measure_text_width, strip_ansi_codes};

use crate::harness::{Output, Tool};
use crate::scene::{EXPAND, MARK, Scene, plan, with_plan};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tenantmig");

/// Runs a shell's line in a folder with the plan.
fn shell(scene: &Scene, plan: &str, line: &str) -> Tool {
    let tool = scene.tool().program("bash");
    tool.file("plan.toml", plan);
    tool.args(["-c", &line.replace("tenantmig", PROGRAM)])
}

/// The same on a terminal of so many columns; `script` gives the command's exit code.
fn terminal(scene: &Scene, plan: &str, columns: u32, line: &str) -> Tool {
    let tool = scene.tool().program("script").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    tool.file("plan.toml", plan);
    let line = format!("stty cols {columns} rows 24 -echo; {}", line.replace("tenantmig", PROGRAM));
    tool.args(["-qefc", &line, "/dev/null"])
}

/// Every piece that a terminal would show on one row.
fn rows(out: &Output) -> Vec<String> {
    let pieces = out.stdout.split(['\n', '\r']);
    // Cursor movements begin another row as well.
    let moved = pieces.flat_map(|piece| piece.split("\x1b[2K").flat_map(|p| p.split("\x1b[1A")));
    moved.map(|piece| strip_ansi_codes(piece).into_owned()).filter(|piece| !piece.is_empty()).collect()
}

/// A row in pieces of so many columns, as a terminal shows it.
fn slices(row: &str, columns: usize) -> Vec<String> {
    let mut slices = vec![String::new()];
    for c in row.chars() {
        if measure_text_width(&format!("{}{c}", slices[slices.len() - 1])) > columns {
            slices.push(String::new());
        }
        slices.last_mut().unwrap().push(c);
    }
    slices
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let scene = Scene::new("head", 2_000);
    let whole = plan("", &[EXPAND, MARK]);
    // The run itself goes on to its end; its result could not be written.
    let line = "tenantmig apply plan.toml --yes --format ndjson | head -1; echo code ${PIPESTATUS[0]}";
    let out = shell(&scene, &whole, line).run().nowhere_has("panicked");
    assert!(out.stdout.contains("code 0") || out.stdout.contains("code 1"), "{out}");
    scene.stands("completed");
    scene.every_row_once();
    for line in [
        "tenantmig status | head -1",
        "tenantmig plan plan.toml --sql | head -1",
        "tenantmig completions bash | head -1",
        "tenantmig --help | head -1",
        "tenantmig doctor | true",
    ] {
        let _ = shell(&scene, &whole, line).run().nowhere_has("panicked");
    }
    // Nobody hears the messages either.
    let _ = shell(&scene, &whole, "tenantmig rollback --to start --yes 2>&1 | true").run().nowhere_has("panicked");
    scene.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')");
    scene.stands("rolled back");
}

#[test]
fn a_full_pipe_does_not_stop_the_run() {
    let scene = Scene::new("full_pipe", 30_000);
    // A line for each of 3,000 batches is far more than a pipe holds.
    let whole = plan("", &[EXPAND]).replace("batch_rows = 100", "batch_rows = 10");
    let line = "tenantmig apply plan.toml --yes --format ndjson | (while [ ! -e go ]; do sleep 0.05; done; cat | tail -1); echo code ${PIPESTATUS[0]}";
    let tool = shell(&scene, &whole, line);
    let go = tool.file("not-yet", "").with_file_name("go");
    let run = tool.spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until("SELECT coalesce(bool_and(status = 'done'), false) FROM tenantmig.migration_progress");
    std::fs::write(go, "").unwrap();
    let out = run.wait().expect_code(0).stdout_has("code 0").stdout_has("summary");
    assert!(!out.stderr.contains("panicked"), "{out}");
    scene.every_row_once();
}

#[test]
fn nothing_is_wider_than_a_terminal_of_40_columns() {
    let scene = Scene::new("narrow", 20_000);
    let fail = "[[phase]]\nid = \"fail\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"account_id\"]\nunique = true";
    let whole = plan("", &[EXPAND, fail]);
    for (line, code) in [
        ("tenantmig validate plan.toml", 0),
        ("tenantmig plan plan.toml", 0),
        ("tenantmig apply plan.toml --yes", 5),
        ("tenantmig status", 0),
        ("tenantmig rollback --to nowhere", 64),
        ("tenantmig rollback --to start --dry-run", 0),
        ("tenantmig rollback --to start --yes", 0),
        ("tenantmig doctor", 0),
        ("tenantmig apply --help", 0),
    ] {
        let out = terminal(&scene, &whole, 40, line).run().expect_code(code).nowhere_has("panicked");
        for row in rows(&out) {
            // The bar fills its rows with spaces and lets the terminal go on to the next; a word is never cut in two.
            for (n, slice) in slices(&row, 40).windows(2).enumerate() {
                let cut = !slice[0].ends_with(' ') && !slice[1].starts_with(' ');
                assert!(!cut, "{line}: wider than 40, at row {n} of {row:?}\n{out}");
            }
            assert!(!row.contains('\u{fffd}') && !row.contains('\x1b'), "{line}: garbage: {row:?}");
        }
    }
}

#[test]
fn nobody_to_ask_is_4_and_never_a_hang() {
    let scene = Scene::new("nobody", 50);
    let before = scene.print();
    let tool = scene.tool();
    tool.file("plan.toml", &plan("", &[EXPAND]));
    let out = tool.args(["apply", "plan.toml"]).timeout(Duration::from_secs(20)).run().expect_code(4);
    let _ = out.stderr_has("nobody is there to confirm").stderr_has("--yes").stderr_has("nothing was changed");
    // An answer in a pipe is no answer of somebody who saw the question.
    let tool = scene.tool().stdin("y\n");
    tool.file("plan.toml", &plan("", &[EXPAND]));
    let _ = tool.args(["apply", "plan.toml"]).run().expect_code(4);
    scene.is_as(&before);
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let print = scene.print();
    let out = scene.run("rollback --to start").expect_code(4).stderr_has("nothing was changed");
    let _ = out.stderr_has("tenantmig rollback --to start --yes");
    scene.is_as(&print);
}

#[test]
fn a_rollback_past_row_security_asks_for_the_databases_name() {
    let scene = Scene::new("confirm", 50);
    let rls = "[[phase]]\nid = \"rls\"\n[[phase.step]]\nkind = \"enable_rls\"\ntable = \"app.users\"";
    let _ = scene.apply(&plan("", &[EXPAND, rls])).expect_code(0);
    let print = scene.print();
    let name = scene.db.name().to_owned();
    // --yes is not enough, and a wrong name is no name.
    let out = scene.run("rollback --to start --yes").expect_code(4).stderr_has("nothing was changed");
    let _ = out.stderr_has(&format!("tenantmig rollback --to start --confirm {name}"));
    let out = scene.run("rollback --to start --yes --confirm production").expect_code(4);
    let _ = out.stderr_has("`production` is not the database's name");
    scene.is_as(&print);
    let _ = scene.run(&format!("rollback --to expand --confirm {name}")).expect_code(0);
}

#[test]
fn a_terminal_is_asked_and_heard() {
    let scene = Scene::new("asked", 50);
    let (whole, before) = (plan("", &[EXPAND]), scene.print());
    let out = terminal(&scene, &whole, 100, "tenantmig apply plan.toml").stdin("n\n").run().expect_code(4);
    let _ = out.stdout_has("[y/N]").stdout_has("nothing was changed");
    let out = terminal(&scene, &whole, 100, "tenantmig apply plan.toml").stdin("\n").run().expect_code(4);
    let _ = out.stdout_has("[y/N]");
    let begun = Instant::now();
    let _ = terminal(&scene, &whole, 100, "tenantmig apply plan.toml --no-input").run().expect_code(4);
    assert!(begun.elapsed() < Duration::from_secs(10));
    scene.is_as(&before);
    let _ = terminal(&scene, &whole, 100, "tenantmig apply plan.toml").stdin("y\n").run().expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_log_in_json_is_json_and_quiet_is_quiet() {
    let scene = Scene::new("quiet", 50);
    let out = with_plan(scene.tool(), &plan("", &[EXPAND])).args(["--quiet"]).run().expect_code(0);
    assert_eq!(out.stderr, "", "{out}");
    let out = scene.tool().args(["status", "-vv", "--log-format", "json"]).run().expect_code(0);
    for line in out.stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn colour_only_where_somebody_sees_it() {
    let scene = Scene::new("colour", 50);
    let out = scene.apply(&plan("", &[EXPAND])).expect_code(0).nowhere_has("\x1b");
    assert!(!out.stderr.is_empty());
    let _ = scene.tool().args(["status", "--color", "always"]).run().expect_code(0).stdout_has("\x1b[");
    let _ = scene.tool().args(["status", "-vv"]).run().expect_code(0).nowhere_has("\x1b");
    let _ = scene
        .tool()
        .env("FORCE_COLOR", "1")
        .env("NO_COLOR", "1")
        .args(["status"])
        .run()
        .expect_code(0)
        .nowhere_has("\x1b");
}

//! Signals outside of a run under way: at a question, during the install, in a cycle, in the demo; and behind a backend that does
//! not answer at all.

use std::time::Duration;

use rustix::process::{Pid, kill_process};

use super::{end, nobody_left};
use crate::harness::{Signal, Tool};
use crate::scene::{EXPAND, Scene, plan, with_plan};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tenantmig");

#[test]
fn at_a_question_the_end_comes_at_once_and_nothing_was_touched() {
    let check = |signal: Signal, name: &str, code: i32| {
        let scene = Scene::new("question", 5);
        let before = scene.print();
        let tool = scene.tool().program("bash").env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        let path = tool.file("plan.toml", &plan("", &[EXPAND]));
        // A terminal whose keyboard nobody touches; the shell tells its process id and becomes the program.
        let line = format!(
            "sleep 7 | script -qefc 'echo $$ > pid; exec {PROGRAM} apply plan.toml' /dev/null; exit ${{PIPESTATUS[1]}}"
        );
        let mut run = tool.args(["-c", &line]).spawn();
        run.wait_stdout("[y/N]");
        let pid = std::fs::read_to_string(path.with_file_name("pid")).unwrap();
        let ours = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let begun = std::time::Instant::now();
        kill_process(ours, signal).unwrap();
        run.wait_stdout(&format!("stopped by {name}"));
        assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
        let _ = run.wait().expect_code(code);
        scene.is_as(&before);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| check(Signal::INT, "SIGINT", 130));
        scope.spawn(|| check(Signal::TERM, "SIGTERM", 143));
        scope.spawn(|| check(Signal::HUP, "SIGHUP", 143));
    });
}

#[test]
fn during_the_install_nothing_is_left() {
    let scene = Scene::new("install", 5);
    let before = scene.print();
    let holder = scene.holding("SELECT pg_advisory_xact_lock(x'74656e616e746d69'::bigint)");
    let run = scene.applying(&plan("", &[EXPAND])).spawn();
    scene.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory')",
    );
    let _ = end(run, &[Signal::TERM], 143).stderr_has("SIGTERM");
    nobody_left(&scene);
    drop(holder);
    scene.is_as(&before);
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
}

#[test]
fn a_cycle_says_how_to_go_back() {
    for (signal, code) in [(Signal::HUP, 143), (Signal::INT, 130)] {
        let scene = Scene::new("cycle_stop", 50);
        let before = scene.print();
        let holder = scene.holding("LOCK TABLE app.users IN SHARE UPDATE EXCLUSIVE MODE");
        let tool = scene.tool();
        tool.file("plan.toml", &plan("lock_timeout = \"30s\"\nlock_retries = 5", &[EXPAND]));
        let run = tool.args(["cycle", "plan.toml", "--yes", "--as-superuser"]).spawn();
        scene.wait_for_a_waiter();
        let out = end(run, &[signal], code);
        assert!(out.stderr.contains("tenantmig"), "{out}");
        drop(holder);
        nobody_left(&scene);
        let _ = scene.run("--ledger-schema tenantmig_cycle rollback --to start --yes");
        scene.db.sql("DROP SCHEMA IF EXISTS tenantmig_cycle CASCADE");
        scene.is_as(&before);
    }
}

#[test]
fn the_demo_ends_with_its_server() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143)] {
        let mut run = Tool::without_database().args(["demo"]).spawn();
        run.wait_stdout("tables of an application");
        let _ = end(run, &[signal], code);
    }
}

/// SIGSTOP is the worst of servers: the connection stands, and no answer ever comes.
#[test]
fn behind_a_backend_that_is_frozen_the_end_comes_in_time() {
    let index = "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
    let check = |name: &str, phase: &str, hold: &str, signals: &[Signal]| {
        let scene = Scene::new(name, 50);
        let holder = scene.holding(hold);
        let run = with_plan(scene.tool(), &plan("lock_timeout = \"30s\"\nlock_retries = 5", &[phase])).spawn();
        scene.wait_for_a_waiter();
        let pid: i32 = scene.db.one(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig worker%' LIMIT 1",
        );
        let backend = Pid::from_raw(pid).unwrap();
        kill_process(backend, Signal::STOP).unwrap();
        let out = end(run, signals, 143);
        kill_process(backend, Signal::CONT).unwrap();
        let _ = out.stderr_has("tenantmig resume");
        drop(holder);
        nobody_left(&scene);
        // The first who waits for a locked table may be the drift guard, before anything is begun.
        let state = scene.status()["state"].clone();
        assert!(state == "stopped half-way" || state == "not begun", "{state}");
        let _ = scene.run("resume").expect_code(0);
        scene.stands("completed");
        scene.no_wreck();
    };
    let older = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts";
    std::thread::scope(|scope| {
        for (n, signals) in [&[Signal::TERM][..], &[Signal::TERM, Signal::TERM]].into_iter().enumerate() {
            scope.spawn(move || check(&format!("frozen_build{n}"), index, older, signals));
            scope.spawn(move || check(&format!("frozen_ddl{n}"), EXPAND, "LOCK TABLE app.users", signals));
        }
    });
}

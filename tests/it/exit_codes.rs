//! Every command's exit codes and forms: what is wrong with a command line or a plan, JSON that parses, help.

use crate::harness::Tool;
use crate::scene::{EXPAND, MARK, Scene, plan, with_plan};

const COMMANDS: &[&str] = &[
    "validate",
    "plan",
    "apply",
    "resume",
    "status",
    "throttle",
    "approve",
    "rollback",
    "cycle",
    "verify",
    "unlock",
    "doctor",
    "demo",
    "completions",
];

#[test]
fn help_is_0_and_a_wrong_flag_is_64_for_every_command() {
    for command in COMMANDS {
        let out = Tool::without_database().args([command, "--help"]).run().expect_code(0);
        let _ = out.stdout_has("Usage:").stdout_has("--format").stdout_has("-d");
        let out = Tool::without_database().args([command, "--no-such-flag"]).run().expect_code(64);
        let _ = out.stderr_has("--no-such-flag").nowhere_has("panicked");
    }
    let _ = Tool::without_database().args(["--help"]).run().expect_code(0).stdout_has("Exit codes:").stdout_has("75");
    let _ = Tool::without_database().args(["--version"]).run().expect_code(0).stdout_has("tenantmig ");
    let _ = Tool::without_database().args(["aply"]).run().expect_code(64).stderr_has("apply");
    let _ = Tool::without_database().args([""; 0]).run().expect_code(64).stderr_has("Usage:");
    let _ = Tool::without_database().args(["apply"]).run().expect_code(64).stderr_has("PLAN");
}

#[test]
fn a_plan_that_is_missing_or_a_folder_is_65_and_names_the_path() {
    let scene = Scene::new("no_plan", 10);
    for command in ["apply", "plan", "validate", "cycle"] {
        let out = scene.tool().args([command, "no/such.toml"]).run().expect_code(65).stderr_has("no/such.toml");
        let _ = out.stderr_has("No such file").stderr_has("next:");
        let out = scene.tool().args([command, "/"]).run().expect_code(65);
        let _ = out.stderr_has("directory").nowhere_has("panicked");
    }
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
}

#[test]
fn a_table_that_does_not_exist_is_65_at_its_place_with_the_closest_name() {
    let scene = Scene::new("no_table", 10);
    let before = scene.print();
    let wrong = plan("", &[&EXPAND.replace("app.users", "app.user")]);
    for command in [&["apply", "plan.toml", "--yes"][..], &["plan", "plan.toml"], &["plan", "plan.toml", "--sql"]] {
        let tool = scene.tool();
        tool.file("plan.toml", &wrong);
        let out = tool.args(command).run().expect_code(65).stderr_has("TM0301").stderr_has("plan.toml:");
        let _ = out
            .stderr_has("did you mean `app.users`?")
            .stderr_has("nothing was touched")
            .stderr_has("tenantmig plan plan.toml");
    }
    let wrong = plan("", &[&EXPAND.replace("account_id =", "acount_id =")]);
    let out = scene.apply(&wrong).expect_code(65).stderr_has("TM0302").stderr_has("did you mean `account_id`?");
    let _ = out.stderr_has("nothing was touched");
    scene.is_as(&before);
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
}

#[test]
fn a_phase_that_does_not_exist_is_64_with_the_closest_name() {
    let scene = Scene::new("no_phase", 10);
    let whole = plan("", &[EXPAND, MARK]);
    let before = scene.print();
    let out = with_plan(scene.tool(), &whole).args(["--to", "exapnd"]).run().expect_code(64).stderr_has("exapnd");
    let _ = out.stderr_has("did you mean `expand`?").stderr_has("mark");
    scene.is_as(&before);
    let _ = scene.apply(&whole).expect_code(0);
    let print = scene.print();
    let out = scene.run("rollback --to exapnd --yes").expect_code(64).stderr_has("did you mean `expand`?");
    let _ = out.stderr_has("start").stderr_has("mark");
    scene.is_as(&print);
    let tool = scene.tool();
    tool.file("plan.toml", &whole);
    let out = tool.args(["plan", "plan.toml", "--sql", "--phase", "exapnd"]).run().expect_code(64);
    let _ = out.stderr_has("did you mean `expand`?");
}

#[test]
fn without_a_ledger_commands_say_so() {
    let scene = Scene::new("no_ledger", 10);
    let _ = scene.run("status").expect_code(0).stdout_has("no plan was applied");
    assert_eq!(scene.run("status --json").expect_code(0).json()["v"], 1);
    for words in [
        "resume",
        "throttle",
        "throttle --workers 2",
        "rollback --to start --yes",
        "verify",
        "unlock --force 01a1fccc-197e-767e-8fc7-c6f03897750f --yes",
    ] {
        let _ =
            scene.run(words).expect_code(4).stderr_has("no plan was applied here").stderr_has("tenantmig apply PLAN");
    }
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let out = scene.run("resume --run 01a1fccc-197e-767e-8fc7-c6f03897750f").expect_code(4);
    let _ = out.stderr_has("no run 01a1fccc").stderr_has("tenantmig status");
}

#[test]
fn json_parses_and_says_its_version_for_every_command() {
    let scene = Scene::new("json", 500);
    let whole = plan("", &[EXPAND, MARK]);
    for format in ["json", "ndjson"] {
        let with_file = [
            "validate plan.toml",
            "plan plan.toml",
            "apply plan.toml --dry-run",
            "apply plan.toml --yes",
            "apply plan.toml --yes",
        ];
        let without = [
            "status",
            "verify",
            "doctor",
            "rollback --to expand --dry-run",
            "rollback --to expand --yes",
            "rollback --to expand --yes",
            "resume",
            "status --json",
            "rollback --to start --yes",
        ];
        for words in with_file.iter().chain(&without) {
            let tool = scene.tool();
            tool.file("plan.toml", &whole);
            let out = tool.args(words.split_whitespace()).args(["--format", format]).run().expect_code(0);
            let lines: Vec<&str> =
                if format == "json" { vec![out.stdout.as_str()] } else { out.stdout.lines().collect() };
            assert!(!lines.is_empty(), "{out}");
            for line in lines {
                let value: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{out}"));
                assert_eq!(value["v"], 1, "{line}\n{out}");
            }
        }
    }
}

#[test]
fn a_failure_in_json_has_its_exit_code_and_cause() {
    let scene = Scene::new("json_failure", 50);
    let bad = "[[phase]]\nid = \"bad\"\n[[phase.step]]\nid = \"no\"\nkind = \"assert\"\nsql = \"SELECT false\"";
    let out = with_plan(scene.tool(), &plan("", &[EXPAND, bad])).args(["--format", "json"]).run().expect_code(5);
    let value = out.json();
    assert_eq!(
        (&value["v"], &value["exit"], &value["outcome"]),
        (&1.into(), &5.into(), &"rolled_back".into()),
        "{value:#}"
    );
    assert_eq!((&value["failure"]["phase"], &value["failure"]["step"]), (&"bad".into(), &"no".into()), "{value:#}");
    assert!(value["next"].as_str().unwrap().contains("tenantmig resume"), "{value:#}");
    // What comes before the run speaks JSON too.
    for words in
        ["apply no-such.toml --yes", "rollback --to nowhere --yes", "resume --run 01a1fccc-197e-767e-8fc7-c6f03897750f"]
    {
        for format in ["json", "ndjson"] {
            let out = scene.tool().args(words.split_whitespace()).args(["--format", format]).run();
            let code = out.code;
            let value = out.json();
            assert_eq!((&value["v"], &value["exit"]), (&1.into(), &code.into()), "{value:#}");
            assert!(value["message"].is_string() && value["next"].is_string(), "{value:#}");
        }
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = Tool::without_database().args(["completions", shell]).run().expect_code(0);
        let _ = out.stdout_has("tenantmig").stdout_has("rollback");
    }
    let _ = Tool::without_database().args(["completions", "tcsh"]).run().expect_code(64).stderr_has("bash");
}

//! What a user reads of a plan that is wrong, plan by plan, and that plans that are right say nothing. No server.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "plans/codes.rs"]
mod codes;
#[path = "plans/expand.rs"]
mod expand;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tenantmig::{
    checks,
    diag::Diags,
    engine::{Program, lower},
    plan::{Fingerprint, Plan, ServerFacts, parse},
    steps,
    unit::{Down, Op, UnitId},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plans").join(name)
}

/// The plans of a folder by name, in the order of their names.
fn plans(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((stem, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Reads a plan of the folder, and the files that it names beside it.
fn read(name: &str, source: &str) -> (Option<Plan>, Diags) {
    let beside = folder(name);
    parse(source, &|path| fs::read_to_string(beside.join(path)).map_err(|error| error.to_string()))
}

#[test]
fn bad_plans_are_told_what_is_wrong_and_where() {
    const BAD_MIN: usize = 36;
    let bad = plans("bad");
    assert!(bad.len() >= BAD_MIN, "only {} bad plans", bad.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut differing = Vec::new();
    for (name, source) in &bad {
        let (plan, diags) = read("bad", source);
        assert!(!diags.0.is_empty(), "{name}: nothing found");
        assert_eq!(plan.is_none(), diags.has_errors(), "{name}");
        // A new kind of step is no reason to touch this list.
        let kinds: Vec<&str> = steps::KINDS.iter().map(|kind| kind.name).collect();
        let text =
            diags.render(&format!("{name}.toml"), source, false).replace(&kinds.join(", "), "<every kind of step>");
        let same = || settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
        if catch_unwind(AssertUnwindSafe(same)).is_err() {
            differing.push(name.as_str());
        }
    }
    assert!(differing.is_empty(), "these read otherwise than before: {}", differing.join(", "));
}

/// Laws of every finding, whatever the plan.
#[track_caller]
fn check_findings(name: &str, source: &str, diags: &Diags) {
    for (i, d) in diags.0.iter().enumerate() {
        let places = [Some(&d.span), d.other.as_ref().map(|(span, _)| span)];
        for span in places.into_iter().flatten() {
            assert!(source.get(span.clone()).is_some(), "{name}: {span:?} is no place: {d:?}");
            // What TOML misses stands between two characters, and what an empty plan misses nowhere.
            let marks = !span.is_empty() || d.code == "TM0101" || span.start == source.len();
            assert!(marks, "{name}: marks nothing: {d:?}");
        }
        assert!(d.code.len() == 6 && d.code.starts_with("TM0"), "{name}: {d:?}");
        assert!(!d.message.is_empty() && !d.message.ends_with('.') && !d.message.contains('\n'), "{name}: {d:?}");
        let again = diags.0[..i].iter().any(|e| (e.code, &e.message, &e.span) == (d.code, &d.message, &d.span));
        assert!(!again, "{name}: said twice: {d:?}");
    }
}

#[test]
fn every_finding_marks_a_place_once() {
    for (name, source) in plans("bad") {
        check_findings(&name, &source, &read("bad", &source).1);
    }
}

/// Every supported major version, as in `server_version_num`.
const VERSIONS: [u32; 6] = [130_000, 140_000, 150_000, 160_000, 170_000, 180_000];

/// Lowers a plan that must be without findings, for every version, and looks at what comes out.
#[track_caller]
fn check_good(name: &str, source: &str) -> Vec<Program> {
    let (plan, diags) = read("ok", source);
    let plan = plan.unwrap_or_else(|| panic!("{name}:\n{}", diags.render(name, source, false)));
    assert_eq!(diags, Diags::default(), "{name}:\n{}", diags.render(name, source, false));
    let programs: Vec<Program> = VERSIONS.iter().map(|v| lower(&plan, ServerFacts { version_num: *v })).collect();
    for program in &programs {
        check_program(name, program);
    }
    programs
}

#[track_caller]
fn check_program(name: &str, program: &Program) {
    let mut earlier: BTreeSet<&UnitId> = BTreeSet::new();
    for (_, unit) in program.units() {
        assert!(!unit.title.is_empty() && !unit.title.contains('\n'), "{name}: {}: {:?}", unit.id, unit.title);
        assert!(!matches!(&unit.up, Op::Tx(statements) if statements.is_empty()), "{name}: {} does nothing", unit.id);
        if let Down::CoveredBy(by) = &unit.down {
            assert!(earlier.contains(by), "{name}: {} is covered by {by}, which comes later or never", unit.id);
        }
        assert!(earlier.insert(&unit.id), "{name}: two units have the id {}", unit.id);
    }
    for phase in &program.phases {
        assert!(!phase.units.is_empty(), "{name}: {} has no unit", phase.id);
        let ids: BTreeSet<&str> = phase.gates.iter().map(|gate| gate.id.as_str()).collect();
        assert_eq!(ids.len(), phase.gates.len(), "{name}: gates of {}: {ids:?}", phase.id);
    }
    let kept = serde_json::to_string(program).unwrap();
    assert_eq!(&serde_json::from_str::<Program>(&kept).unwrap(), program, "{name}: the ledger would keep another");
}

#[test]
fn good_plans_are_read_without_findings_and_lowered_for_every_version() {
    let good = plans("ok");
    assert!(good.len() >= 5, "only {} good plans", good.len());
    for (name, source) in &good {
        check_good(name, source);
    }
}

#[test]
fn phases_run_in_the_order_that_after_says() {
    let (_, source) = plans("ok").into_iter().find(|(name, _)| name == "order").unwrap();
    let ids: Vec<String> = check_good("order", &source)[0].phases.iter().map(|p| p.id.clone()).collect();
    assert_eq!(ids, ["first", "second", "last"]);
}

#[test]
fn every_example_is_a_plan() {
    let head = "format = 1\nname = \"example\"\n[tenancy]\ncolumn = \"tenant_id\"\nsetting = \"app.tenant_id\"\n\
                registry = { table = \"app.accounts\", key = \"tenant_id\", type = \"uuid\" }\n[[phase]]\nid = \"p\"\n";
    let all: String = steps::KINDS.iter().map(|kind| kind.example).collect();
    let gates: String = checks::KINDS.iter().map(|kind| kind.example).collect();
    for kind in steps::KINDS {
        check_good(kind.name, &format!("{head}{}", kind.example));
    }
    for kind in checks::KINDS {
        let plan = format!("{head}{}{}", steps::KINDS[0].example, kind.example);
        assert_eq!(check_good(kind.name, &plan)[0].phases[0].gates.len(), 1, "{}", kind.name);
    }
    assert_eq!(check_good("all", &format!("{head}{all}{gates}")).len(), VERSIONS.len());
}

#[test]
fn form_changes_neither_the_fingerprint_nor_the_program() {
    for (name, source) in plans("ok") {
        let of = |text: &str| Fingerprint::of(text, &[]).unwrap();
        let sorted = toml::from_str::<toml::Table>(&source).unwrap().to_string();
        let loose = |line: &str| line.replacen('=', "\t=  ", 1);
        let lines: Vec<String> = source.split('\n').map(loose).collect();
        let spaced = lines.join("\n").replace("\n[", "\n\n# a comment = 1\n[");
        assert!(sorted != source && spaced != source, "{name} was not reformatted");
        for text in [&sorted, &spaced] {
            assert_eq!(of(text), of(&source), "{name}:\n{text}");
            assert_eq!(check_good(&name, text), check_good(&name, &source), "{name}");
        }
        // As a checkout on Windows has it.
        let unix = source.replace("\r\n", "\n");
        assert_eq!(of(&unix), of(&unix.replace('\n', "\r\n")), "{name}");
        let block = if source.contains("[[phase]]") { "[[phase]]" } else { "[[table]]" };
        let described = source.replacen(block, &format!("{block}\ndescription = \"x\""), 1);
        assert_ne!(of(&described), of(&source), "{name}: what is added counts");
    }
}

#[test]
fn a_plan_cut_anywhere_is_read_without_panic() {
    for (name, source) in plans("ok").into_iter().chain(plans("bad")) {
        for end in (0..source.len()).filter(|at| source.is_char_boundary(*at)) {
            let cut = &source[..end];
            check_findings(&name, cut, &read("ok", cut).1);
        }
    }
}

/// The longest that a plan of a size that nobody writes by hand may take to be read in an unoptimised build.
const READ_MAX: Duration = Duration::from_secs(20);

#[track_caller]
fn check_time(name: &str, source: &str) {
    let start = Instant::now();
    let (plan, diags) = read("ok", source);
    let text = diags.render(name, source, false);
    assert!(plan.is_some() || !text.is_empty(), "{name}");
    assert!(start.elapsed() < READ_MAX, "{name}: {:?} for {} findings", start.elapsed(), diags.0.len());
}

#[test]
fn huge_plans_are_read_in_bounded_time() {
    let head = "format = 1\nname = \"huge\"\n";
    check_time("deep list", &format!("{head}phase = {}", "[".repeat(100_000)));
    check_time("deep table", &format!("{head}phase = {}", "{ a = ".repeat(100_000)));
    check_time("deep key", &format!("{head}phase{} = 1", ".a".repeat(100_000)));
    check_time("deep header", &format!("{head}[[phase{}]]", ".step".repeat(10_000)));
    let deep = format!("{}1{}", "{ a = ".repeat(60), " }".repeat(60));
    check_time("nested", &format!("{head}[[phase]]\nid = \"p\"\n[[phase.step]]\nkind = \"backfill\"\nfrom = {deep}"));
    let (mut good, mut bad, mut lines) = (head.to_owned(), head.to_owned(), String::new());
    for i in 0..1_000 {
        write!(good, "[[phase]]\nid = \"p{i}\"\n[[phase.step]]\nkind = \"enable_rls\"\ntable = \"t{i}\"\n").unwrap();
        write!(bad, "[[phase]]\nidd = \"p{i}\"\nafter = \"x\"\n[[phase.step]]\nkind = \"sql\"\n").unwrap();
        writeln!(lines, "this is no TOML {i}").unwrap();
    }
    check_time("many phases", &good);
    check_time("many wrong phases", &bad);
    check_time("many lines of something else", &lines);
    let keys: String = (0..30_000).map(|i| format!("key{i} = {i}\n")).collect();
    check_time(
        "many unknown keys",
        &format!("{head}[[phase]]\nid = \"p\"\n[[phase.step]]\nkind = \"enable_rls\"\n{keys}"),
    );
}

/// Pieces of plans and of what is none.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "format = 1\n",
        "name = \"p\"\n",
        "name = ",
        "[[phase]]\n",
        "[phase]\n",
        "id = \"a\"\n",
        "after = \"a\"\n",
        "after = \"b\"\n",
        "[[phase.step]]\n",
        "[phase.step.from]\n",
        "kind = \"sql\"\n",
        "kind = \"backfill\"\n",
        "kind = \"create_table\"\n",
        "kind = \"create_policy\"\n",
        "kind = \"create_index\"\n",
        "kid = \"assert\"\n",
        "table = \"app.t\"\n",
        "tabel = \"\\\"T\"\n",
        "column = \"c\"\n",
        "columns = [\"a\", { expr = \"(\" }]\n",
        "columns = [{ name = \"id\", type = \"int\" }]\n",
        "match = { a = \"b\" }\n",
        "up = \"SELECT '\"\n",
        "up = '''DO $x$ /* E'\\'''\n",
        "up = \"\\\\d;;--\"\n",
        "down = false\n",
        "down = true\n",
        "using = \"{tenant}\"\n",
        "seed = [{ id = 1 }, { id = 1.5, x = [] }]\n",
        "primary_key = [\"id\"]\n",
        "grant = { a = [] }\n",
        "[safety]\n",
        "[[safety]]\n",
        "lock_timeout = \"0s\"\n",
        "lock_retries = 1979-05-27\n",
        "[tenancy]\n",
        "setting = \"x\"\n",
        "registry = { key = 1 }\n",
        "[[gate]]\n",
        "phase = \"a\"\n",
        "[[phase.gate]]\n",
        "kind = \"nulls\"\n",
        "sql = \"SELECT (1\"\n",
        "\u{feff}",
        "\r\n",
        "\t",
        "größe = \"数据\"\n",
        "\"🐘\" = 1\n",
        "= ",
        "\"",
        "'''",
        "{ ",
        "}",
        "[",
        "]",
        ".",
        "#",
        "\u{0}",
        "inf",
        "-1\n",
        "\\u{d800}",
    ]);
    prop_oneof![6 => words.prop_map(str::to_owned), 1 => "\\PC{0,12}", 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_reading_panic(head in any::<bool>(), pieces in prop::collection::vec(piece(), 0..25)) {
        let start = if head { "format = 1\nname = \"p\"\n[[phase]]\nid = \"a\"\n" } else { "" };
        let source = format!("{start}{}", pieces.concat());
        let (plan, diags) = parse(&source, &|_| Ok("SELECT 1; -- '".to_owned()));
        check_findings("any text", &source, &diags);
        prop_assert_eq!(plan.is_none(), diags.has_errors());
        if let Some(plan) = plan {
            lower(&plan, ServerFacts::default());
        }
        diags.render("p.toml", &source, true);
    }
}

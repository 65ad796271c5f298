//! `[[table]]`: the explicit form of a plan is the same plan.

use std::{fs, path::Path};

use tenantmig::plan::{explicit, parse};

use super::{check_good, folder, plans};

/// Every good plan, and those that the program comes with.
fn every() -> Vec<(String, String)> {
    let mut all = plans("ok");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("plans")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            all.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

#[test]
fn the_explicit_form_becomes_the_same_program_and_is_its_own() {
    let mut expanded = 0;
    for (name, source) in every() {
        let form = explicit(&source).unwrap_or_else(|| panic!("{name} has no explicit form"));
        let tables = source.contains("[[table]]");
        assert_eq!(form.text == source, !tables, "{name}");
        expanded += usize::from(tables);
        assert_eq!(check_good(&name, &form.text), check_good(&name, &source), "{name}:\n{}", form.text);
        assert_eq!(explicit(&form.text).unwrap(), form, "{name}: expanded twice it is another");
        assert!(!form.values.contains_key("table"), "{name}");
    }
    assert!(expanded >= 1, "no plan has a [[table]]");
}

#[test]
fn the_explicit_form_is_written_for_people() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, source) in plans("ok").into_iter().filter(|(name, _)| name.starts_with("tables")) {
        let text = explicit(&source).unwrap().text;
        settings.bind(|| insta::assert_snapshot!(format!("explicit-{name}"), text));
    }
}

/// However it is written in TOML.
#[test]
fn tables_are_expanded_however_toml_writes_them() {
    let head = "format = 1\nname = \"p\"\n";
    let tenancy =
        "tenancy = { registry = { table = 'app.t', key = 'id', type = 'int' }, column = 't', setting = 'a.b' }\n";
    let section =
        "[tenancy]\nregistry = { table = 'app.t', key = 'id', type = 'int' }\ncolumn = 't'\nsetting = 'a.b'\n";
    let one = |name: &str| {
        format!(
            "name = 'app.{name}', tenant = {{ from = 'app.t', match = {{ a = 'id' }} }}, write_path = 'app', enforce = false"
        )
    };
    let step = "kind = 'sql', up = 'SELECT 1', down = 'SELECT 1'";
    let lines = |name: &str| {
        one(name).replace(", write", "\nwrite").replace(", tenant", "\ntenant").replace(", enforce", "\nenforce")
    };
    let block = |name: &str| format!("[[table]]\n{}\n", lines(name));
    let split = "[[table]]\nname = 'app.a'\nwrite_path = 'app'\nenforce = false\n[table.tenant]\nfrom = 'app.t'\n\
                 [table.tenant.match]\na = 'id' # the key\n";
    let apart = format!(
        "{}{section}[table.tenant]\nfrom = 'app.t'\nmatch = {{ a = 'id' }}\n",
        &split[..split.find("[table.tenant]").unwrap()]
    );
    let lists = format!("{tenancy}table = [{{ {} }}, {{ {} }}]\n", one("a"), one("b"));
    let phases = format!("phase = [{{ id = 'x', step = [{{ {step} }}] }}]\n");
    let check = |what: &str, body: &str, comment: bool| {
        let source = format!("{head}{body}");
        let form = explicit(&source).unwrap_or_else(|| {
            panic!("{what}: {}", parse(&source, &|_| Err(String::new())).1.render("p", &source, false))
        });
        assert_eq!(check_good(what, &form.text), check_good(what, &source), "{what}:\n{}", form.text);
        assert_eq!(explicit(&form.text).unwrap(), form, "{what}");
        assert_eq!(form.text.contains("# kept"), comment, "{what}:\n{}", form.text);
    };
    check("blocks", &format!("# kept\n{section}{}\n\n{}", block("a"), block("b")), true);
    check("a section between", &format!("{}# kept\n{section}{}", block("a"), block("b")), true);
    check("tables in a table", &format!("# kept\n{section}{split}"), true);
    check("a comment at the end", &format!("{section}{}# kept", block("a")), true);
    check("a comment in a list", &format!("{section}{}index = [ # kept\n['t'], # this\n]", block("a")), true);
    check("no comment", &format!("{section}{}index = [['\"# kept\"']]", block("a")), true);
    check("windows", &format!("# kept\n{section}{}{}", block("a"), block("b")).replace('\n', "\r\n"), true);
    // These are written anew, without their comments.
    check("a table apart", &format!("# kept\n{apart}"), false);
    check("lists", &format!("# kept\n{lists}"), false);
    check("phases in a list", &format!("# kept\n{phases}{section}{}", block("a")), false);
    check("both in lists", &format!("# kept\n{phases}{lists}"), false);
    check(
        "keys and texts of every kind",
        &format!(
            "# kept\n{lists}[[phase]]\nid = 'y'\n[[phase.step]]\nkind = 'sql'\nup = \"\"\"\nSELECT $q$'''x\\\"' \\\\ \\u007f$q$\"\"\"\ndown = \"SELECT '''1'''\"\n"
        ),
        false,
    );
}

/// Where the tables stand among the phases is a part of what a plan means.
#[test]
fn the_fingerprint_knows_where_the_tables_stand() {
    let of = |text: &str| tenantmig::plan::Fingerprint::of(text, &[]).unwrap();
    let (table, phase) = ("[[table]]\nname = 'a'\n", "[[phase]]\nid = 'x'\n");
    assert_ne!(of(&format!("{table}{phase}")), of(&format!("{phase}{table}")));
    let after = "[[phase]]\nid = 'x'\nafter = 'index'\n";
    assert_eq!(of(&format!("{table}{after}")), of(&format!("{after}{table}")));
}

//! The copy that is made before a rollback destroys something: a file that pg_restore reads, or no rollback.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    harness::{database, pg_dump_fits},
    scene::{EXPAND, Scene, plan},
};

const USERS: u32 = 50;
const SECRET: &str = "only-in-the-environment";

fn applied(name: &str, folder: &Path) -> Scene {
    let scene = Scene::new(name, USERS);
    let kept = format!("[backup]\ndirectory = \"{}\"\n{EXPAND}", folder.display());
    let _ = scene.apply(&plan("", &[&kept])).expect_code(0);
    scene
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A folder of programs that come before PostgreSQL's own: `pg_dump` is this script.
fn wrapped(script: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pg_dump");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let all = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    (folder, all)
}

#[test]
fn the_copy_is_made_first_and_restores_what_the_rollback_took() {
    if !pg_dump_fits() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scene = applied("backup_made", folder.path());
    scene.db.sql("UPDATE app.users SET email = 'kept' WHERE id = 7");
    let before = scene.db.checksum("app.users");
    let (_programs, path) = wrapped(&format!(
        "echo \"$@\" > {0}/seen; echo \"$PGPASSWORD\" >> {0}/seen; exec $(which -a pg_dump | sed -n 2p) \"$@\"",
        folder.path().display()
    ));
    let url = scene.db.url().replacen("postgres@", &format!("postgres:{SECRET}@"), 1);
    assert!(url.contains(SECRET), "{url}");
    let out = scene.tool().url(&url).env("PATH", path).args(["rollback", "--to", "start", "--yes", "-v"]).run();
    let _ = out.expect_code(0).stderr_has("pg_restore reads it").nowhere_has(SECRET);
    assert!(!scene.has_column("app.users", "tenant_id"));

    let seen = fs::read_to_string(folder.path().join("seen")).unwrap();
    let (arguments, password) = seen.split_once('\n').unwrap();
    assert!(!arguments.contains(SECRET) && arguments.contains("--format=custom"), "{arguments}");
    assert_eq!(password.trim(), SECRET);

    let dumps: Vec<PathBuf> = files(folder.path()).into_iter().filter(|f| f.extension().is_some()).collect();
    let [dump] = dumps.as_slice() else { panic!("{dumps:?}") };
    assert_eq!(dump.extension().unwrap(), "dump");
    assert_eq!(fs::metadata(dump).unwrap().permissions().mode() & 0o777, 0o600);
    let other = database("backup_restored");
    let status = Command::new("pg_restore").args(["--dbname", &other.url()]).arg(dump).status().unwrap();
    assert!(status.success());
    assert_eq!(other.checksum("app.users"), before);
}

#[test]
fn without_a_copy_nothing_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let scene = applied("backup_refused", folder.path());
    let untouched = |why: &str| {
        assert!(scene.has_column("app.users", "tenant_id"), "{why}");
        scene.stands("completed");
        let left: Vec<_> = files(folder.path());
        assert!(left.is_empty(), "{why}: {left:?}");
    };
    let rollback = ["rollback", "--to", "start", "--yes"];
    let run = |path: String| scene.tool().env("PATH", path).args(rollback).run().expect_code(4);

    let (_failing, path) = wrapped("echo 'permission denied for table users' >&2; exit 1");
    let _ = run(path).stderr_has("permission denied for table users").stderr_has("--no-backup");
    untouched("pg_dump failed");

    let (_lying, path) = wrapped("echo 'not an archive'; exit 0");
    let _ = run(path).stderr_has("pg_restore failed");
    untouched("pg_dump lied");

    let out = scene.tool().args(rollback).args(["--backup", "/proc/nowhere"]).run().expect_code(4);
    let _ = out.stderr_has("cannot be written").stderr_has("--backup FOLDER");
    untouched("no folder");

    let out = scene.tool().args(rollback).args(["--no-backup"]).run();
    let _ = out.expect_code(0);
    assert!(!scene.has_column("app.users", "tenant_id"));
}

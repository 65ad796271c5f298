//! Behind PgBouncer: refused with clear words where sessions must be our own, looking is allowed.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::cluster;
use crate::scene::{EXPAND, Scene, plan, with_plan};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A PgBouncer in front of the cluster; it ends with the test.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    fn start(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (users, ini) = (folder.path().join("users.txt"), folder.path().join("pgbouncer.ini"));
        // It wants to know its users even where it trusts them.
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let server = cluster().port();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n",
            users.display()
        );
        std::fs::write(&ini, text).unwrap();
        let mut command = Command::new(PROGRAM);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "postgres"]);
        }
        let child = command.arg("-q").arg(&ini).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "PgBouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, _folder: folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

#[test]
fn behind_a_pooler_apply_is_refused_with_clear_words() {
    if !std::path::Path::new(PROGRAM).exists() {
        eprintln!("not run: {PROGRAM} is not installed");
        return;
    }
    for mode in ["transaction", "session"] {
        let scene = Scene::new(&format!("pooler_{mode}"), 50);
        let before = scene.print();
        let pooler = Pooler::start(mode);
        let url = format!("postgres://postgres@127.0.0.1:{}/{}", pooler.port, scene.db.name());
        let out = with_plan(scene.tool().url(&url), &plan("", &[EXPAND])).run().expect_code(4);
        let out = out.stderr_has("pooler").stderr_has("--host").stderr_has("-p").nowhere_has("panicked");
        assert!(out.stderr.contains("next:"), "{out}");
        scene.is_as(&before);
        assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
        // Looking needs no session of its own.
        let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
        let _ = scene.tool().url(&url).args(["status"]).run().expect_code(0).stdout_has("completed");
        let _ = scene.tool().url(&url).args(["verify"]).run().expect_code(0);
        let _ = scene
            .tool()
            .url(&url)
            .args(["doctor"])
            .run()
            .expect_code(77)
            .stdout_has("a connection pooler stands between");
        let _ = scene
            .tool()
            .url(&url)
            .args(["rollback", "--to", "start", "--yes"])
            .run()
            .expect_code(4)
            .stderr_has("pooler");
        scene.stands("completed");
    }
}

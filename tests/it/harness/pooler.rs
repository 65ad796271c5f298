//! PgBouncer in front of a server of the tests.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tenantmig::demo::alphapulse::{APP, OWNER};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::server::{block_on, cluster};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A PgBouncer; it ends with the test.
pub struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// In front of the shared cluster. `mode`: `transaction` or `session`; `settings`: further lines of the section [pgbouncer].
    pub fn start(mode: &str, settings: &str) -> Self {
        Self::before(cluster().port(), mode, settings)
    }

    /// In front of the server at this port.
    pub fn before(server: u16, mode: &str, settings: &str) -> Self {
        assert!(std::path::Path::new(PROGRAM).exists(), "{PROGRAM} is missing: apt-get install pgbouncer");
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (users, ini) = (folder.path().join("users.txt"), folder.path().join("pgbouncer.ini"));
        // Under trust too a user needs an entry: the admin, and the roles of plans/alphapulse.toml.
        std::fs::write(&users, format!("\"postgres\" \"\"\n\"{OWNER}\" \"\"\n\"{APP}\" \"\"\n")).unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\nadmin_users = postgres\npool_mode = {mode}\n\
             ignore_startup_parameters = extra_float_digits\n{settings}\n",
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

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// A command of the admin console; each row as `column=value` in the server's order.
    pub fn admin(&self, command: &str) -> Vec<Vec<(String, String)>> {
        let (url, command) = (self.url("pgbouncer"), command.to_owned());
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let messages = client.simple_query(&command).await.unwrap();
            let mut rows = Vec::new();
            for message in &messages {
                if let SimpleQueryMessage::Row(row) = message {
                    let pair = |i: usize| (row.columns()[i].name().to_owned(), row.get(i).unwrap_or("").to_owned());
                    rows.push((0..row.len()).map(pair).collect());
                }
            }
            rows
        })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

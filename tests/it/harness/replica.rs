//! A streaming replica of a cluster, on this machine: paused, frozen, stopped and started again.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tenantmig::demo::cluster::Cluster;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::server::block_on;

/// A start, a stop, or the first answer takes well under a second on a machine that is not busy.
const WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A chosen port that is taken before the server binds it: more losses than this are no accident.
const PORT_ATTEMPTS_MAX: u32 = 8;

/// A replica with a slot of its own; dropping it ends it. Its files lie in the cluster's folder and go with the cluster,
/// which must live longer.
#[derive(Debug)]
pub struct Replica {
    name: String,
    primary_url: String,
    primary_port: u16,
    bindir: PathBuf,
    data: PathBuf,
    owner: (u32, u32),
    port: u16,
    running: Option<Running>,
    /// The walreceiver that is frozen.
    frozen: Option<Pid>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Ends the thread that spawned the server, whose end would end the server too.
    _thread: mpsc::Sender<()>,
}

impl Replica {
    /// Copies the cluster and starts a server that follows it; `name` is what `pg_stat_replication` and its slot call it:
    /// lower case, digits and underscores. Returns once it streams and has said how far it is.
    #[track_caller]
    pub fn of(cluster: &Cluster, name: &str) -> Self {
        let meta = std::fs::metadata(cluster.data_dir()).unwrap();
        let mut replica = Self {
            name: name.to_owned(),
            primary_url: cluster.url("postgres"),
            primary_port: cluster.port(),
            bindir: cluster.bindir().to_owned(),
            data: cluster.data_dir().with_file_name(format!("replica_{name}")),
            owner: (meta.uid(), meta.gid()),
            port: free_port(),
            running: None,
            frozen: None,
        };
        replica.copy(cluster);
        for _ in 1..PORT_ATTEMPTS_MAX {
            if replica.streams() {
                return replica;
            }
            // The port was free when it was chosen, and somebody else's a moment later.
            replica.running = None;
            replica.port = free_port();
        }
        replica.start();
        replica
    }

    /// A base backup by the server's own functions: pg_basebackup does not work with newer servers than itself, and a folder
    /// of server programs need not hold one. The WAL from its start on is kept by the slot and streamed.
    fn copy(&self, cluster: &Cluster) {
        let (start, stop) = if cluster.binaries().major() >= 15 {
            ("pg_backup_start('replica', true)", "pg_backup_stop(false)")
        } else {
            ("pg_start_backup('replica', true, false)", "pg_stop_backup(false, false)")
        };
        let (url, slot) = (self.primary_url.clone(), self.name.clone());
        // The backup lasts as long as its session.
        let session = block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let reserve = format!("SELECT pg_create_physical_replication_slot('{slot}', true)");
            client.batch_execute(&reserve).await.unwrap();
            client.batch_execute(&format!("SELECT {start}")).await.unwrap();
            client
        });
        // The copy is the account's own, as the original is.
        let mut copy = Command::new("cp");
        copy.uid(self.owner.0).gid(self.owner.1).arg("-Rp").arg(cluster.data_dir()).arg(&self.data);
        let out = copy.current_dir("/").output().unwrap();
        assert!(out.status.success(), "cp: {}", String::from_utf8_lossy(&out.stderr));
        let label: String =
            block_on(
                async move { session.query_one(&format!("SELECT labelfile FROM {stop}"), &[]).await.unwrap().get(0) },
            );
        std::fs::remove_file(self.data.join("postmaster.pid")).unwrap();
        for file in std::fs::read_dir(self.data.join("pg_wal")).unwrap().flatten() {
            // Segments that were being written while they were copied; the folder archive_status stays.
            if file.path().is_file() {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
        for slot in std::fs::read_dir(self.data.join("pg_replslot")).unwrap().flatten() {
            std::fs::remove_dir_all(slot.path()).unwrap();
        }
        for (name, text) in [("backup_label", label.as_str()), ("standby.signal", "")] {
            let path = self.data.join(name);
            std::fs::write(&path, text).unwrap();
            std::os::unix::fs::chown(&path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after `stop`.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.streams(), "{} ended:\n{}", self.name, self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// Starts the server, which streams or ends at once.
    #[track_caller]
    fn streams(&mut self) -> bool {
        assert!(self.running.is_none(), "{} runs", self.name);
        let log = File::options().create(true).append(true).open(self.data.with_extension("log")).unwrap();
        // The server ends with us however we end, as the cluster's does.
        let mut server = Command::new("setpriv");
        server.args([format!("--reuid={}", self.owner.0), format!("--regid={}", self.owner.1)]);
        server.args(["--clear-groups", "--pdeathsig", "QUIT", "--"]).arg(self.bindir.join("postgres"));
        if !rustix::process::geteuid().is_root() {
            server = Command::new(self.bindir.join("postgres"));
        }
        server.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
        server.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        let conninfo = format!(
            "primary_conninfo=host=127.0.0.1 port={} user=postgres application_name={}",
            self.primary_port, self.name
        );
        server.args(["-c", &conninfo, "-c", &format!("primary_slot_name={}", self.name)]);
        server.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
        let (child, thread) = spawn(server);
        self.running = Some(Running { child, _thread: thread });
        let streams = format!(
            "SELECT count(*) FROM pg_stat_replication
              WHERE application_name = '{}' AND state = 'streaming' AND replay_lsn IS NOT NULL",
            self.name
        );
        let streams = |replica: &Self| ask(&replica.primary_url, &streams).is_ok_and(|found| found == "1");
        self.wait("stream", |replica| streams(replica) || replica.has_ended());
        !self.has_ended()
    }

    /// Replay stops; WAL is still received.
    #[track_caller]
    pub fn pause_replay(&self) {
        self.tell("SELECT pg_wal_replay_pause()::text");
    }

    /// Replay goes on.
    #[track_caller]
    pub fn resume_replay(&self) {
        self.tell("SELECT pg_wal_replay_resume()::text");
    }

    /// Stops the walreceiver where it is: its connection stays, it receives nothing and says nothing.
    #[track_caller]
    pub fn freeze_receiver(&mut self) {
        let pid = self.tell("SELECT pid::text FROM pg_stat_wal_receiver");
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        self.frozen = Some(pid);
    }

    /// Lets the walreceiver go on.
    pub fn thaw_receiver(&mut self) {
        if let Some(pid) = self.frozen.take() {
            kill_process(pid, Signal::CONT).unwrap();
        }
    }

    /// Makes it a primary of its own; returns once it takes writes.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.tell("SELECT pg_promote(true, 60)::text"), "true", "{} was not promoted", self.name);
    }

    /// Stops the server; its slot stays.
    #[track_caller]
    pub fn stop(&mut self) {
        self.thaw_receiver();
        self.signal(Signal::INT);
        self.wait("stop", Self::has_ended);
        self.running = None;
    }

    fn tell(&self, statement: &str) -> String {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        ask(&url, statement).unwrap_or_else(|error| panic!("{}: {statement}: {error}", self.name))
    }

    fn signal(&self, signal: Signal) {
        let Some(running) = &self.running else { return };
        kill_process(Pid::from_child(&running.child), signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.running.as_mut().is_none_or(|running| running.child.try_wait().unwrap().is_some())
    }

    #[track_caller]
    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !done(self) {
            assert!(Instant::now() < deadline, "{} did not {what}:\n{}", self.name, self.log());
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(pid) = self.frozen.take() {
            let _gone_already = kill_process(pid, Signal::CONT);
        }
        if let Some(running) = &mut self.running
            && matches!(running.child.try_wait(), Ok(None))
        {
            let _gone_already = kill_process(Pid::from_child(&running.child), Signal::QUIT);
            let _ended = running.child.wait();
        }
    }
}

/// Spawns from a thread that lives as long as the server: the kernel's death signal comes when the thread that forked ends.
fn spawn(mut command: Command) -> (Child, mpsc::Sender<()>) {
    let (end, ended) = mpsc::channel::<()>();
    let (reply, answer) = mpsc::channel();
    std::thread::spawn(move || {
        reply.send(command.spawn()).unwrap();
        let _hung_up = ended.recv();
    });
    (answer.recv().unwrap().expect("postgres runs"), end)
}

fn ask(url: &str, statement: &str) -> Result<String, String> {
    let (url, statement) = (url.to_owned(), statement.to_owned());
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let messages = client.simple_query(&statement).await.map_err(|error| error.to_string())?;
        let row = messages.iter().find_map(
            |message| {
                if let SimpleQueryMessage::Row(row) = message { row.get(0) } else { None }
            },
        );
        row.map(str::to_owned).ok_or_else(|| "no row".to_owned())
    })
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

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
use tokio_postgres::NoTls;

use super::server::block_on;

/// A start, a stop, or the first answer takes well under a second on a machine that is not busy.
const WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A replica with a slot of its own; dropping it ends it. Its files lie in the cluster's folder and go with the cluster,
/// which must live longer.
#[derive(Debug)]
pub struct Replica {
    name: String,
    primary_url: String,
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
            bindir: cluster.bindir().to_owned(),
            data: cluster.data_dir().with_file_name(format!("replica_{name}")),
            owner: (meta.uid(), meta.gid()),
            port: std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port(),
            running: None,
            frozen: None,
        };
        let program = cluster.binaries().program("pg_basebackup");
        let slot = format!("--slot={name}");
        let args = ["-R", "-X", "stream", "-c", "fast", "-C", &slot, "-d", &replica.primary_url, "-D"];
        let mut command = replica.command(Command::new(program));
        let out = command.args(args).arg(&replica.data).output().expect("pg_basebackup runs");
        assert!(out.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&out.stderr));
        replica.start();
        replica
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after `stop`.
    #[track_caller]
    pub fn start(&mut self) {
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
        server.args(["-c", &format!("cluster_name={}", self.name)]);
        server.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
        let (child, thread) = spawn(server);
        self.running = Some(Running { child, _thread: thread });
        let streams = format!(
            "SELECT count(*) FROM pg_stat_replication
              WHERE application_name = '{}' AND state = 'streaming' AND replay_lsn IS NOT NULL",
            self.name
        );
        self.wait("stream", |replica| ask(&replica.primary_url, &streams).is_ok_and(|found| found == "1"));
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
            let log = || std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{} did not {what}:\n{}", self.name, log());
            std::thread::sleep(POLL);
        }
    }

    /// As the account that owns the cluster's files.
    fn command(&self, mut command: Command) -> Command {
        command.uid(self.owner.0).gid(self.owner.1).current_dir("/").stdin(Stdio::null());
        for (variable, _) in std::env::vars_os().filter(|(v, _)| v.to_string_lossy().starts_with("PG")) {
            command.env_remove(variable);
        }
        command.env("LC_ALL", "C");
        command
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
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.map(str::to_owned).ok_or_else(|| "no row".to_owned())
    })
}

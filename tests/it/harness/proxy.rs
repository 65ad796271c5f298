//! A TCP proxy in front of a server, which loses, delays and cuts what passes: the network as a fault.
//!
//! It reads what clients send message by message (PostgreSQL's protocol, unencrypted), so that a fault can be put at an exact
//! place: before a statement, after it, or between its commit and the answer. It is no packet loss: the kernel of this machine
//! goes on acknowledging, as a proxy or a firewall in between does that has lost its state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::server::{block_on, runtime};

/// How long the server has for a statement whose answer is going to be lost, before the client's side is reset.
const ANSWER_LOST_AFTER: Duration = Duration::from_millis(300);

/// Untagged first messages that are followed by another untagged one: SSLRequest and GSSENCRequest.
const REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// A message of a client.
#[derive(Debug)]
pub struct Frame<'a> {
    /// 1, 2, 3 … in the order of connecting.
    pub connection: u64,
    /// Our port on the server's side: what `client_port` of `pg_stat_activity` says.
    pub port: u16,
    /// `application_name` of the startup packet.
    pub application: &'a str,
    /// `Q`, `P`, `B`, `E` …; 0 for a startup packet.
    pub tag: u8,
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// The body as text: a statement, with zero bytes around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }
}

/// What becomes of a message, and of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Forward,
    /// Both sides are reset; the message does not arrive.
    Reset,
    /// The message arrives and its answer does not: a moment later the client's side is reset.
    LoseAnswer,
    /// The message arrives; from then on nothing does, in either direction, and nobody is told.
    Mute,
    /// The message and everything after it vanish, in either direction, and nobody is told.
    Swallow,
    /// The message waits until somebody decides; what the server says meanwhile arrives.
    Hold,
}

/// What becomes of a connection whose message is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has decided.
    Open,
    /// The message arrives, and everything goes on.
    Go,
    /// The message arrives, and until the next decision no answer does.
    Withhold,
    /// Both sides are closed, as by the death of a process.
    Close,
    /// Both sides are reset.
    Reset,
    /// Nothing arrives any more, in either direction; the server is told when the client gives up.
    Silence,
    /// The same, and the server is never told, as long as the proxy lives.
    Abandon,
}

/// The whole way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Open,
    /// What is sent vanishes, also on new connections, which are accepted.
    BlackHole,
    /// New connections are reset.
    Refuse,
}

/// Judges each message before it is forwarded.
pub type Judge = Arc<dyn Fn(&Frame<'_>) -> Verdict + Send + Sync>;

struct Shared {
    upstream: AtomicU16,
    connections: AtomicU64,
    path: watch::Sender<Path>,
    /// Counts up when every connection is to be reset.
    cut: watch::Sender<u64>,
    judge: Mutex<Option<Judge>>,
    /// Of each connection that is open.
    fates: Mutex<HashMap<u64, watch::Sender<Fate>>>,
}

/// A proxy; it ends with the test.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of 127.0.0.1:`upstream`.
    pub fn to(upstream: u16) -> Self {
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            connections: AtomicU64::new(0),
            path: watch::Sender::new(Path::Open),
            cut: watch::Sender::new(0),
            judge: Mutex::new(None),
            fates: Mutex::default(),
        });
        let listener = block_on(async { TcpListener::bind("127.0.0.1:0").await.unwrap() });
        let port = listener.local_addr().unwrap().port();
        let task = runtime().spawn(listen(listener, shared.clone()));
        Self { port, shared, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As the superuser, through the proxy.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// From now on new connections go to this port.
    pub fn lead_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::SeqCst);
    }

    /// Opens or closes the way, for all connections.
    pub fn set(&self, path: Path) {
        self.shared.path.send_replace(path);
    }

    /// Resets every connection that is open now.
    pub fn reset(&self) {
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    /// From now on `judge` sees every message.
    pub fn judge(&self, judge: impl Fn(&Frame<'_>) -> Verdict + Send + Sync + 'static) {
        *self.shared.judge.lock().unwrap() = Some(Arc::new(judge));
    }

    /// Decides about a connection whose message is held, or whose answers are withheld.
    pub fn decide(&self, connection: u64, fate: Fate) {
        if let Some(sender) = self.shared.fates.lock().unwrap().get(&connection) {
            sender.send_replace(fate);
        }
    }

    /// Nobody judges any more.
    pub fn acquit(&self) {
        *self.shared.judge.lock().unwrap() = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.reset();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::spawn(serve(client, shared.clone(), number));
    }
}

/// How a connection came to its end.
enum End {
    /// One side closed it.
    Closed,
    Reset,
    LostAnswer,
    /// Nothing is forwarded any more, and nothing closed; whether the server is told that the client gave up.
    Silence {
        told: bool,
    },
}

/// What both directions of a connection share.
struct Link<'a> {
    shared: &'a Shared,
    connection: u64,
    port: u16,
    fate: watch::Receiver<Fate>,
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>, number: u64) {
    let mut cut = shared.cut.subscribe();
    let mut path = shared.path.subscribe();
    cut.mark_unchanged();
    if *path.borrow() == Path::Refuse {
        return reset(client);
    }
    let open = path.wait_for(|path| *path == Path::Open);
    tokio::select! {
        opened = open => { let _sender_is_shared = opened; }
        _ = cut.changed() => return reset(client),
        () = gone(&client) => return,
    }
    let upstream = shared.upstream.load(Ordering::SeqCst);
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return reset(client) };
    let _faster = (client.set_nodelay(true), server.set_nodelay(true));
    let port = server.local_addr().map_or(0, |address| address.port());
    let (fate, fated) = watch::channel(Fate::Open);
    shared.fates.lock().unwrap().insert(number, fate);
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let link = Link { shared: &shared, connection: number, port, fate: fated.clone() };
        tokio::select! {
            end = upward(from_client, to_server, &link) => end,
            end = downward(from_server, to_client, &link) => end,
            end = decided(fated) => end,
            _ = cut.changed() => End::Reset,
        }
    };
    shared.fates.lock().unwrap().remove(&number);
    finish(end, client, server, cut).await;
}

/// Closes both sides in the manner of the end.
async fn finish(end: End, client: TcpStream, server: TcpStream, mut cut: watch::Receiver<u64>) {
    match end {
        End::Closed => {}
        End::Reset => {
            reset(client);
            reset(server);
        }
        End::LostAnswer => {
            // The server works on; what it answers stays here.
            tokio::time::sleep(ANSWER_LOST_AFTER).await;
            reset(client);
            drop(server);
        }
        End::Silence { told } => {
            let cut_off = tokio::select! {
                _ = cut.changed() => true,
                () = gone(&client) => false,
            };
            reset(client);
            if !told && !cut_off {
                let _the_proxy_has_ended = cut.changed().await;
            }
            reset(server);
        }
    }
}

/// Returns when the connection's fate is an end.
async fn decided(mut fate: watch::Receiver<Fate>) -> End {
    loop {
        let now = *fate.borrow_and_update();
        match now {
            Fate::Open | Fate::Go | Fate::Withhold => {}
            Fate::Close => return End::Closed,
            Fate::Reset => return End::Reset,
            Fate::Silence => return End::Silence { told: true },
            Fate::Abandon => return End::Silence { told: false },
        }
        if fate.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Returns when the peer has closed its side.
async fn gone(stream: &TcpStream) {
    let mut one = [0];
    loop {
        match stream.peek(&mut one).await {
            Ok(0) | Err(_) => return,
            // Something waits there unread, and a closed side shows only behind it.
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn reset(stream: TcpStream) {
    let _closed_anyway = stream.set_zero_linger();
}

async fn upward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, link: &Link<'_>) -> End {
    let (mut buffer, mut application, mut tagged) = (Vec::new(), String::new(), false);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        while let Some((length, tag, start)) = whole(&buffer, tagged) {
            let body = &buffer[start..length];
            if !tagged {
                let code = body.get(..4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                tagged = !REQUESTS.contains(&code);
                application = parameters(body).remove("application_name").unwrap_or_default();
            }
            let judge = link.shared.judge.lock().unwrap().clone();
            let Link { connection, port, .. } = *link;
            let frame = Frame { connection, port, application: &application, tag, body };
            // From before the verdict on, so that no decision is missed.
            let mut fate = link.fate.clone();
            fate.mark_unchanged();
            let verdict = judge.map_or(Verdict::Forward, |judge| judge(&frame));
            match verdict {
                Verdict::Reset => return End::Reset,
                Verdict::Swallow => return End::Silence { told: true },
                // Any other fate is an end, and the message never arrives.
                Verdict::Hold => {
                    while fate.changed().await.is_ok() {
                        let now = *fate.borrow_and_update();
                        if matches!(now, Fate::Go | Fate::Withhold) {
                            break;
                        }
                    }
                }
                Verdict::Forward | Verdict::LoseAnswer | Verdict::Mute => {}
            }
            open(link.shared).await;
            if to.write_all(&buffer[..length]).await.is_err() {
                return End::Closed;
            }
            buffer.drain(..length);
            match verdict {
                Verdict::LoseAnswer => return End::LostAnswer,
                Verdict::Mute => return End::Silence { told: true },
                Verdict::Forward | Verdict::Reset | Verdict::Swallow | Verdict::Hold => {}
            }
        }
        match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return End::Closed,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

async fn downward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, link: &Link<'_>) -> End {
    let mut fate = link.fate.clone();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else { return End::Closed };
        if fate.wait_for(|fate| *fate != Fate::Withhold).await.is_err() {
            return End::Closed;
        }
        open(link.shared).await;
        if to.write_all(&chunk[..read]).await.is_err() {
            return End::Closed;
        }
    }
}

/// While the way is a black hole, what was read is kept back. (That it arrives once the way is open again is what TCP does.)
async fn open(shared: &Shared) {
    let mut path = shared.path.subscribe();
    let _sender_is_shared = path.wait_for(|path| *path != Path::BlackHole).await;
}

/// The length of the first message if it is whole, its tag, and where its body begins.
fn whole(buffer: &[u8], tagged: bool) -> Option<(usize, u8, usize)> {
    let at = usize::from(tagged);
    let length = buffer.get(at..at + 4)?;
    let length = at + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let tag = if tagged { buffer[0] } else { 0 };
    (buffer.len() >= length).then_some((length, tag, at + 4))
}

/// The name-value pairs of a startup packet.
fn parameters(body: &[u8]) -> HashMap<String, String> {
    let words: Vec<String> = body
        .get(4..)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

//! A way to the server on which everything takes its time: each chunk, in either direction, arrives so much later.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A slow way. It stays as long as the process, and serves whoever comes.
pub struct SlowPath {
    port: u16,
    delay_ms: Arc<AtomicU64>,
}

impl SlowPath {
    /// In front of 127.0.0.1:`upstream`, without a delay at first.
    pub fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&delay_ms);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
                let pairs = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in pairs {
                    let (Ok(from), Ok(to), delay_ms) = (from, to, Arc::clone(&shared)) else { continue };
                    std::thread::spawn(move || forward(from, to, &delay_ms));
                }
            }
        });
        Self { port, delay_ms }
    }

    /// As the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub fn delay(&self, by: Duration) {
        self.delay_ms.store(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, delay_ms: &AtomicU64) {
    let _faster = to.set_nodelay(true);
    let mut chunk = [0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        std::thread::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed)));
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _closed_already = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

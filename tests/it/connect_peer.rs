//! Peers that are no healthy server: silent, hanging up, too old, full, starting. Each is a socket that plays one
//! scripted answer, because a real server shows these states only for moments.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use tenantmig::pg::connect::{ConnectError, SessionSpec, connect};
use tenantmig::pg::settings::{ConnectFlags, Environment, resolve};

/// Listens on a free port and answers the startup packet of every caller with `answer`, then closes; `None` never answers.
fn peer(answer: Option<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match &answer {
                None => held.push(stream),
                Some(answer) => {
                    let mut packet = [0; 1024];
                    let _length = stream.read(&mut packet).unwrap();
                    stream.write_all(answer).unwrap();
                }
            }
        }
    });
    port
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn refusal(sqlstate: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0").as_bytes())
}

async fn failure(conninfo: &str) -> ConnectError {
    let flags = ConnectFlags { dbname: Some(conninfo.to_owned()), ..ConnectFlags::default() };
    let settings = resolve(&flags, &Environment::of(&[("USER", "me")])).unwrap();
    connect(&settings, &SessionSpec::new("test", Duration::from_secs(1))).await.unwrap_err()
}

async fn check(answer: Option<Vec<u8>>, code: &str, exit_code: u8, says: &str) {
    let port = peer(answer);
    let error =
        failure(&format!("host=127.0.0.1 port={port} sslmode=disable connect_timeout=2 password=hunter2")).await;
    assert_eq!((error.code(), error.exit_code()), (code, exit_code), "{error}");
    let shown = format!("{error} {error:?} {}", error.remedy());
    assert!(shown.contains(says) && shown.contains(&port.to_string()), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (sqlstate, text, code, exit_code) in [
        ("57P03", "the database system is starting up", "TM0929", 75),
        ("57P03", "das Datenbanksystem startet", "TM0929", 75),
        ("57P01", "terminating connection due to administrator command", "TM0929", 75),
        ("55000", "database \"shop\" is not currently accepting connections", "TM0929", 75),
        ("53300", "sorry, too many clients already", "TM0928", 75),
        ("08P01", "query_wait_timeout", "TM0930", 75),
        ("08P01", "no more connections allowed (max_client_conn)", "TM0928", 75),
        ("08P01", "no such database: d", "TM0927", 69),
        ("08P01", "something else", "TM0933", 69),
        ("28P01", "password authentication failed", "TM0920", 77),
        ("28000", "no pg_hba.conf entry for host", "TM0922", 77),
        ("3D000", "database \"me\" does not exist", "TM0927", 69),
        ("42501", "permission denied for database", "TM0926", 77),
        ("XX000", "what now", "TM0933", 69),
    ] {
        check(Some(refusal(sqlstate, text)), code, exit_code, if code == "TM0927" { "does not exist" } else { text })
            .await;
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_named() {
    let answer = [
        message(b'R', &0_u32.to_be_bytes()),
        message(b'S', b"server_version\x0012.22 (Debian)\0"),
        message(b'K', &[0; 8]),
        message(b'Z', b"I"),
    ];
    check(Some(answer.concat()), "TM0917", 69, "PostgreSQL 12.22").await;
}

#[tokio::test]
async fn a_silent_peer_is_left_in_time() {
    let begin = Instant::now();
    check(None, "TM0912", 69, "timed out after 2s").await;
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_peer_that_is_no_server_is_named() {
    check(Some(Vec::new()), "TM0915", 69, "hung up").await;
    check(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "TM0915", 69, "hung up").await;
}

#[tokio::test]
async fn nobody_there_is_told_by_place() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    for (conninfo, code, says) in [
        (format!("host=127.0.0.1 port={free}"), "TM0911", format!("127.0.0.1:{free} refused")),
        (format!("host=127.0.0.1,127.0.0.2 port={free}"), "TM0911", "none of 2 servers".to_owned()),
        ("host=no-such-host.invalid".to_owned(), "TM0910", "no-such-host.invalid".to_owned()),
        ("host=/nonexistent".to_owned(), "TM0913", "/nonexistent/.s.PGSQL.5432".to_owned()),
    ] {
        let error = failure(&conninfo).await;
        assert_eq!((error.code(), error.exit_code()), (code, 69), "{error}");
        assert!(error.to_string().contains(&says), "{error}");
        assert!(!error.remedy().is_empty());
    }
}

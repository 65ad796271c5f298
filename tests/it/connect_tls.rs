//! TLS against real servers with real certificates: each sslmode with each kind of certificate, and client certificates.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;
use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tenantmig::pg::connect::{ConnectError, TlsState};

use crate::connect::{ask, try_connect};

/// A folder of certificates made by openssl, which the PostgreSQL packages bring along.
static CERTIFICATES: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let self_signed = |name: &str, subject: &str, extensions: &[&str]| {
        let mut arguments = vec!["req", "-x509", "-days", "90", "-subj", subject];
        extensions.iter().for_each(|e| arguments.extend(["-addext", e]));
        openssl(dir.path(), name, &arguments, true);
    };
    self_signed("ca", "/CN=Test CA", &[]);
    self_signed("otherca", "/CN=Other CA", &[]);
    self_signed("selfca", "/CN=localhost", &["subjectAltName=DNS:localhost"]);
    self_signed("selfleaf", "/CN=localhost", &["subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"]);
    let local = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    for (name, cn, ca, days, extension) in [
        ("good", "localhost", "ca", "90", local),
        ("wrongname", "other", "ca", "90", "subjectAltName=DNS:db.example,IP:10.0.0.1"),
        ("cnonly", "localhost", "ca", "90", "basicConstraints=CA:FALSE"),
        ("expired", "localhost", "ca", "-1", local),
        ("v1", "localhost", "ca", "90", ""),
        ("client", "certuser", "ca", "90", "extendedKeyUsage=clientAuth"),
        ("strange", "certuser", "otherca", "90", "extendedKeyUsage=clientAuth"),
    ] {
        openssl(dir.path(), name, &["req", "-subj", &format!("/CN={cn}")], false);
        let (request, ca_crt, ca_key) = (format!("{name}.csr"), format!("{ca}.crt"), format!("{ca}.key"));
        let mut arguments =
            vec!["x509", "-req", "-in", &request, "-CA", &ca_crt, "-CAkey", &ca_key, "-CAcreateserial", "-days", days];
        // Without extensions openssl makes a certificate of X.509 version 1.
        let extensions = format!("{name}.ext");
        std::fs::write(dir.path().join(&extensions), extension).unwrap();
        let certificate = format!("{name}.crt");
        if !extension.is_empty() {
            arguments.extend(["-extfile", &extensions]);
        }
        arguments.extend(["-out", &certificate]);
        run(dir.path(), &arguments);
    }
    std::fs::write(dir.path().join("garbage.crt"), "not a certificate").unwrap();
    std::fs::copy(dir.path().join("client.key"), dir.path().join("open.key")).unwrap();
    std::fs::set_permissions(dir.path().join("open.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    dir
});

fn openssl(dir: &Path, name: &str, arguments: &[&str], certificate: bool) {
    let (key, out) = (format!("{name}.key"), format!("{name}.{}", if certificate { "crt" } else { "csr" }));
    let common = ["-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &out];
    run(dir, &[arguments, &common].concat());
    std::fs::set_permissions(dir.join(key), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn run(dir: &Path, arguments: &[&str]) {
    let out = Command::new("openssl").args(arguments).current_dir(dir).output().expect("openssl runs");
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn file(name: &str) -> PathBuf {
    CERTIFICATES.path().join(name)
}

/// A server that shows this certificate, and trusts the test's authority for client certificates.
async fn server(certificate: &'static str) -> Cluster {
    tokio::task::spawn_blocking(move || {
        let rules = [
            "hostssl all certuser all cert",
            "hostssl all plainuser all reject",
            "hostnossl all tlsuser all reject",
            "host all secret all scram-sha-256",
        ];
        let extra_hba = rules.map(str::to_owned).to_vec();
        let mut cluster = Cluster::start(ClusterOptions { extra_hba, ..ClusterOptions::default() }).unwrap();
        let owner = std::fs::metadata(cluster.data_dir()).unwrap();
        for (from, to) in [
            (format!("{certificate}.crt"), "server.crt"),
            (format!("{certificate}.key"), "server.key"),
            ("ca.crt".to_owned(), "ca.crt"),
        ] {
            let to = cluster.data_dir().join(to);
            std::fs::copy(file(&from), &to).unwrap();
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let conf = cluster.data_dir().join("postgresql.auto.conf");
        std::fs::write(conf, "ssl = on\nssl_ca_file = 'ca.crt'\n").unwrap();
        cluster.restart().unwrap();
        cluster
    })
    .await
    .unwrap()
}

/// Connects with these words and compares what `expect` says: `off`, `not verified`, `issuer verified`, … or a code.
async fn check(cluster: &Cluster, words: &str, expect: &str) -> Option<ConnectError> {
    let words = words.split_whitespace().map(|w| match w.split_once("=@") {
        Some((key, name)) => format!("{key}={}", file(name).display()),
        None => w.to_owned(),
    });
    let words = words.collect::<Vec<_>>().join(" ");
    let host = if words.contains("host=") { "" } else { "host=localhost" };
    let text = format!("{host} hostaddr=127.0.0.1 port={} dbname=postgres user=postgres {words}", cluster.port());
    let (got, error) = match try_connect(&text, None).await {
        Ok(connection) => {
            let server_says = ask(
                &connection,
                "SELECT CASE WHEN ssl THEN 'on' ELSE 'off' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            )
            .await;
            match connection.tls {
                TlsState::Off => {
                    assert_eq!(server_says, "off", "{text}");
                    ("off", None)
                }
                TlsState::On { verified, .. } => {
                    assert_eq!(server_says, "on", "{text}");
                    connection.cancel().await.unwrap();
                    (verified, None)
                }
            }
        }
        Err(error) => (error.code(), Some(error)),
    };
    assert_eq!(got, expect, "{text}: {error:?}");
    assert!(error.as_ref().is_none_or(|e| !format!("{e} {e:?}").contains("hunter2") && !e.remedy().is_empty()));
    error
}

#[tokio::test]
async fn each_sslmode_checks_what_libpqs_does() {
    let good = server("good").await;
    for (words, expect) in [
        ("sslmode=disable", "off"),
        ("sslmode=allow", "not verified"),
        ("sslmode=prefer", "not verified"),
        ("sslmode=require", "not verified"),
        ("sslmode=require sslrootcert=/nonexistent", "not verified"),
        ("sslmode=require sslrootcert=@ca.crt", "issuer verified"),
        ("sslmode=require sslrootcert=@otherca.crt", "TM0941"),
        ("sslmode=prefer sslrootcert=@otherca.crt", "off"),
        ("sslmode=verify-ca sslrootcert=@ca.crt", "issuer verified"),
        ("sslmode=verify-ca sslrootcert=@ca.crt host=elsewhere", "issuer verified"),
        ("sslmode=verify-full sslrootcert=@ca.crt", "issuer and name verified"),
        ("sslmode=verify-full sslrootcert=@ca.crt host=127.0.0.1", "issuer and name verified"),
        ("sslmode=verify-full sslrootcert=@ca.crt ssl_max_protocol_version=TLSv1.2", "issuer and name verified"),
        ("sslmode=verify-full sslrootcert=@ca.crt host=elsewhere", "TM0947"),
        ("sslmode=verify-full sslrootcert=@otherca.crt", "TM0941"),
        ("sslrootcert=system", "TM0941"),
        ("sslmode=verify-full", "TM0949"),
        ("sslmode=verify-ca sslrootcert=/nonexistent", "TM0949"),
        ("sslmode=verify-full sslrootcert=@garbage.crt", "TM0950"),
        ("sslmode=verify-full sslrootcert=@ca.key", "TM0950"),
    ] {
        check(&good, words, expect).await;
    }
}

#[tokio::test]
async fn each_bad_certificate_has_its_own_code() {
    for (certificate, words, expect) in [
        ("expired", "sslmode=verify-ca sslrootcert=@ca.crt", "TM0945"),
        ("cnonly", "sslmode=verify-full sslrootcert=@ca.crt", "TM0943"),
        ("cnonly", "sslmode=verify-ca sslrootcert=@ca.crt", "issuer verified"),
        ("wrongname", "sslmode=verify-full sslrootcert=@ca.crt", "TM0947"),
        ("selfca", "sslmode=verify-full sslrootcert=@selfca.crt", "issuer and name verified"),
        ("selfca", "sslmode=verify-full sslrootcert=@selfca.crt host=elsewhere", "TM0947"),
        ("selfca", "sslmode=verify-full sslrootcert=@ca.crt", "TM0942"),
        ("selfca", "sslmode=require", "not verified"),
        ("selfleaf", "sslmode=verify-full sslrootcert=@selfleaf.crt", "issuer and name verified"),
        ("selfleaf", "sslmode=verify-full sslrootcert=@ca.crt", "TM0941"),
        ("v1", "sslmode=verify-full sslrootcert=@ca.crt", "TM0944"),
        ("v1", "sslmode=require", "TM0944"),
        ("v1", "sslmode=prefer", "off"),
    ] {
        let cluster = server(certificate).await;
        let error = check(&cluster, words, expect).await;
        match expect {
            "TM0947" if certificate == "wrongname" => {
                assert!(error.unwrap().to_string().contains("db.example, 10.0.0.1"))
            }
            "TM0943" => assert!(error.unwrap().remedy().contains("subjectAltName=DNS:localhost")),
            _ => {}
        }
    }
}

#[tokio::test]
async fn client_certificates_log_in_or_say_why_not() {
    let good = server("good").await;
    let client = try_connect(&good.url("postgres"), None).await.unwrap();
    client.client.batch_execute("CREATE ROLE certuser LOGIN; CREATE ROLE tlsuser LOGIN; CREATE ROLE plainuser LOGIN; CREATE ROLE secret LOGIN PASSWORD 'right'").await.unwrap();
    for (words, expect) in [
        ("user=certuser sslmode=require sslcert=@client.crt sslkey=@client.key", "not verified"),
        (
            "user=certuser sslmode=require ssl_max_protocol_version=TLSv1.2 sslcert=@client.crt sslkey=@client.key",
            "not verified",
        ),
        ("user=certuser sslmode=require", "TM0924"),
        ("user=certuser sslmode=require sslcertmode=disable sslcert=@client.crt sslkey=@client.key", "TM0924"),
        ("user=certuser sslmode=require sslcert=@strange.crt sslkey=@strange.key", "TM0955"),
        (
            "user=certuser sslmode=require ssl_max_protocol_version=TLSv1.2 sslcert=@strange.crt sslkey=@strange.key",
            "TM0955",
        ),
        ("user=certuser sslmode=require sslcert=@client.crt sslkey=@strange.key", "TM0953"),
        ("user=certuser sslmode=require sslcert=@client.crt sslkey=/nonexistent", "TM0953"),
        ("user=certuser sslmode=require sslcert=@client.crt sslkey=@open.key", "TM0954"),
        ("user=certuser sslmode=require sslcert=/nonexistent sslkey=@client.key", "TM0952"),
        ("user=certuser sslmode=require sslcert=@garbage.crt sslkey=@client.key", "TM0952"),
        // sslmode=prefer falls back to what pg_hba.conf admits, stronger modes do not.
        ("user=plainuser sslmode=prefer", "off"),
        ("user=plainuser sslmode=require", "TM0922"),
        ("user=tlsuser sslmode=prefer", "not verified"),
        ("user=tlsuser sslmode=disable", "TM0922"),
        ("user=secret sslmode=require password=right channel_binding=require", "not verified"),
        ("user=secret sslmode=disable password=right", "off"),
        ("user=secret sslmode=disable password=right channel_binding=require", "TM0925"),
        ("user=secret sslmode=require password=hunter2", "TM0920"),
        ("user=secret sslmode=prefer password=hunter2", "TM0920"),
        ("user=secret sslmode=require", "TM0921"),
    ] {
        check(&good, words, expect).await;
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_only_when_tls_is_required() {
    let plain = tokio::task::spawn_blocking(|| Cluster::start(ClusterOptions::default()).unwrap()).await.unwrap();
    for (words, expect) in [("sslmode=prefer", "off"), ("sslmode=require", "TM0940"), ("sslrootcert=system", "TM0940")]
    {
        check(&plain, words, expect).await;
    }
}

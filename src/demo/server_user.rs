//! Who runs the server: PostgreSQL refuses root, so root hands it to another account.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::cluster_error::ClusterError;

/// The accounts that root may hand the server to, best first.
const ACCOUNTS: &[&str] = &["postgres", "nobody"];

/// The account that the server's programs run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerUser {
    /// The one that runs this program.
    Same {
        /// Its user id.
        uid: u32,
    },
    /// Another one, because this program runs as root.
    Other {
        /// Its user id.
        uid: u32,
        /// Its primary group id.
        gid: u32,
    },
}

impl ServerUser {
    /// The account for this process: itself, or for root the first of `postgres` and `nobody` in /etc/passwd.
    pub fn choose() -> Result<Self, ClusterError> {
        let uid = rustix::process::geteuid().as_raw();
        if uid != 0 {
            return Ok(Self::Same { uid });
        }
        let path = Path::new("/etc/passwd");
        let passwd = std::fs::read_to_string(path).map_err(ClusterError::io("read", path))?;
        ACCOUNTS
            .iter()
            .find_map(|name| ids_of(&passwd, name))
            .map(|(uid, gid)| Self::Other { uid, gid })
            .ok_or(ClusterError::NoServerUser)
    }

    /// The user id that owns the data directory.
    pub fn uid(self) -> u32 {
        match self {
            Self::Same { uid } | Self::Other { uid, .. } => uid,
        }
    }

    /// Makes `path` this account's.
    pub(super) fn own(self, path: &Path) -> Result<(), ClusterError> {
        match self {
            Self::Same { .. } => Ok(()),
            Self::Other { uid, gid } => {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(ClusterError::io("chown", path))
            }
        }
    }

    /// A command that runs `program` as this account, from `/`, with no input and none of our PG* variables.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            // std drops the supplementary groups of root together with the user id.
            command.uid(uid).gid(gid);
        }
        tidy(&mut command);
        command
    }

    /// As `command`, and the kernel sends the program SIGQUIT (PostgreSQL's immediate shutdown) when the
    /// *thread* that spawned it ends, be it by kill -9. Where `setpriv` cannot do that (macOS, BusyBox) it
    /// is a plain command, and the next start's sweep ends what was left behind.
    ///
    /// A change of user id clears the signal, hence setpriv does both, in the order that works.
    pub(super) fn command_that_dies_with_us(self, program: &Path) -> Command {
        if !setpriv_has_pdeathsig() {
            return self.command(program);
        }
        let mut command = Command::new("setpriv");
        if let Self::Other { uid, gid } = self {
            command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
        }
        command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
        tidy(&mut command);
        command
    }
}

/// The server must see neither the caller's connection settings nor its locale, nor hold its directory;
/// macOS needs LC_ALL to be set at all, or the postmaster "became multithreaded during startup".
fn tidy(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("LC_") || text == "LANG" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
}

/// util-linux 2.33 taught setpriv `--pdeathsig`; BusyBox's has neither option.
fn setpriv_has_pdeathsig() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        Command::new("setpriv").arg("--help").stdin(Stdio::null()).output().is_ok_and(|out| {
            let help = String::from_utf8_lossy(&out.stdout);
            help.contains("--pdeathsig") && help.contains("--reuid")
        })
    })
}

/// User and group id of `name` in the text of a passwd file; root under another name does not count.
fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (uid != 0).then_some((uid, gid))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_ids_from_passwd_lines() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgresql:x:7:8::/:\npostgres:x:101:104:a,b:/v:/bin/sh\nbad:x\n";
        let check = |name, expect| assert_eq!(ids_of(passwd, name), expect, "{name}");
        check("postgres", Some((101, 104)));
        check("postgresql", Some((7, 8)));
        check("root", None);
        check("bad", None);
        check("absent", None);
    }
}

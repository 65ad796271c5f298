//! The settings as `doctor` prints them: key, masked value, origin.

use std::time::Duration;

use super::origin::Origin;
use super::resolve::Settings;
use super::target::{Address, Target};
use super::value::{Setting, TrustedRoots};

/// What stands in place of a password, whatever its length.
const MASK: &str = "********";

/// One line of `doctor`'s list of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// libpq's key; with several hosts `host[1]`, `port[1]` and so on.
    pub key: String,
    /// The value, a password masked.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Settings {
    /// Every value with its origin, passwords masked.
    #[must_use]
    pub fn rows(&self) -> Vec<SettingRow> {
        let mut rows = Vec::new();
        for (i, target) in self.targets.iter().enumerate() {
            push_target(target, if self.targets.len() > 1 { format!("[{}]", i + 1) } else { String::new() }, &mut rows);
        }
        let mut push = |key: &str, value: String, origin: &Origin| {
            rows.push(SettingRow { key: key.to_owned(), value, origin: origin.clone() });
        };
        push("dbname", self.dbname.value.clone(), &self.dbname.origin);
        push("user", self.user.value.clone(), &self.user.origin);
        if let Some(role) = &self.role {
            push("role", role.value.clone(), &role.origin);
        }
        push("sslmode", self.tls.mode.value.to_string(), &self.tls.mode.origin);
        if let Some(roots) = &self.tls.roots {
            let value = match &roots.value {
                TrustedRoots::System => "system".to_owned(),
                TrustedRoots::File(file) => file.display().to_string(),
            };
            push("sslrootcert", value, &roots.origin);
        }
        if let Some(client) = &self.tls.client {
            push("sslcert", client.certificate.value.display().to_string(), &client.certificate.origin);
            push("sslkey", client.key.value.display().to_string(), &client.key.origin);
        }
        push("connect_timeout", seconds(self.connect_timeout.value), &self.connect_timeout.origin);
        push("target_session_attrs", self.target_session_attrs.value.to_string(), &self.target_session_attrs.origin);
        for (key, setting) in [("application_name", &self.application_name), ("options", &self.options)] {
            if let Some(Setting { value, origin }) = setting {
                push(key, value.clone(), origin);
            }
        }
        let channel_binding = format!("{:?}", self.channel_binding.value).to_ascii_lowercase();
        push("channel_binding", channel_binding, &self.channel_binding.origin);
        if let Some(keepalives) = &self.keepalives {
            push("keepalives_idle", optional(keepalives.idle.value), &keepalives.idle.origin);
            push("keepalives_interval", optional(keepalives.interval.value), &keepalives.interval.origin);
        }
        push("tcp_user_timeout", optional(self.tcp_user_timeout.value), &self.tcp_user_timeout.origin);
        if let Some(direct) = &self.direct {
            let origin = direct.targets.first().map_or(&direct.dbname.origin, |target| &target.origin).clone();
            rows.push(SettingRow { key: "direct_url".to_owned(), value: direct.display_target(), origin });
        }
        rows
    }

    /// `user@host:port/dbname`, several hosts separated by commas; never a password.
    #[must_use]
    pub fn display_target(&self) -> String {
        let hosts = self.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        format!("{}@{hosts}/{}", self.user.value, self.dbname.value)
    }
}

fn push_target(target: &Target, suffix: String, rows: &mut Vec<SettingRow>) {
    let mut push = |key: &str, value: String, origin: &Origin| {
        rows.push(SettingRow { key: format!("{key}{suffix}"), value, origin: origin.clone() });
    };
    match &target.address {
        Address::Tcp { host, hostaddr } => {
            push("host", host.clone(), &target.origin);
            if let Some(ip) = hostaddr {
                push("hostaddr", ip.to_string(), &target.origin);
            }
        }
        Address::Socket(directory) => push("host", directory.display().to_string(), &target.origin),
    }
    push("port", target.port.value.to_string(), &target.port.origin);
    match &target.password {
        Some(password) => push("password", MASK.to_owned(), &password.origin),
        None => push("password", "(none)".to_owned(), &Origin::Default),
    }
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn optional(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "system's".to_owned(), seconds)
}

//! The servers to try, in order: hosts, addresses, ports and each one's password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::environment::{Environment, SOCKET_DIRECTORIES};
use super::layers::Layers;
use super::origin::Origin;
use super::passfile::{self, Wanted};
use super::settings_error::SettingsError;
use super::value::{Setting, bad};

const PORT_DEFAULT: u16 = 5432;

/// How one server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// By TCP.
    Tcp {
        /// The name: resolved unless `hostaddr` is given, and compared with the certificate.
        host: String,
        /// The address to use instead of resolving the name.
        hostaddr: Option<IpAddr>,
    },
    /// By the Unix socket in this directory.
    Socket(PathBuf),
}

/// One server to try.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// Where the host came from.
    pub origin: Origin,
    /// Its port.
    pub port: Setting<u16>,
    /// The password to offer it.
    pub password: Option<Setting<SecretString>>,
}

impl fmt::Display for Target {
    /// `host:port`, `[v6]:port` or the socket's path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.value;
        match &self.address {
            Address::Tcp { host, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, .. } => write!(f, "{host}:{port}"),
            Address::Socket(directory) => write!(f, "{}/.s.PGSQL.{port}", directory.display()),
        }
    }
}

/// Pairs hosts, addresses and ports: as many ports as hosts, or one for all.
pub(super) fn read(layers: &Layers, env: &Environment) -> Result<Vec<Target>, SettingsError> {
    let list = |key: &str| {
        layers.get(key).map(|(text, origin)| (text.split(',').map(str::trim).collect::<Vec<_>>(), origin.clone()))
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, |(items, _)| items.len());
    if let (Some((hosts, origin)), Some(_)) = (&hosts, &addresses)
        && hosts.len() != count
    {
        return Err(bad("host", origin, format!("{} hosts do not match {count} hostaddr values", hosts.len())));
    }
    if let Some((ports, origin)) = &ports
        && ports.len() != 1
        && ports.len() != count
    {
        return Err(bad("port", origin, format!("{} ports do not match {count} hosts", ports.len())));
    }
    let item = |list: &Option<(Vec<&str>, Origin)>, i: usize| {
        let (items, origin) = list.as_ref()?;
        let text = if items.len() == 1 { items.first() } else { items.get(i) };
        text.filter(|t| !t.is_empty()).map(|t| ((*t).to_owned(), origin.clone()))
    };
    (0..count)
        .map(|i| {
            let port = match item(&ports, i) {
                None => Setting::new(PORT_DEFAULT, Origin::Default),
                Some((text, origin)) => match text.parse::<u16>() {
                    Ok(port) if port > 0 => Setting::new(port, origin),
                    Ok(_) | Err(_) => {
                        return Err(bad("port", &origin, format!("\"{text}\" is not between 1 and 65535")));
                    }
                },
            };
            let (address, origin) = address(item(&hosts, i), item(&addresses, i), env)?;
            Ok(Target { address, origin, port, password: None })
        })
        .collect()
}

type Given = Option<(String, Origin)>;

fn address(host: Given, hostaddr: Given, env: &Environment) -> Result<(Address, Origin), SettingsError> {
    match (host, hostaddr) {
        (host, Some((text, origin))) => {
            let ip: IpAddr =
                text.parse().map_err(|_| bad("hostaddr", &origin, format!("\"{text}\" is not an IP address")))?;
            let (host, origin) = host.unwrap_or((text, origin));
            Ok((Address::Tcp { host, hostaddr: Some(ip) }, origin))
        }
        (Some((host, origin)), None) if host.starts_with('/') => Ok((Address::Socket(host.into()), origin)),
        (Some((host, origin)), None) => Ok((Address::Tcp { host, hostaddr: None }, origin)),
        (None, None) => Ok((
            match env.socket_directory() {
                Some(directory) => Address::Socket(directory.to_owned()),
                None => Address::Tcp { host: "localhost".to_owned(), hostaddr: None },
            },
            Origin::Default,
        )),
    }
}

/// Gives each target its password: the one given, or else its line of the password file.
///
/// Returns the warning of a password file that had to be ignored.
pub(super) fn add_passwords(
    targets: &mut [Target],
    layers: &Layers,
    env: &Environment,
    user: &str,
    dbname: &str,
) -> Option<String> {
    if let Some((password, origin)) = layers.get("password") {
        for target in targets {
            target.password = Some(Setting::new(SecretString::from(password), origin.clone()));
        }
        return None;
    }
    let file = match layers.get("passfile") {
        Some((path, _)) => PathBuf::from(path),
        None => env.home()?.join(".pgpass"),
    };
    let text = match passfile::read(&file) {
        Ok(text) => text?,
        Err(warning) => return Some(warning),
    };
    for target in targets {
        let host = match &target.address {
            Address::Tcp { host, .. } => host.clone(),
            Address::Socket(directory) if is_default_socket(directory) => "localhost".to_owned(),
            Address::Socket(directory) => directory.to_string_lossy().into_owned(),
        };
        let wanted = Wanted { host: &host, port: target.port.value, dbname, user };
        target.password = passfile::find(&text, wanted)
            .map(|(password, line)| Setting::new(password, Origin::Passfile { file: file.clone(), line }));
    }
    None
}

fn is_default_socket(directory: &Path) -> bool {
    SOCKET_DIRECTORIES.iter().any(|d| Path::new(d) == directory)
}

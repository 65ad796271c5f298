//! The environment in which libpq's own programs (pg_dump) reach the same server as the same user. A password in it is seen by
//! that process alone, and not in a list of processes as an argument would be.

use std::ffi::OsString;

use secrecy::ExposeSecret;

use super::{Address, Settings, TrustedRoots};

/// The libpq variables that say how a connection is made: what the caller's own environment says of them must not mix in.
pub const VARIABLES: &[&str] = &[
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLSNI",
    "PGCONNECT_TIMEOUT",
];

impl Settings {
    /// The variables, each with its value. Of several servers libpq tries all in their order; it knows one password for them,
    /// the first that is given.
    pub fn libpq_environment(&self) -> Vec<(&'static str, OsString)> {
        let mut all: Vec<(&'static str, OsString)> = Vec::new();
        let joined = |part: &dyn Fn(&super::Target) -> String| -> OsString {
            self.targets.iter().map(part).collect::<Vec<_>>().join(",").into()
        };
        all.push((
            "PGHOST",
            joined(&|target| match &target.address {
                Address::Tcp { host, .. } => host.clone(),
                Address::Socket(directory) => directory.to_string_lossy().into_owned(),
            }),
        ));
        let numeric = |target: &super::Target| match &target.address {
            Address::Tcp { hostaddr, .. } => hostaddr.map_or(String::new(), |ip| ip.to_string()),
            Address::Socket(_) => String::new(),
        };
        if self.targets.iter().any(|target| !numeric(target).is_empty()) {
            all.push(("PGHOSTADDR", joined(&numeric)));
        }
        all.push(("PGPORT", joined(&|target| target.port.value.to_string())));
        all.push(("PGUSER", self.user.value.clone().into()));
        all.push(("PGDATABASE", self.dbname.value.clone().into()));
        if let Some(password) = self.targets.iter().find_map(|target| target.password.as_ref()) {
            all.push(("PGPASSWORD", password.value.expose_secret().into()));
        }
        if let Some(options) = &self.options {
            all.push(("PGOPTIONS", options.value.clone().into()));
        }
        all.push(("PGTARGETSESSIONATTRS", self.target_session_attrs.value.to_string().into()));
        all.push(("PGCONNECT_TIMEOUT", self.connect_timeout.value.as_secs().to_string().into()));
        self.libpq_tls(&mut all);
        all
    }

    fn libpq_tls(&self, all: &mut Vec<(&'static str, OsString)>) {
        all.push(("PGSSLMODE", self.tls.mode.value.to_string().into()));
        match self.tls.roots.as_ref().map(|roots| &roots.value) {
            Some(TrustedRoots::File(path)) => all.push(("PGSSLROOTCERT", path.into())),
            Some(TrustedRoots::System) => all.push(("PGSSLROOTCERT", "system".into())),
            None => {}
        }
        if let Some(client) = &self.tls.client {
            all.push(("PGSSLCERT", client.certificate.value.clone().into()));
            all.push(("PGSSLKEY", client.key.value.clone().into()));
        }
        if self.tls.direct {
            all.push(("PGSSLNEGOTIATION", "direct".into()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::pg::settings::{ConnectFlags, Environment, resolve};

    #[test]
    fn a_connection_string_becomes_variables() {
        let dbname = Some("host=a,b port=5433 user=u dbname=d password=p sslmode=disable".to_owned());
        let flags = ConnectFlags { dbname, ..ConnectFlags::default() };
        let settings = resolve(&flags, &Environment::of(&[])).unwrap();
        let all = settings.libpq_environment();
        let of = |name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string_lossy().into_owned());
        assert_eq!(of("PGHOST").as_deref(), Some("a,b"));
        assert_eq!(of("PGPORT").as_deref(), Some("5433,5433"));
        assert_eq!(of("PGPASSWORD").as_deref(), Some("p"));
        assert_eq!(of("PGSSLMODE").as_deref(), Some("disable"));
        assert_eq!(of("PGDATABASE").as_deref(), Some("d"));
        assert!(all.iter().all(|(name, _)| super::VARIABLES.contains(name)));
    }
}

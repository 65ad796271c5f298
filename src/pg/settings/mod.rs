//! Where to connect and as whom: flags, URIs, conninfo, variables, service and password files, as libpq reads them.
//!
//! Nothing here opens a connection; `resolve` is a function of flags, environment and the files these name.

mod conninfo;
mod environment;
mod key;
mod layers;
mod libpq;
mod origin;
mod passfile;
mod resolve;
mod rows;
mod servicefile;
mod settings_error;
mod target;
mod uri;
mod value;

pub use environment::Environment;
pub use libpq::VARIABLES as LIBPQ_VARIABLES;
pub use origin::Origin;
pub use resolve::{ConnectFlags, Keepalives, Settings, resolve};
pub use rows::SettingRow;
pub use settings_error::SettingsError;
pub use target::{Address, Target};
pub use value::{ClientCertificate, Setting, SslMode, TargetSessionAttrs, TlsSettings, TrustedRoots};

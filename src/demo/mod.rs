//! The throwaway cluster and what the demo does on it.

pub mod alphapulse;
pub mod cluster;
pub mod cluster_error;
mod cluster_home;
mod data_template;
mod isolation;
mod postmaster;
mod process_table;
mod program;
mod sabotage;
mod screen;
pub mod seed;
pub mod server_binaries;
pub mod server_install;
pub mod server_user;
mod stage;
mod story;
pub mod systems;
mod tell;
pub mod traffic;

pub use tell::{DemoOptions, run};

//! What integration tests stand on: `database("name")` for a fresh database, `Tool::new(&db)` for the program.
#![allow(dead_code, unused_imports)] // A harness offers more than the tests of any one moment use.

mod database;
mod output;
mod pooler;
mod proxy;
mod replica;
mod running;
mod server;
mod small_disk;
mod tool;

pub use database::{Db, database, pg_dump_fits};
pub use output::Output;
pub use pooler::Pooler;
pub use proxy::{Fate, Frame, Path, Proxy, Verdict};
pub use replica::Replica;
pub use running::{Running, Signal};
pub use server::{block_on, cluster};
pub use small_disk::{SmallDisk, connect};
pub use tool::{Tool, repo_path};

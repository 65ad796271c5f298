//! The program: arguments in, an exit code out. Everything else is in the library.

use tenantmig::{cli, exit::Exit};

fn main() -> Exit {
    cli::main(std::env::args_os())
}

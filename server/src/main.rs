//! `quipd`: the server of Quip as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    quip_server::cli::main()
}

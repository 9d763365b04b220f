//! `quip`, the terminal client of Quip and its scriptable command. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    quip::cli::main(std::env::args_os())
}

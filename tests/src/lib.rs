//! What the integration tests and the load program share: real `quipd` and `quip` processes, and clients on them.
//!
//! The binaries are the ones beside the running program; `tests/run` builds them first.

pub mod cluster;
pub mod command;
pub mod copied;
pub mod middlebox;
pub mod network;
pub mod past;
pub mod person;
pub mod poll;
pub mod port;
pub mod process;
pub mod pty;
pub mod random;
pub mod server;
pub mod terminal;

pub use command::{Quip, Ran};
pub use middlebox::Middlebox;
pub use person::{identity, join, post_all};
pub use poll::{connected, eventually, within};
pub use random::Random;
pub use server::Server;
pub use terminal::Terminal;

use std::path::PathBuf;

/// A binary of this workspace, built with the same profile as the running program.
///
/// # Panics
/// When it was not built: run `tests/run`, or `cargo build --workspace --bins`.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a running program has a path");
    // target/PROFILE/quip-load, or target/PROFILE/deps/suite-HASH
    let path = here.ancestors().skip(1).map(|dir| dir.join(name)).find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{name} is not built: run cargo build --workspace --bins"))
}

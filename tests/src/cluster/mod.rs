//! What tests of a cluster share: what happened to it, and whether that may happen.

pub mod checker;
pub mod fault;
pub mod history;

pub use checker::{Verdict, check};
pub use fault::Fault;
pub use history::{Acked, Entry, History, NodeLog, Outcome, Reading, Seen, Sent};

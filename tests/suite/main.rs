//! Every integration test, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod commands;
mod crash;
mod hostile_text;
mod load;
mod offline;
mod refusals;
mod scripts;
mod search;
mod talk;
mod terminal;
mod threats;

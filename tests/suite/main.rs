//! Every integration test, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod background;
mod commands;
mod crash;
mod hostile_text;
mod load;
mod newcomer;
mod offline;
mod plain;
mod refusals;
mod scripts;
mod talk;
mod terminal;
mod threats;

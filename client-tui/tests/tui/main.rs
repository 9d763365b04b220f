//! The terminal client: its logic driven by keys and server inputs, its screens as text.
#![allow(clippy::unwrap_used, reason = "all of it is tests, also the functions that are not marked so")]

mod colours;
mod digests;
mod harness;
mod hostile;
mod local;
mod logic;
mod mentions;
mod older;
mod plain;
mod presence;
mod prompts;
mod random;
mod reading;
mod screens;
mod search;
mod servers;
mod trouble;
mod widths;

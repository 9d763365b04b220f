//! The terminal client: its logic driven by keys and server inputs, its screens as text.
#![allow(clippy::unwrap_used, reason = "all of it is tests, also the functions that are not marked so")]

mod colours;
mod digests;
mod gallery;
mod harness;
mod holes;
mod hostile;
mod local;
mod logic;
mod markers;
mod meanwhile;
mod mentions;
mod older;
mod plain;
mod presence;
mod prompts;
mod random;
mod reading;
mod runs;
mod screens;
mod search;
mod servers;
mod stain;
mod trouble;
mod watching;
mod widths;

//! Every integration test, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod background;
mod client_killed;
mod cluster;
mod commands;
mod crash;
mod damage;
mod deleted;
mod devices;
mod doors;
mod full_disk;
mod holes;
mod hostile_text;
mod large_rooms;
mod load;
#[cfg(target_os = "linux")]
mod networks;
mod newcomer;
mod offline;
mod plain;
mod prefetch;
mod presence;
mod rebuild;
mod refusals;
mod roaming;
mod running;
mod scripts;
mod search;
mod servers;
mod simulation;
mod storms;
mod talk;
mod terminal;
mod threats;

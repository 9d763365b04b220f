//! The engine as a table of what is allowed, as a property of random commands, and behind a real journal and store.

mod accounts;
mod commands;
mod consumers;
mod digest;
mod epochs;
mod feeds;
mod golden;
mod membership;
mod mending;
mod messages;
mod pipeline;
mod private;
mod property;
mod roles;
mod sessions;
mod shared;
mod tiers;
mod world;

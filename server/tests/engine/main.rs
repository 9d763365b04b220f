//! The engine as a table of what is allowed, as a property of random commands, and behind a real journal and store.

mod accounts;
mod commands;
mod consumers;
mod feeds;
mod membership;
mod messages;
mod pipeline;
mod private;
mod property;
mod roles;
mod sessions;
mod world;

//! Several nodes, and Redis, which they share.

mod contract;
mod driver;
mod failover;
mod likeness;
mod nodes;
mod roster;

//! Several nodes, and Redis, which they share.

mod contract;
mod driver;
mod likeness;
mod nodes;
mod roster;

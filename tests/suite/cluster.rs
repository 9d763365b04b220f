//! Several nodes, and Redis, which they share.

mod failover;
mod nodes;

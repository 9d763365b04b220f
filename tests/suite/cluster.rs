//! Several nodes, and Redis, which they share.

mod contract;

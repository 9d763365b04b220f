//! Every integration test, in one binary.

mod crash;
mod talk;

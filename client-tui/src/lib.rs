//! `quip`, the terminal client of Quip and its scriptable command.

pub mod app;
pub mod cli;
pub mod config;
pub mod owner;
pub mod shell;
pub mod syntax;
pub mod view;

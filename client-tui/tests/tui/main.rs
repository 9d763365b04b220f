//! The terminal client: its logic driven by keys and server inputs, its screens as text.

mod harness;
mod hostile;
mod logic;
mod random;
mod reading;
mod screens;

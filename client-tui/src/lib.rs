//! `quip`, the terminal client of Quip and its scriptable command.

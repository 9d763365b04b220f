//! Tests of journal and store together, against plain maps.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in its helpers as well")]

mod damage;
mod drive;
mod ids;
mod model;
mod pages;

//! The threats of a server whose door is open to everyone, one test a defence: without it the test fails.

mod budgets;
mod bytes;
mod crowd;
mod datagrams;
mod fuzz;
mod lifecycle;
mod overload;
mod pages;
mod raw;
mod rights;
mod unread;

//! Search over a replica: what is asked, and an index that finds it, which is a view and can be made again. Imports
//! the replica, and SQLite in `index` alone.

mod index;
mod query;
mod words;

pub use index::{Found, Index, SearchError, Seeker};
pub use query::{Query, Term};

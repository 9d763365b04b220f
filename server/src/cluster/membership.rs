//! To which cluster a data directory belongs, and what a start comes to by that. The rules are PURE; the file is
//! `DATA/cluster`. Imports names and the log's contract.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quip_protocol::{NodeName, Position};
use serde::{Deserialize, Serialize};

use crate::log::shared::contract::ClusterId;
use crate::ops::disk::{sync_dir, write_private};

/// The file's name in the data directory.
const FILE: &str = "cluster";

/// Of which cluster a data directory is a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub cluster: ClusterId,
    /// What the node is called there.
    pub node: NodeName,
    /// The directory itself, for ever: made at random.
    pub id: [u8; 16],
    /// Whether the cluster began with it. Its starts give the owner's code.
    pub founder: bool,
}

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    cluster: String,
    node: NodeName,
    id: String,
    founder: bool,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}, which says of which cluster this directory is: {source}", file.display())]
pub struct MembershipError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub source: io::Error,
}

impl Membership {
    /// What the directory says; nothing where it is no node of a cluster.
    ///
    /// # Errors
    /// When the file cannot be read, or is none.
    pub fn read(data_dir: &Path) -> Result<Option<Membership>, MembershipError> {
        let file = data_dir.join(FILE);
        let text = match fs::read_to_string(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(MembershipError { file, source }),
            Ok(text) => text,
        };
        let malformed = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let read = || -> io::Result<Membership> {
            let written: Written = toml::from_str(&text).map_err(|e| malformed(e.message()))?;
            let bytes = |hex: &str| from_hex(hex).ok_or_else(|| malformed("it is not 32 hexadecimal digits"));
            let (cluster, id) = (ClusterId(bytes(&written.cluster)?), bytes(&written.id)?);
            Ok(Membership { cluster, node: written.node, id, founder: written.founder })
        };
        read().map(Some).map_err(|source| MembershipError { file, source })
    }

    /// Writes it durably.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn write(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let written = Written {
            cluster: hex(self.cluster.0),
            node: self.node.clone(),
            id: hex(self.id),
            founder: self.founder,
        };
        let text = toml::to_string(&written).expect("names and digits can be written");
        let file = data_dir.join(FILE);
        write_private(&file, text.as_bytes()).map_err(|source| MembershipError { file, source })
    }

    /// The directory is no node of a cluster any more.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn remove(data_dir: &Path) -> Result<(), MembershipError> {
        let file = data_dir.join(FILE);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(MembershipError { file, source }),
            // Nor is it one after a power cut.
            _ => sync_dir(data_dir).map_err(|source| MembershipError { file, source }),
        }
    }
}

/// As operators read it.
pub fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// What a start comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// A single node.
    Alone,
    /// A single node from now on; the cluster may go on without it.
    Leave,
    /// A new cluster, which begins with what the directory has.
    Found {
        /// Where that ends.
        base: Position,
    },
    /// A new node of a cluster whose log Redis has lost: it is for those who have it to write it back.
    Await,
    /// A new node: everything comes from the others.
    Join(ClusterId),
    /// The node that it was.
    Stay(ClusterId),
}

/// Why a directory is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is a node of a cluster, and was started without one.
    #[error(
        "this data directory is node {node} of cluster {}: start it with --redis, or take it out of the cluster with --leave-cluster", hex(cluster.0)
    )]
    Clustered {
        /// Which node.
        node: NodeName,
        /// Of which cluster.
        cluster: ClusterId,
    },
    /// Both have a history, and they cannot be put together.
    #[error(
        "this data directory has a history of its own (up to {last}), and Redis has cluster {}: start with an empty --data-dir to join that, or name an empty Redis to found another cluster", hex(cluster.0)
    )]
    TwoHistories {
        /// Where the directory's ends.
        last: Position,
        /// Whose log Redis has.
        cluster: ClusterId,
    },
    /// It is of another one.
    #[error(
        "this data directory is of cluster {}, and Redis has cluster {}: name the right Redis, or start with an empty --data-dir", hex(ours.0), hex(theirs.0)
    )]
    Foreign {
        /// The directory's.
        ours: ClusterId,
        /// Redis'.
        theirs: ClusterId,
    },
    /// It has another name in its cluster.
    #[error("this data directory is node {is} of its cluster: start it with --node {is}, not {said}")]
    OtherName {
        /// What it is.
        is: NodeName,
        /// What was said.
        said: NodeName,
    },
}

/// How it is started.
#[derive(Debug, Clone, Copy)]
pub struct Started<'a> {
    /// As which node of a cluster; without one, alone.
    pub node: Option<&'a NodeName>,
    /// Whether it is to leave its cluster.
    pub leave: bool,
    /// Whether an empty directory may found a cluster: who was given a key was not, as it has it from a cluster, unless it
    /// is told to.
    pub may_found: bool,
}

/// What a start comes to: by how it is started, what the directory says, where its journal ends, and which cluster's log Redis
/// has.
///
/// # Errors
/// See [`Refused`].
pub fn plan(
    started: Started<'_>,
    file: Option<&Membership>,
    last: Position,
    there: Option<ClusterId>,
) -> Result<Plan, Refused> {
    match (started.node, file, there) {
        (None, None, _) => Ok(Plan::Alone),
        (None, Some(_), _) if started.leave => Ok(Plan::Leave),
        (None, Some(Membership { node, cluster, .. }), _) => {
            Err(Refused::Clustered { node: node.clone(), cluster: *cluster })
        }
        (Some(said), Some(Membership { node, .. }), _) if said != node => {
            Err(Refused::OtherName { is: node.clone(), said: said.clone() })
        }
        (Some(_), Some(Membership { cluster, .. }), Some(theirs)) if theirs != *cluster => {
            Err(Refused::Foreign { ours: *cluster, theirs })
        }
        (Some(_), Some(Membership { cluster, .. }), _) => Ok(Plan::Stay(*cluster)),
        (Some(_), None, None) if last == Position::ZERO && !started.may_found => Ok(Plan::Await),
        (Some(_), None, None) => Ok(Plan::Found { base: last }),
        (Some(_), None, Some(cluster)) if last == Position::ZERO => Ok(Plan::Join(cluster)),
        (Some(_), None, Some(cluster)) => Err(Refused::TwoHistories { last, cluster }),
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::Epoch;

    use super::*;

    const X: ClusterId = ClusterId([0xab; 16]);
    const Y: ClusterId = ClusterId([2; 16]);

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn of(cluster: ClusterId) -> Membership {
        Membership { cluster, node: name("a"), id: [3; 16], founder: true }
    }

    #[test]
    fn what_a_start_comes_to() {
        let history = Position { epoch: Epoch(3), offset: 9 };
        let (a, b) = (name("a"), name("b"));
        let alone = Started { node: None, leave: false, may_found: true };
        let leaves = Started { leave: true, ..alone };
        let (as_a, as_b) = (Started { node: Some(&a), ..alone }, Started { node: Some(&b), ..alone });
        let has_key = Started { may_found: false, ..as_a };
        let file = of(X);
        let table = [
            (alone, None, Position::ZERO, None, Ok(Plan::Alone)),
            (alone, None, history, None, Ok(Plan::Alone)),
            (leaves, None, history, None, Ok(Plan::Alone)),
            (alone, Some(&file), history, None, Err(Refused::Clustered { node: name("a"), cluster: X })),
            (leaves, Some(&file), history, None, Ok(Plan::Leave)),
            (as_a, None, Position::ZERO, None, Ok(Plan::Found { base: Position::ZERO })),
            (as_a, None, history, None, Ok(Plan::Found { base: history })),
            (has_key, None, Position::ZERO, None, Ok(Plan::Await)),
            (has_key, None, history, None, Ok(Plan::Found { base: history })),
            (has_key, None, Position::ZERO, Some(X), Ok(Plan::Join(X))),
            (has_key, Some(&file), Position::ZERO, None, Ok(Plan::Stay(X))),
            (as_a, None, Position::ZERO, Some(X), Ok(Plan::Join(X))),
            (as_a, None, history, Some(X), Err(Refused::TwoHistories { last: history, cluster: X })),
            (as_a, Some(&file), history, Some(X), Ok(Plan::Stay(X))),
            (as_a, Some(&file), Position::ZERO, Some(X), Ok(Plan::Stay(X))),
            (as_a, Some(&file), history, Some(Y), Err(Refused::Foreign { ours: X, theirs: Y })),
            (as_a, Some(&file), history, None, Ok(Plan::Stay(X))),
            (as_b, Some(&file), history, Some(X), Err(Refused::OtherName { is: name("a"), said: name("b") })),
        ];
        for (started, file, last, there, expected) in table {
            let planned = plan(started, file, last, there);
            if let Err(refused) = &planned {
                assert_eq!(refused.to_string().lines().count(), 1);
            }
            assert_eq!(planned, expected, "{started:?} {file:?} {last} {there:?}");
        }
        assert!(Refused::Foreign { ours: X, theirs: Y }.to_string().contains(&"ab".repeat(16)));
    }

    #[test]
    fn what_was_written_is_read_and_what_is_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Membership::read(dir.path()).unwrap(), None);
        of(X).write(dir.path()).unwrap();
        assert_eq!(Membership::read(dir.path()).unwrap(), Some(of(X)));
        Membership::remove(dir.path()).unwrap();
        Membership::remove(dir.path()).unwrap();
        assert_eq!(Membership::read(dir.path()).unwrap(), None);
        for wrong in ["", "cluster = 1", "cluster = \"ä\"\nnode = \"a\"\nid = \"0\"\nfounder = true"] {
            fs::write(dir.path().join(FILE), wrong).unwrap();
            let error = Membership::read(dir.path()).unwrap_err().to_string();
            assert!(error.lines().count() == 1 && error.contains("of which cluster"), "{error}");
        }
    }
}

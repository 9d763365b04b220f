//! The nodes of a cluster, as they were told last: where a server can be found when the address that was joined is dead.
//! They are told by a node that was trusted, and so are their keys. A file for each server, which may be lost.

use std::fs;
use std::path::Path;

use quip_protocol::{Address, Fingerprint, NodeAddress, NodeName, NodeSummary};
use serde::{Deserialize, Serialize};

use super::{ConfigError, write_atomically};

const HEAD: &str = "# The nodes of this cluster, as one of them told them last.\n\n";

/// The nodes in the file; none if there is no file, or if it cannot be read.
pub fn load(path: &Path) -> Vec<NodeAddress> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    parse(&text).unwrap_or_else(|reason| {
        tracing::warn!(path = %path.display(), reason, "the nodes of a cluster are not known until one tells them");
        Vec::new()
    })
}

/// Writes them down, as a whole, if they are others than before. Those of a server alone are none.
///
/// # Errors
/// When they cannot be written.
pub fn keep(path: &Path, nodes: &[NodeSummary]) -> Result<(), ConfigError> {
    let nodes: Vec<&NodeAddress> = nodes.iter().map(|summary| &summary.node).collect();
    // In the order of their names: which of them said so is no news.
    let mut nodes = nodes;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    if nodes.iter().copied().eq(&load(path)) {
        return Ok(());
    }
    let file = File { node: nodes.into_iter().map(Entry::from).collect() };
    let text = toml::to_string(&file).expect("strings are always TOML");
    write_atomically(path, format!("{HEAD}{text}").as_bytes())
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default)]
    node: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: NodeName,
    address: String,
    fingerprint: String,
}

impl From<&NodeAddress> for Entry {
    fn from(node: &NodeAddress) -> Entry {
        let NodeAddress { name, address, fingerprint } = node;
        Entry { name: name.clone(), address: address.to_string(), fingerprint: fingerprint.to_string() }
    }
}

fn parse(text: &str) -> Result<Vec<NodeAddress>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    file.node.into_iter().map(Entry::parsed).collect()
}

impl Entry {
    fn parsed(self) -> Result<NodeAddress, String> {
        let address: Address =
            self.address.parse().map_err(|_| format!("{:?} is no address", self.address))?;
        let fingerprint: Fingerprint =
            self.fingerprint.parse().map_err(|_| format!("{:?} is no fingerprint", self.fingerprint))?;
        Ok(NodeAddress { name: self.name, address, fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(name: &str, byte: u8) -> NodeSummary {
        let address = Address::new(format!("{name}.example"), 7847).unwrap();
        let node = NodeAddress { name: name.parse().unwrap(), address, fingerprint: Fingerprint([byte; 32]) };
        NodeSummary { node, connections: byte.into(), draining: false }
    }

    #[test]
    fn nodes_are_read_as_they_were_written_and_only_news_is_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("nodes/a.toml");
        assert_eq!(load(&path), []);
        keep(&path, &[]).unwrap();
        assert!(!path.exists(), "a server alone leaves no file");
        let two = [summary("b", 2), summary("a", 1)];
        keep(&path, &two).unwrap();
        assert_eq!(load(&path), [two[1].node.clone(), two[0].node.clone()]);
        let written = || fs::metadata(&path).unwrap().modified().unwrap();
        let before = written();
        let mut busier = [summary("a", 1), summary("b", 2)];
        busier[0].connections = 99;
        keep(&path, &busier).unwrap();
        assert_eq!(written(), before, "loads are no news");
        keep(&path, &two[..1]).unwrap();
        assert_eq!(load(&path), [two[0].node.clone()]);
        keep(&path, &[]).unwrap();
        assert_eq!(load(&path), []);
    }

    #[test]
    fn what_is_damaged_is_not_believed() {
        let fp = Fingerprint([7; 32]);
        let table = [
            "node = 1".to_owned(),
            "[[node]]\nname = 'a'\naddress = 'a b'\nfingerprint = 'x'".to_owned(),
            "[[node]]\nname = 'a'\naddress = 'a:1'\nfingerprint = 'x'".to_owned(),
            format!("[[node]]\nname = '\u{1b}'\naddress = 'a:1'\nfingerprint = '{fp}'"),
        ];
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.toml");
        for text in table {
            assert!(parse(&text).is_err(), "{text:?}");
            fs::write(&path, text).unwrap();
            assert_eq!(load(&path), []);
        }
    }
}

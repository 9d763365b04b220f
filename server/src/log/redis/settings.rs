//! What Redis is set to keep, and what that can lose: one line for the operator at the start.

use std::time::Duration;

use redis::Value;
use tracing::{info, warn};

use super::address::Address;
use super::connection::Connection;
use super::scripts::{list, string};
use crate::log::shared::contract::Lost;

/// The settings that decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    appendonly: String,
    appendfsync: String,
    maxmemory: String,
    policy: String,
    replicas: u32,
    min_replicas: String,
}

/// What Redis can lose, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In one line.
    pub line: String,
    /// Whether the operator must do something about it.
    pub is_alarming: bool,
}

/// Looks at the settings.
pub async fn look(address: Address) -> Verdict {
    let shown = address.to_string();
    match read(&mut Connection::new(address)).await {
        Ok(settings) => {
            let is_alarming = settings.evicts() || settings.refuses();
            Verdict { line: format!("{shown} {}", says(&settings)), is_alarming }
        }
        Err(Lost(e)) => {
            let line = format!("what {shown} can lose is not known, for its settings cannot be read: {e}");
            Verdict { line, is_alarming: false }
        }
    }
}

/// Looks at the settings, and tells them.
pub async fn tell(address: Address) {
    match look(address).await {
        Verdict { line, is_alarming: true } => warn!("{line}"),
        Verdict { line, .. } => info!("{line}"),
    }
}

async fn read(connection: &mut Connection) -> Result<Settings, Lost> {
    let info = connection.command(redis::cmd("INFO").arg("replication"), Duration::ZERO).await?;
    let info = string(info).unwrap_or_default();
    let replicas = info.lines().find_map(|line| line.strip_prefix("connected_slaves:"));
    Ok(Settings {
        appendonly: setting(connection, "appendonly").await?,
        appendfsync: setting(connection, "appendfsync").await?,
        maxmemory: setting(connection, "maxmemory").await?,
        policy: setting(connection, "maxmemory-policy").await?,
        min_replicas: setting(connection, "min-replicas-to-write").await?,
        replicas: replicas.and_then(|count| count.trim().parse().ok()).unwrap_or(0),
    })
}

async fn setting(connection: &mut Connection, name: &str) -> Result<String, Lost> {
    let found: Value = connection.command(redis::cmd("CONFIG").arg("GET").arg(name), Duration::ZERO).await?;
    let value = list(found).and_then(|pair| string(pair.into_iter().nth(1)?));
    value.ok_or_else(|| Lost(format!("it does not know {name}")))
}

impl Settings {
    /// Whether it throws entries away to make room.
    fn evicts(&self) -> bool {
        self.maxmemory != "0" && self.policy != "noeviction"
    }

    /// Whether it refuses to write until it has more replicas.
    fn refuses(&self) -> bool {
        self.min_replicas.parse().is_ok_and(|min_replicas: u32| self.replicas < min_replicas)
    }
}

fn says(settings: &Settings) -> String {
    let Settings { appendonly, appendfsync, policy, replicas, min_replicas, .. } = settings;
    let crash = match (appendonly.as_str(), appendfsync.as_str()) {
        ("yes", "always") => "loses nothing when it crashes (appendfsync always)",
        ("yes", "everysec") => {
            "can lose its last two seconds when its machine crashes (appendfsync everysec)"
        }
        ("yes", _) => "can lose its last minute when its machine crashes (appendfsync no)",
        _ => "loses its whole log when it stops (appendonly no)",
    };
    let failover = match (*replicas, min_replicas.as_str()) {
        _ if settings.refuses() => format!(
            "; it takes nothing now, for {min_replicas} replicas must be in touch (min-replicas-to-write) and {replicas} are"
        ),
        (0, _) => "; it has no replica".into(),
        (_, "0") => format!(
            "; replicas: {replicas}, which at a failover can lack what came last (min-replicas-to-write 0)"
        ),
        _ => format!("; replicas: {replicas}, of which {min_replicas} must be in touch, or it takes nothing"),
    };
    let evicts = match settings.evicts() {
        true => {
            format!("; it may throw the log away to make room: set maxmemory-policy noeviction, not {policy}")
        }
        false => String::new(),
    };
    format!(
        "{crash}{failover}{evicts}; what it loses the nodes write back from their journals, so that a message is lost only if the disk of the node that took it is lost as well"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_can_be_lost() {
        let table = [
            (["yes", "always", "0", "allkeys-lru", "0"], 0, "nothing when it crashes"),
            (["yes", "everysec", "0", "noeviction", "0"], 0, "last two seconds"),
            (["yes", "no", "0", "noeviction", "0"], 0, "last minute"),
            (["no", "everysec", "0", "noeviction", "0"], 0, "whole log"),
            (["yes", "always", "0", "noeviction", "0"], 2, "at a failover"),
            (["yes", "always", "0", "noeviction", "1"], 2, "1 must be in touch"),
            (["yes", "always", "0", "noeviction", "1"], 0, "takes nothing now"),
            (["yes", "always", "0", "noeviction", "0"], 0, "has no replica"),
            (["yes", "always", "1000", "allkeys-lru", "0"], 0, "set maxmemory-policy noeviction"),
        ];
        for ([appendonly, appendfsync, maxmemory, policy, min_replicas], replicas, says) in table {
            let settings = Settings {
                appendonly: appendonly.into(),
                appendfsync: appendfsync.into(),
                maxmemory: maxmemory.into(),
                policy: policy.into(),
                replicas,
                min_replicas: min_replicas.into(),
            };
            let line = super::says(&settings);
            assert!(line.contains(says) && line.lines().count() == 1, "{line}");
            assert_eq!(line.contains("throw"), settings.evicts(), "{line}");
            assert_eq!(line.contains("nothing now"), settings.refuses(), "{line}");
        }
    }
}

//! Two real nodes on one real Redis, each to be killed, stopped or held.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use quip_protocol::ServerLink;
use quip_tests::{binary, eventually};
use tempfile::TempDir;

/// 32 bytes in base64, the same for both.
const KEY: &str = "cXVpcC10ZXN0cy1xdWlwLXRlc3RzLXF1aXAtdGVzdHM=";

/// A process that is killed when it is dropped.
pub struct Held(Child);

impl Held {
    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {pid}");
    }

    /// Its exit code, once it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        eventually("it ends", || self.0.try_wait().unwrap()).code()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One node.
pub struct Node {
    /// Its process.
    pub process: Held,
    /// Where it is.
    pub link: ServerLink,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn start(name: &str, dir: &Path, redis: u16) -> Node {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (address, url) = (format!("127.0.0.1:{port}"), format!("redis://127.0.0.1:{redis}"));
        let log = OpenOptions::new().create(true).append(true).open(dir.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(binary("quipd"));
        command.args(["--listen", &address, "--advertise", &address, "--redis", &url, "--node", name]);
        command.arg("--data-dir").arg(dir.join(name)).arg("--cluster-key").arg(dir.join("cluster.key"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let process = Held(process);
        let link = said(&mut lines, "ready ", dir, name);
        Node { process, link, lines }
    }
}

fn said(lines: &mut Lines<BufReader<ChildStdout>>, prefix: &str, dir: &Path, name: &str) -> ServerLink {
    let line = lines.next().and_then(Result::ok).unwrap_or_default();
    let link = line.strip_prefix(prefix).and_then(|link| link.trim().parse().ok());
    let log = || std::fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
    link.unwrap_or_else(|| panic!("no {prefix}line but {line:?}: {}", log()))
}

/// Both nodes, and their Redis.
pub struct Nodes {
    /// The first, and the second.
    pub nodes: [Node; 2],
    /// Redis.
    pub redis: Held,
    /// The link of the first owner.
    pub owner: ServerLink,
    dir: TempDir,
}

impl Nodes {
    /// Starts them: `a`, then `b`.
    pub fn start() -> Nodes {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("cluster.key");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(key);
        writeln!(file.unwrap(), "{KEY}").unwrap();
        let (redis, port) = start_redis(dir.path());
        let mut a = Node::start("a", dir.path(), port);
        let owner = said(&mut a.lines, "owner ", dir.path(), "a");
        let b = Node::start("b", dir.path(), port);
        Nodes { nodes: [a, b], redis, owner, dir }
    }

    /// The one of this name.
    pub fn node(&mut self, name: &str) -> &mut Node {
        &mut self.nodes[usize::from(name == "b")]
    }

    /// What an operator's command on a node's directory prints.
    pub fn admin(&self, name: &str, args: &[&str]) -> String {
        let data: PathBuf = self.dir.path().join(name);
        let output = Command::new(binary("quipd")).args(args).arg("--data-dir").arg(data).output().unwrap();
        assert!(output.status.success(), "quipd {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn start_redis(dir: &Path) -> (Held, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", "always", "--dir"]).arg(dir);
    let redis = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let redis = Held(redis.expect("redis-server is installed"));
    eventually("Redis listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    (redis, port)
}

//! A real `quipd` that is a node of a cluster, in a folder of its own: started without waiting for it, because what it waits for
//! may be away.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use quip_protocol::{NodeName, ServerLink};

use crate::binary;
use crate::network::Machine;
use crate::poll::{DEADLINE, eventually};
use crate::port;

/// Limits are what other tests test; here they would be in the way.
const CONFIG: &str = "disk_reserve_mib = 16
http = \"127.0.0.1:0\"
[limits]
connections = 40000
connections_per_address = 40000
requests_in_flight = 5000
burst_messages = 1000000
messages_per_second = 1000000
code_attempts = 1000000
makings = 1000000
";

/// A node, killed when it is dropped. Its folder stays.
#[derive(Debug)]
pub struct Node {
    /// What it is called.
    pub name: NodeName,
    folder: PathBuf,
    /// `--redis`, `--node` and whatever else makes it one of a cluster; may be changed for its next start.
    pub arguments: Vec<String>,
    machine: Machine,
    address: Ipv4Addr,
    port: u16,
    process: Option<Child>,
    /// Lines of its stdout.
    stdout: Receiver<String>,
}

impl Node {
    /// One of the cluster whose key is in this file, not started. Its folder is made in `parent`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn new(parent: &Path, name: &str, redis: &str, key: &Path) -> Node {
        let mut node = Node::alone(parent, name);
        node.enter(redis, key);
        node
    }

    /// From its next start on it is a node of the cluster whose key is in this file.
    ///
    /// # Panics
    /// When the file's path is not text.
    pub fn enter(&mut self, redis: &str, key: &Path) {
        let key = key.to_str().expect("a path of tests is text");
        let advertise = format!("{}:{}", self.address, self.port);
        let arguments =
            ["--redis", redis, "--node", self.name.as_str(), "--advertise", &advertise, "--cluster-key", key];
        self.arguments = arguments.map(str::to_owned).into();
        // In a network namespace it is another machine.
        self.arguments.push("--redis-insecure".into());
    }

    /// It is on this machine; before it enters a cluster.
    pub fn place(&mut self, machine: Machine, address: Ipv4Addr) {
        (self.machine, self.address) = (machine, address);
    }

    /// One of no cluster, not started.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn alone(parent: &Path, name: &str) -> Node {
        let folder = parent.join(name);
        fs::create_dir_all(&folder).expect("a folder for the node");
        fs::write(folder.join("quipd.toml"), CONFIG).expect("a configuration file");
        let name = name.parse().expect("a name of a node");
        let (_, stdout) = channel();
        let (machine, address) = (Machine::default(), Ipv4Addr::LOCALHOST);
        Node {
            name,
            folder,
            arguments: Vec::new(),
            machine,
            address,
            port: port::free(),
            process: None,
            stdout,
        }
    }

    /// Starts it. It may have to wait for Redis before it serves.
    ///
    /// # Panics
    /// When it runs, or there is no `quipd`.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.folder.join("log"));
        let mut command = self.machine.command(binary("quipd"));
        command.args(["--listen", &format!("{}:{}", self.address, self.port)]).args(&self.arguments);
        command.arg("--data-dir").arg(self.data_dir()).arg("--config").arg(self.folder.join("quipd.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.expect("a log file"));
        let mut process = command.spawn().expect("quipd starts");
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let (sender, stdout) = channel();
        // Ends with the process, or with the node.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        (self.process, self.stdout) = (Some(process), stdout);
    }

    /// Waits until it serves; its link.
    ///
    /// # Panics
    /// When it does not, with what it logged.
    pub fn ready(&self) -> ServerLink {
        self.line("ready ")
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// As [`Node::ready`].
    pub fn started(&mut self) -> ServerLink {
        self.start();
        self.ready()
    }

    /// The link of the first owner, which follows on `ready` as long as nobody has an account.
    ///
    /// # Panics
    /// When there is none.
    pub fn owner(&self) -> ServerLink {
        self.line("owner ")
    }

    fn line(&self, prefix: &str) -> ServerLink {
        let line = self.stdout.recv_timeout(DEADLINE).unwrap_or_default();
        let link = line.strip_prefix(prefix).and_then(|link| link.trim().parse().ok());
        link.unwrap_or_else(|| panic!("{}: no {prefix}line but {line:?}: {}", self.name, self.log()))
    }

    /// Starts it and waits until it has refused to serve; why, in the one line that it says it in.
    ///
    /// # Panics
    /// When it does not end, or with 0.
    pub fn refused(&mut self) -> String {
        self.start();
        assert!(!self.ended(), "{} ended with 0: {}", self.name, self.log());
        self.log().lines().last().unwrap_or_default().to_owned()
    }

    /// kill -9; if it does not run, nothing.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child can be killed");
            process.wait().expect("a killed child ends");
        }
    }

    /// Whether it was started and ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(Some(_))))
    }

    /// SIGTERM, and waits. Returns whether it ended with 0.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it ends by itself. Returns whether it ended with 0.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn ended(&mut self) -> bool {
        let process = self.process.as_mut().expect("it runs");
        let status = eventually("the node ends", || process.try_wait().expect("its status"));
        self.process = None;
        status.success()
    }

    /// Sends a signal by name.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there");
        assert!(sent.success(), "kill -s {name} {pid}");
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Its port, which it keeps.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it logged so far, in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Runs another `quipd` command on its data directory; returns stdout.
    ///
    /// # Panics
    /// When it fails.
    pub fn admin(&self, args: &[&str]) -> String {
        let mut command = Command::new(binary("quipd"));
        let output = command.args(args).arg("--data-dir").arg(self.data_dir()).output().expect("quipd runs");
        assert!(output.status.success(), "quipd {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("quipd prints UTF-8")
    }

    /// A new invite, of so many uses.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn invite(&self, uses: usize) -> ServerLink {
        let printed = self.admin(&["invite", "--uses", &uses.to_string()]);
        printed.trim().parse().expect("quipd invite prints a link")
    }
}

impl Drop for Node {
    #[allow(clippy::print_stderr, reason = "a test that failed shows it")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what node {} logged:\n{}", self.name, self.log());
        }
        self.kill();
    }
}

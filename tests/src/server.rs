//! A real `quipd` process on a directory of its own, to be asked, stopped and killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use quip_protocol::ServerLink;
use tempfile::TempDir;

use crate::binary;
use crate::network::Machine;
use crate::poll::{DEADLINE, eventually};
use crate::port;

/// A server, killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    /// A file system of its own, to be unmounted.
    mounted: Option<PathBuf>,
    config: Option<PathBuf>,
    machine: Machine,
    process: Child,
    /// Lines of its stdout.
    stdout: Receiver<String>,
    /// `quip://127.0.0.1:PORT/?fp=…`
    pub link: ServerLink,
    /// The link of the first owner, on the first start.
    pub owner: Option<ServerLink>,
}

impl Server {
    /// Starts a new server on a port of its own.
    pub fn start() -> Server {
        Server::with_config("")
    }

    /// Starts a new server with this configuration file.
    pub fn with_config(toml: &str) -> Server {
        let dir = tempfile::tempdir().expect("a directory for the server");
        Server::begin(Machine::default(), &here(), dir, None, toml)
    }

    /// Starts a new server at this machine, that listens there.
    pub fn on(machine: Machine, listen: &str) -> Server {
        let dir = tempfile::tempdir().expect("a directory for the server");
        Server::begin(machine, listen, dir, None, "")
    }

    /// Starts a new server on a data directory that was used, but that nobody has an account on.
    pub fn in_directory(data: TempDir) -> Server {
        let dir = tempfile::tempdir().expect("a directory for the server");
        std::fs::rename(data.keep(), dir.path().join("data")).expect("the directory can be moved");
        Server::begin(Machine::default(), &here(), dir, None, "")
    }

    fn begin(machine: Machine, listen: &str, dir: TempDir, mounted: Option<PathBuf>, toml: &str) -> Server {
        let config = (!toml.is_empty()).then(|| dir.path().join("quipd.toml"));
        if let Some(path) = &config {
            std::fs::write(path, toml).expect("a configuration file");
        }
        let (process, stdout, link) = spawn(&machine, dir.path(), config.as_deref(), listen, &[]);
        let mut server = Server { dir, mounted, config, machine, process, stdout, link, owner: None };
        server.owner = Some(server.next_owner());
        server
    }

    /// Starts a new server whose data directory has a file system of its own of this size, where that can be mounted.
    /// Says whether it has.
    pub fn on_small_disk(mib: u32, toml: &str) -> (Server, bool) {
        let dir = tempfile::tempdir().expect("a directory for the server");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("a data directory");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "quip-test"])
            .arg(&data)
            .stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        (Server::begin(Machine::default(), &here(), dir, mounted.then_some(data), toml), mounted)
    }

    /// Writes another configuration file, for its next start.
    pub fn write_config(&self, toml: &str) {
        let path = self.config.as_ref().expect("it was started with a configuration file");
        std::fs::write(path, toml).expect("a configuration file");
    }

    /// Writes another configuration file and has it read.
    pub fn reconfigure(&self, toml: &str) {
        self.write_config(toml);
        self.signal("HUP");
    }

    /// What `path` answers over HTTP: status and body. The configuration has `http = "127.0.0.1:0"`.
    pub fn http(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let told = log.lines().rev().find_map(|line| line.split_once("metrics and health address="));
        let address = told.expect("it serves HTTP").1.trim();
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: quip\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// Starts it again after [`Server::kill`] or [`Server::stop`], on the same port and directory.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same with this in its environment.
    pub fn restart_with(&mut self, env: &[(&str, &str)]) {
        let address = format!("127.0.0.1:{}", self.link.port);
        let (process, stdout, link) =
            spawn(&self.machine, self.dir.path(), self.config.as_deref(), &address, env);
        assert_eq!(link.fingerprint, self.link.fingerprint, "a restart keeps the server's key");
        (self.process, self.stdout) = (process, stdout);
    }

    /// Starts it again after its certificate was removed: it makes a new key. Returns the new link.
    pub fn restart_with_new_key(&mut self) -> ServerLink {
        let address = format!("127.0.0.1:{}", self.link.port);
        let (process, stdout, link) =
            spawn(&self.machine, self.dir.path(), self.config.as_deref(), &address, &[]);
        (self.process, self.stdout, self.link) = (process, stdout, link);
        self.link.clone()
    }

    /// The owner's link that a start prints as long as nobody has an account.
    pub fn next_owner(&mut self) -> ServerLink {
        self.line("owner ")
    }

    /// Its configuration file, if it was given one.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill().expect("the server can be killed");
        self.process.wait().expect("a killed server ends");
    }

    /// Waits until it ends by itself; its exit code, -1 for a signal.
    pub fn ended(&mut self) -> i32 {
        let status = eventually("the server ends", || self.process.try_wait().expect("its status"));
        status.code().unwrap_or(-1)
    }

    /// SIGTERM, and waits. Returns whether it ended with 0.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        eventually("the server stops on SIGTERM", || self.process.try_wait().expect("its status")).success()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there");
        assert!(sent.success(), "kill -s {name} {pid}");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
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

    /// A new invite.
    pub fn invite(&self, args: &[&str]) -> ServerLink {
        let printed = self.admin(&[&["invite"], args].concat());
        printed.trim().parse().expect("quipd invite prints a link")
    }

    /// What it printed behind what was read, once it is killed.
    pub fn rest_of_stdout(&mut self) -> String {
        self.kill();
        self.stdout.iter().collect()
    }

    fn line(&mut self, prefix: &str) -> ServerLink {
        let line = self.stdout.recv_timeout(DEADLINE).unwrap_or_default();
        let link = line
            .strip_prefix(prefix)
            .unwrap_or_else(|| panic!("no {prefix}line but {line:?}: {}", self.log()));
        link.trim().parse().expect("the server prints a link")
    }
}

impl Drop for Server {
    #[allow(clippy::print_stderr, reason = "a test that failed shows it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what {} logged:\n{}", self.link.address(), self.log());
        }
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(mounted) = &self.mounted {
            let _ = Command::new("umount").arg(mounted).status();
        }
    }
}

/// Where a server listens that may be started again.
fn here() -> String {
    format!("127.0.0.1:{}", port::free())
}

fn spawn(
    machine: &Machine,
    dir: &Path,
    config: Option<&Path>,
    listen: &str,
    env: &[(&str, &str)],
) -> (Child, Receiver<String>, ServerLink) {
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log file");
    let mut command = machine.command(binary("quipd"));
    command.args(["--listen", listen, "--data-dir"]).arg(dir.join("data")).envs(env.iter().copied());
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("quipd starts");
    let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
    let (sender, stdout) = channel();
    // Ends with the process, or with the test.
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let line = stdout.recv_timeout(DEADLINE).unwrap_or_default();
    let link = line.strip_prefix("ready ").map(|link| link.trim().parse());
    match link {
        Some(Ok(link)) => (process, stdout, link),
        _ => panic!(
            "quipd is not ready: {line:?} {}",
            std::fs::read_to_string(dir.join("log")).unwrap_or_default()
        ),
    }
}

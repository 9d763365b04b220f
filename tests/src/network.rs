//! Two machines with networks of their own: Linux namespaces, and cables between them that are replaced. Everything else
//! of this machine they share, but for the names that they know.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Where the server is, whichever cable leads to it.
pub const SERVER: &str = "10.9.9.9";

/// How a machine is made beside nothing, and how one is entered.
#[derive(Debug)]
struct Way {
    make: &'static [&'static str],
    enter: &'static [&'static str],
}

/// Without root, where user namespaces are allowed.
const AS_ANYBODY: Way =
    Way { make: &["--user", "--map-root-user"], enter: &["--user", "--preserve-credentials"] };
const AS_ROOT: Way = Way { make: &[], enter: &[] };
/// Its first program: it knows the names of a file, says that it is there, and lasts as long as its input.
const FIRST: &str = r#"mount --bind "$1" /etc/hosts && ip link set lo up && echo ready && exec cat"#;

/// Where a program runs.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The words before each command; none on this machine itself.
    enter: Vec<String>,
}

impl Machine {
    /// A program on it, to be changed and run. It has the process id that is told.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some((enter, args)) = self.enter.split_first() else { return Command::new(program) };
        let mut command = Command::new(enter);
        command.args(args).arg(program);
        command
    }

    /// Changes its network, with `ip` and these words.
    ///
    /// # Panics
    /// When that fails.
    pub fn ip(&self, words: &str) {
        let output = self.command("ip").args(words.split(' ')).output().expect("ip is installed");
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Two machines.
#[derive(Debug)]
pub struct Network {
    /// Where a client is to run.
    pub laptop: Machine,
    /// Where the server is to run.
    pub server: Machine,
    /// What is told of names, on both.
    hosts: PathBuf,
    laptop_pid: u32,
    first: [Child; 2],
    _dir: TempDir,
}

impl Network {
    /// Two machines without a cable.
    ///
    /// # Panics
    /// When this system gives nobody a network namespace; it says what is missing.
    pub fn new() -> Network {
        let dir = tempfile::tempdir().expect("a directory");
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n").expect("a file of names");
        let (first, server, enter) = server(&hosts).unwrap_or_else(|why| panic!("{why}"));
        let (second, laptop) =
            begin(&server, &Way { make: &[], enter }, &hosts).expect("a second machine beside the first");
        server.ip(&format!("addr add {SERVER}/32 dev lo"));
        let laptop_pid = second.id();
        Network { laptop, server, hosts, laptop_pid, first: [first, second], _dir: dir }
    }

    /// Plugs in cable `number`: the laptop is 10.NUMBER.0.2 now, and finds the server over 10.NUMBER.0.1.
    pub fn plug(&self, number: u8) {
        let pid = self.laptop_pid;
        self.server.ip(&format!("link add s{number} type veth peer name l{number} netns {pid}"));
        self.server.ip(&format!("addr add 10.{number}.0.1/24 dev s{number}"));
        self.server.ip(&format!("link set s{number} up"));
        self.laptop.ip(&format!("addr add 10.{number}.0.2/24 dev l{number}"));
        self.raise(number);
    }

    /// The laptop's end of that cable is up, and the way to the server known.
    pub fn raise(&self, number: u8) {
        self.laptop.ip(&format!("link set l{number} up"));
        self.laptop.ip(&format!("route replace {SERVER}/32 via 10.{number}.0.1"));
    }

    /// Takes that cable away.
    pub fn unplug(&self, number: u8) {
        self.laptop.ip(&format!("link del l{number}"));
    }

    /// From now on this name is at this address.
    pub fn name(&self, name: &str, address: &str) {
        // In place: the file is mounted.
        std::fs::write(&self.hosts, format!("127.0.0.1 localhost\n{address} {name}\n"))
            .expect("a file of names");
    }
}

impl Default for Network {
    fn default() -> Self {
        Network::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for first in &mut self.first {
            let _ = first.kill();
            let _ = first.wait();
        }
    }
}

/// The first machine, in whichever way is permitted, and how it is entered.
fn server(hosts: &Path) -> Result<(Child, Machine, &'static [&'static str]), String> {
    let mut failed = Vec::new();
    for way in [AS_ANYBODY, AS_ROOT] {
        match begin(&Machine::default(), &way, hosts) {
            Ok((first, machine)) => return Ok((first, machine, way.enter)),
            Err(why) => failed.push(format!("unshare {}: {why}", way.make.join(" "))),
        }
    }
    Err(format!(
        "this system gives no network namespace to this test: it needs root (CAP_SYS_ADMIN), or user namespaces \
         (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns), and ip of iproute2: {}",
        failed.join("; ")
    ))
}

/// Begins a machine beside `from`.
fn begin(from: &Machine, way: &Way, hosts: &Path) -> Result<(Child, Machine), String> {
    let mut command = from.command("unshare");
    command.args(way.make).args(["--net", "--mount", "sh", "-c", FIRST, "sh"]).arg(hosts);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut first = command.spawn().map_err(|error| error.to_string())?;
    let mut said = String::new();
    let stdout = first.stdout.take().expect("stdout is piped");
    // What ends before it says anything is at the end of its output.
    BufReader::new(stdout).read_line(&mut said).map_err(|error| error.to_string())?;
    if said.trim() != "ready" {
        let output = first.wait_with_output().map_err(|error| error.to_string())?;
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let target = format!("--target={}", first.id());
    let words = ["nsenter", &target, "--net", "--mount"].into_iter().chain(way.enter.iter().copied());
    Ok((first, Machine { enter: words.map(str::to_owned).collect() }))
}

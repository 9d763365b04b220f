//! A machine with a network of its own: a Linux network namespace, which lasts as long as its first program.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How a machine is made beside nothing, and how one is entered.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) make: &'static [&'static str],
    pub(super) enter: &'static [&'static str],
}

/// Without root, where user namespaces are allowed.
const AS_ANYBODY: Way =
    Way { make: &["--user", "--map-root-user"], enter: &["--user", "--preserve-credentials"] };
/// As root, on this system or in a user namespace.
pub(super) const AS_ROOT: Way = Way { make: &[], enter: &[] };
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

    /// The same machine, whose programs are killed when the thread ends that started them, however it ends.
    pub(super) fn while_watched(mut self) -> Machine {
        self.enter.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        self
    }

    /// Changes its network, with `ip` and these words.
    ///
    /// # Panics
    /// When that fails.
    pub fn ip(&self, words: &str) {
        self.try_ip(words).unwrap_or_else(|why| panic!("{why}"));
    }

    pub(super) fn try_ip(&self, words: &str) -> Result<(), String> {
        self.run(&[&["ip"], &*words.split(' ').collect::<Vec<_>>()].concat())
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, words: &[&str]) -> Result<(), String> {
        let (program, args) = words.split_first().ok_or("no command")?;
        let output = self.command(program).args(args).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let why = || format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        if output.status.success() { Ok(()) } else { Err(why()) }
    }
}

/// The first machine, in whichever way is permitted, and how it is entered.
pub(super) fn first(hosts: &Path) -> Result<(Child, Machine, &'static [&'static str]), String> {
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
pub(super) fn begin(from: &Machine, way: &Way, hosts: &Path) -> Result<(Child, Machine), String> {
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

//! A real redis-server on a free port: started, killed, stopped in its tracks, set back to what it was, emptied.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::network::Machine;
use crate::poll::eventually;
use crate::port;

/// When Redis makes durable what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before it answers.
    Always,
    /// Once a second.
    EverySecond,
}

/// A server, killed when it is dropped. Its files go with it.
#[derive(Debug)]
pub struct Redis {
    dir: TempDir,
    machine: Machine,
    address: Ipv4Addr,
    port: u16,
    fsync: Fsync,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// Its files as they were.
#[derive(Debug)]
pub struct Saved(TempDir);

impl Redis {
    /// Starts one that makes all durable before it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`; `tests/run` installs it.
    pub fn start() -> Redis {
        Redis::with(Fsync::Always, &[])
    }

    /// Starts one with these arguments too.
    ///
    /// # Panics
    /// When there is no `redis-server`; `tests/run` installs it.
    pub fn with(fsync: Fsync, arguments: &[&str]) -> Redis {
        Redis::begin(Machine::default(), Ipv4Addr::LOCALHOST, fsync, arguments)
    }

    /// Starts one that makes all durable before it answers, on this machine.
    ///
    /// # Panics
    /// When there is no `redis-server`; `tests/run` installs it.
    pub fn on(machine: Machine, address: Ipv4Addr) -> Redis {
        // Without a password it answers its own machine alone, unless it is told to.
        Redis::begin(machine, address, Fsync::Always, &["--protected-mode", "no"])
    }

    fn begin(machine: Machine, address: Ipv4Addr, fsync: Fsync, arguments: &[&str]) -> Redis {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let dir = tempfile::tempdir().expect("a directory of one's own can be made");
        let mut redis = Redis { dir, machine, address, port: port::free(), fsync, arguments, child: None };
        redis.run();
        redis
    }

    /// Starts one that has what `of` has, some moments later.
    pub fn replica(of: &Redis) -> Redis {
        let port = of.port.to_string();
        let replica = Redis::with(Fsync::Always, &["--replicaof", "127.0.0.1", &port]);
        eventually("the replica follows", || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
        replica
    }

    /// Gives replicas nothing any more: they have what they have.
    pub fn keep_to_itself(&self) {
        assert_eq!(self.cli(&["ACL", "SETUSER", "default", "-psync", "-sync"]), "OK");
        self.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    fn run(&mut self) {
        let fsync = if self.fsync == Fsync::Always { "always" } else { "everysec" };
        let mut command = self.machine.command("redis-server");
        let child = command
            .args(["--port", &self.port.to_string(), "--bind", &self.address.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", fsync])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts: tests/run installs it");
        self.child = Some(child);
        eventually("Redis answers", || (self.cli(&["PING"]) == "PONG").then_some(()));
    }

    /// Where nodes find it.
    pub fn url(&self) -> String {
        format!("redis://{}:{}", self.address, self.port)
    }

    /// Its port, which it keeps.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What `redis-cli` prints for a command, without the end of its last line.
    pub fn cli(&self, command: &[&str]) -> String {
        cli(&self.machine, self.address, self.port, command)
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        let pid = id.and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// `kill -9`; if it does not run, nothing.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child that was killed ends");
        }
    }

    /// It goes on with nothing (`FLUSHALL`).
    ///
    /// # Panics
    /// When it does not do that.
    pub fn wipe(&self) {
        assert_eq!(self.cli(&["FLUSHALL"]), "OK");
    }

    /// Killed, and started with what is in its files.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// It does nothing any more (`SIGSTOP`), until it goes on.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Copies its files as they are.
    pub fn save(&self) -> Saved {
        let saved = tempfile::tempdir().expect("a directory of one's own can be made");
        copy(self.dir.path(), saved.path()).expect("files can be copied");
        Saved(saved)
    }

    /// Killed, and started with the files of then: all that it took since is lost.
    pub fn roll_back(&mut self, to: &Saved) {
        self.kill();
        clear(self.dir.path()).expect("files can be removed");
        copy(to.0.path(), self.dir.path()).expect("files can be copied");
        self.run();
    }

    /// Killed, and started with nothing.
    pub fn replace_by_an_empty_one(&mut self) {
        self.kill();
        clear(self.dir.path()).expect("files can be removed");
        self.run();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Sentinel that watches one Redis, which it calls `shared`. Killed when it is dropped.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    child: Child,
    _dir: TempDir,
}

impl Sentinel {
    /// Starts one that promotes a replica after a second; one that has heard nothing of its master for ten is none that it takes.
    ///
    /// # Panics
    /// When there is no `redis-server`; `tests/run` installs it.
    pub fn of(redis: &Redis) -> Sentinel {
        let sentinel = Sentinel::with(redis.port, "");
        eventually("the Sentinel knows the replica", || {
            let asked = ["SENTINEL", "master", "shared"];
            let known = cli(&Machine::default(), Ipv4Addr::LOCALHOST, sentinel.port, &asked);
            let mut lines = known.lines().skip_while(|line| *line != "num-slaves");
            (lines.nth(1) == Some("1")).then_some(())
        });
        sentinel
    }

    /// Starts one that knows a master on this port, with these settings too, and does not wait until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`; `tests/run` installs it.
    pub fn with(master: u16, settings: &str) -> Sentinel {
        let (dir, port) = (tempfile::tempdir().expect("a directory of one's own can be made"), port::free());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\n{settings}\nsentinel monitor shared 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds shared 1000\nsentinel failover-timeout shared 5000\n"
        );
        let file = dir.path().join("sentinel.conf");
        fs::write(&file, settings).expect("a file can be written");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts: tests/run installs it");
        Sentinel { port, child, _dir: dir }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where nodes find the master: by a Sentinel that is none, and this one.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/shared", self.port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On the machine itself: what is cut off from it can still be asked.
fn cli(machine: &Machine, address: Ipv4Addr, port: u16, command: &[&str]) -> String {
    let (address, port) = (address.to_string(), port.to_string());
    let ran = machine.command("redis-cli").args(["-h", &address, "-p", &port]).args(command).output();
    let ran = ran.expect("redis-cli comes with redis-server");
    String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn clear(dir: &Path) -> io::Result<()> {
    entries(dir)?
        .iter()
        .try_for_each(|path| if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for path in entries(from)? {
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if path.is_dir() {
            fs::create_dir(&target)?;
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

//! What a process used, from /proc; nothing on systems that have none.

use std::path::PathBuf;
use std::time::Duration;

/// One tick of `utime` and `stime`: Linux reports them in hundredths of a second on every machine Quip runs on.
const TICK: Duration = Duration::from_millis(10);

/// A running process.
#[derive(Debug, Clone)]
pub struct Process {
    dir: PathBuf,
}

impl Process {
    /// By its id.
    pub fn of(pid: u32) -> Process {
        Process { dir: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// This one.
    pub fn this() -> Process {
        Process { dir: PathBuf::from("/proc/self") }
    }

    /// User and system time so far, of all its threads.
    pub fn cpu(&self) -> Option<Duration> {
        ticks(&std::fs::read_to_string(self.dir.join("stat")).ok()?).map(|ticks| TICK * ticks)
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> Option<u64> {
        status_kib(&std::fs::read_to_string(self.dir.join("status")).ok()?, "VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn peak_rss_kib(&self) -> Option<u64> {
        status_kib(&std::fs::read_to_string(self.dir.join("status")).ok()?, "VmHWM:")
    }
}

/// `utime` + `stime` of /proc/PID/stat. The name in parentheses may hold anything, parentheses and spaces too.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    // The rest begins with the third field, `state`; utime and stime are the 14th and 15th.
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

fn status_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_the_14th_and_15th_field() {
        let after = "S 1 2 3 4 5 6 7 8 9 10 1100 22 13 14 20 0 5 0 100";
        for name in ["quipd", "a b", "x) S 1 (y", ")"] {
            assert_eq!(ticks(&format!("42 ({name}) {after}")), Some(1122), "{name}");
        }
        for broken in ["", "42 quipd S 1", "42 (quipd) S 1 2 3", "1 (x) S 1 2 3 4 5 6 7 8 9 10 a 22 13"] {
            assert_eq!(ticks(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn resident_memory() {
        let status = "Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t   12844 kB\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(12_844));
        assert_eq!(status_kib(status, "VmHWM:"), Some(99));
        for broken in ["", "VmRSS:", "VmRSS:\t12 MB", "VmHWM:\t 5 kB"] {
            assert_eq!(status_kib(broken, "VmRSS:"), None, "{broken:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_something() {
        assert!(Process::this().cpu().is_some());
        assert!(Process::of(std::process::id()).rss_kib().unwrap() > 100);
    }
}

//! The processes of a container, as `ps` would show them.
//!
//! Docker runs the host's `ps` and drops the lines of other processes. There may be no `ps`, and a listing of the whole
//! machine costs more than the container's own few processes, so this reads /proc itself and knows the formats people
//! ask for: `-ef` (which is also what is meant by nothing), `aux`, and `-o` with a list of columns. Which processes
//! are shown is not for the arguments to say; those that only select (`-e`, `-A`, `a`, `x`) change nothing.

use std::fs;
use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wharf_wire as wire;

use crate::error::Error;

/// Ticks of a second in /proc, the same on every processor we know.
const TICKS: u64 = 100;

/// Returns the processes of the given ids, those that still are, in the format that `arguments` ask for. `passwd` is
/// the host's list of users.
pub(crate) fn top(pids: &[i32], arguments: &str, passwd: &str) -> Result<wire::TopResult, Error> {
    let columns = columns(arguments)?;
    let mut pids = pids.to_vec();
    pids.sort_unstable();
    let machine =
        Machine::read().map_err(|error| Error::internal("could not read /proc", error))?;
    let mut processes = Vec::with_capacity(pids.len());
    for pid in pids {
        match Process::read(pid) {
            Ok(process) => {
                let row = columns
                    .iter()
                    .map(|(column, _)| column.cell(&process, &machine, passwd));
                processes.push(row.collect());
            }
            // It ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_gone(&error) => {}
            Err(error) => {
                return Err(Error::internal(
                    format_args!("could not read process {pid}"),
                    error,
                ));
            }
        }
    }
    Ok(wire::TopResult {
        processes,
        titles: columns.into_iter().map(|(_, title)| title).collect(),
    })
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Pid,
    Ppid,
    Pgid,
    Sid,
    User,
    Uid,
    Gid,
    Name,
    Command,
    Stat,
    State,
    Nice,
    Priority,
    Rss,
    Vsz,
    Cpu,
    CpuWhole,
    Memory,
    Terminal,
    Time,
    TimeShort,
    Elapsed,
    Started,
    Threads,
    Processor,
}

impl Column {
    /// Finds a column by the name `-o` has for it, and its title.
    fn find(name: &str) -> Option<(Self, &'static str)> {
        Some(match name {
            "pid" => (Self::Pid, "PID"),
            "ppid" => (Self::Ppid, "PPID"),
            "pgid" | "pgrp" => (Self::Pgid, "PGID"),
            "sid" | "sess" | "session" => (Self::Sid, "SID"),
            "user" | "euser" | "uname" => (Self::User, "USER"),
            "uid" | "euid" => (Self::Uid, "UID"),
            "gid" | "egid" => (Self::Gid, "GID"),
            "comm" | "ucmd" | "ucomm" => (Self::Name, "COMMAND"),
            "args" | "command" => (Self::Command, "COMMAND"),
            "cmd" => (Self::Command, "CMD"),
            "stat" => (Self::Stat, "STAT"),
            "s" | "state" => (Self::State, "S"),
            "ni" | "nice" => (Self::Nice, "NI"),
            "pri" => (Self::Priority, "PRI"),
            "rss" | "rssize" | "rsz" => (Self::Rss, "RSS"),
            "vsz" | "vsize" => (Self::Vsz, "VSZ"),
            "%cpu" | "pcpu" => (Self::Cpu, "%CPU"),
            "c" => (Self::CpuWhole, "C"),
            "%mem" | "pmem" => (Self::Memory, "%MEM"),
            "tt" | "tty" => (Self::Terminal, "TT"),
            "tname" => (Self::Terminal, "TTY"),
            "time" | "cputime" => (Self::Time, "TIME"),
            "etime" => (Self::Elapsed, "ELAPSED"),
            "stime" | "start_time" => (Self::Started, "STIME"),
            "start" => (Self::Started, "START"),
            "nlwp" | "thcount" => (Self::Threads, "NLWP"),
            "psr" => (Self::Processor, "PSR"),
            _ => return None,
        })
    }

    fn cell(self, process: &Process, machine: &Machine, passwd: &str) -> String {
        let seconds = process.cpu_ticks / TICKS;
        match self {
            Self::Pid => process.pid.to_string(),
            Self::Ppid => process.ppid.to_string(),
            Self::Pgid => process.pgid.to_string(),
            Self::Sid => process.sid.to_string(),
            Self::User => user_name(process.uid, passwd),
            Self::Uid => process.uid.to_string(),
            Self::Gid => process.gid.to_string(),
            Self::Name => process.name.clone(),
            Self::Command => process.command_line(),
            Self::Stat => process.stat(),
            Self::State => process.state.to_string(),
            Self::Nice => process.nice.to_string(),
            Self::Priority => (39 - process.priority).to_string(),
            Self::Rss => process.rss_kilobytes.to_string(),
            Self::Vsz => (process.vsize / 1024).to_string(),
            Self::Cpu => tenths(per_mille(seconds, process.age(machine))),
            Self::CpuWhole => (per_mille(seconds, process.age(machine)) / 10).to_string(),
            Self::Memory => tenths(per_mille(process.rss_kilobytes, machine.memory_kilobytes)),
            Self::Terminal => terminal(process.terminal),
            Self::Time => clock(seconds),
            Self::TimeShort => format!("{}:{:02}", seconds / 60, seconds % 60),
            Self::Elapsed => elapsed(process.age(machine)),
            Self::Started => machine.started(process),
            Self::Threads => process.threads.to_string(),
            Self::Processor => process.processor.to_string(),
        }
    }
}

type Titled = (Column, String);

/// Reads the arguments of `ps` as far as they choose columns.
fn columns(arguments: &str) -> Result<Vec<Titled>, Error> {
    let unknown = || {
        Error::invalid(format!(
            "ps arguments {arguments:?} are not supported: try -ef, aux or -o pid,cmd"
        ))
    };
    let mut chosen: Option<Vec<Titled>> = None;
    let mut words = arguments.split_whitespace();
    while let Some(word) = words.next() {
        let letters = word.strip_prefix('-').unwrap_or(word);
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            match letter {
                'e' | 'A' | 'a' | 'x' | 'w' => {}
                'f' => chosen = chosen.or_else(|| Some(full())),
                'u' => chosen = chosen.or_else(|| Some(user())),
                'o' => {
                    let list = rest.as_str();
                    let list = if list.is_empty() {
                        words.next().ok_or_else(unknown)?
                    } else {
                        list
                    };
                    chosen
                        .get_or_insert_default()
                        .extend(listed(list).ok_or_else(unknown)?);
                    break;
                }
                _ => return Err(unknown()),
            }
        }
        if letters.is_empty() {
            return Err(unknown());
        }
    }
    Ok(chosen.unwrap_or_else(|| named(&["pid", "tname", "time", "cmd"])))
}

/// Reads the value of `-o`: names with commas between, each with a title of its own after `=`, if it has one.
fn listed(list: &str) -> Option<Vec<Titled>> {
    let columns = list.split(',').filter(|name| !name.is_empty()).map(|name| {
        let (name, title) = name
            .split_once('=')
            .map_or((name, None), |(name, title)| (name, Some(title)));
        let (column, usual) = Column::find(&name.to_ascii_lowercase())?;
        Some((column, title.unwrap_or(usual).to_owned()))
    });
    columns.collect()
}

fn named(names: &[&str]) -> Vec<Titled> {
    names
        .iter()
        .filter_map(|name| Column::find(name))
        .map(|(column, title)| (column, title.to_owned()))
        .collect()
}

fn full() -> Vec<Titled> {
    let mut columns = vec![(Column::User, "UID".to_owned())];
    columns.extend(named(&[
        "pid", "ppid", "c", "stime", "tname", "time", "cmd",
    ]));
    columns
}

fn user() -> Vec<Titled> {
    let mut columns = named(&[
        "user", "pid", "%cpu", "%mem", "vsz", "rss", "tname", "stat", "start",
    ]);
    columns.push((Column::TimeShort, "TIME".to_owned()));
    columns.extend(named(&["command"]));
    columns
}

/// A process, from /proc/PID/stat, its owner and its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    pid: i32,
    name: String,
    state: char,
    ppid: i64,
    pgid: i64,
    sid: i64,
    terminal: i64,
    foreground: i64,
    cpu_ticks: u64,
    priority: i64,
    nice: i64,
    threads: u64,
    start_ticks: u64,
    vsize: u64,
    rss_kilobytes: u64,
    processor: u64,
    uid: u32,
    gid: u32,
    arguments: String,
}

impl Process {
    fn read(pid: i32) -> io::Result<Self> {
        let directory = format!("/proc/{pid}");
        let stat = fs::read(format!("{directory}/stat"))?;
        let mut process = Self::parse(pid, &String::from_utf8_lossy(&stat)).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{directory}/stat is not as proc(5) has it"),
            )
        })?;
        let status = fs::read(format!("{directory}/status"))?;
        let status = String::from_utf8_lossy(&status);
        process.rss_kilobytes = word(&status, "VmRSS:", 0).unwrap_or_default();
        process.uid = word(&status, "Uid:", 1).unwrap_or_default();
        process.gid = word(&status, "Gid:", 1).unwrap_or_default();
        let arguments = fs::read(format!("{directory}/cmdline"))?;
        let arguments = String::from_utf8_lossy(&arguments);
        process.arguments = printable(arguments.trim_end_matches('\0'));
        Ok(process)
    }

    /// Reads /proc/PID/stat. A name may hold blanks and parentheses; the last parenthesis is its end.
    fn parse(pid: i32, stat: &str) -> Option<Self> {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and the state is its third.
        let signed = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
        let unsigned = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            pid,
            name: printable(name),
            state: fields.first()?.chars().next()?,
            ppid: signed(4)?,
            pgid: signed(5)?,
            sid: signed(6)?,
            terminal: signed(7)?,
            foreground: signed(8)?,
            cpu_ticks: unsigned(14)?.checked_add(unsigned(15)?)?,
            priority: signed(18)?,
            nice: signed(19)?,
            threads: unsigned(20)?,
            start_ticks: unsigned(22)?,
            vsize: unsigned(23)?,
            processor: unsigned(39)?,
            ..Self::default()
        })
    }

    fn command_line(&self) -> String {
        // Kernel threads and zombies have none.
        if self.arguments.is_empty() {
            format!("[{}]", self.name)
        } else {
            self.arguments.clone()
        }
    }

    fn stat(&self) -> String {
        let mut stat = self.state.to_string();
        for (holds, letter) in [
            (self.nice < 0, '<'),
            (self.nice > 0, 'N'),
            (self.sid == i64::from(self.pid), 's'),
            (self.threads > 1, 'l'),
            (self.foreground == self.pgid, '+'),
        ] {
            if holds {
                stat.push(letter);
            }
        }
        stat
    }

    /// Seconds since it was started.
    fn age(&self, machine: &Machine) -> u64 {
        machine.uptime.saturating_sub(self.start_ticks / TICKS)
    }
}

/// Words of a process are its own: what would move a terminal's cursor is not passed on.
fn printable(text: &str) -> String {
    let clean = |letter: char| match letter {
        '\0' => ' ',
        letter if letter.is_control() => '?',
        letter => letter,
    };
    text.chars().map(clean).collect()
}

/// Returns a word of a line of /proc/PID/status; of ids the second is the effective one.
fn word<T: std::str::FromStr>(status: &str, name: &str, index: usize) -> Option<T> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// What of the machine the columns need.
#[derive(Debug)]
struct Machine {
    memory_kilobytes: u64,
    uptime: u64,
    now: Timestamp,
    zone: TimeZone,
}

impl Machine {
    fn read() -> io::Result<Self> {
        let memory = fs::read_to_string("/proc/meminfo")?;
        let memory = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"));
        let memory = memory.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
        let uptime = fs::read_to_string("/proc/uptime")?;
        let uptime = uptime
            .split_once('.')
            .and_then(|(seconds, _)| seconds.parse().ok());
        Ok(Self {
            memory_kilobytes: memory.unwrap_or(0),
            uptime: uptime.unwrap_or(0),
            now: Timestamp::now(),
            zone: TimeZone::system(),
        })
    }

    /// When a process was started: the time if today, the day if this year, else the year.
    fn started(&self, process: &Process) -> String {
        let age = i64::try_from(process.age(self)).unwrap_or(i64::MAX);
        let then = self
            .now
            .checked_sub(jiff::SignedDuration::from_secs(age))
            .unwrap_or(self.now);
        let then = then.to_zoned(self.zone.clone());
        let now = self.now.to_zoned(self.zone.clone());
        let format = match (then.year() == now.year(), then.date() == now.date()) {
            (_, true) => "%H:%M",
            (true, false) => "%b%d",
            (false, false) => "%Y",
        };
        then.strftime(format).to_string()
    }
}

fn user_name(uid: u32, passwd: &str) -> String {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    });
    name.map_or(number.clone(), str::to_owned)
}

/// Undoes the kernel's encoding of a device number and names the terminals containers have.
fn terminal(number: i64) -> String {
    let major = (number >> 8) & 0xfff;
    let minor = (number & 0xff) | ((number >> 12) & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

fn per_mille(part: u64, whole: u64) -> u64 {
    part.saturating_mul(1000).checked_div(whole).unwrap_or(0)
}

fn tenths(per_mille: u64) -> String {
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

/// `[days-]hours:minutes:seconds`
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let text = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 {
        text
    } else {
        format!("{days}-{text}")
    }
}

/// `[[days-]hours:]minutes:seconds`
fn elapsed(seconds: u64) -> String {
    if seconds < 3600 {
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    } else {
        clock(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n";

    fn titles(arguments: &str) -> Result<String, String> {
        let columns = columns(arguments).map_err(|error| error.to_string())?;
        Ok(columns
            .into_iter()
            .map(|(_, title)| title)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn arguments_choose_columns() {
        for (arguments, expected) in [
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("-e -f", "UID PID PPID C STIME TTY TIME CMD"),
            ("", "PID TTY TIME CMD"),
            ("-A", "PID TTY TIME CMD"),
            (
                "aux",
                "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ),
            (
                "-aux",
                "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ),
            ("-o pid,cmd", "PID CMD"),
            ("-eo pid,user=WHO -o comm", "PID WHO COMMAND"),
            ("o pid", "PID"),
        ] {
            assert_eq!(titles(arguments).as_deref(), Ok(expected), "{arguments}");
        }
        for arguments in [
            "-Z",
            "-o",
            "-o nope",
            "-p 1",
            "--forest",
            "-",
            "-o pid, ; id",
        ] {
            assert!(titles(arguments).is_err(), "{arguments}");
        }
    }

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let stat = "7 (a) S 1 (b) R 1 7 7 34816 7 4194560 1 2 3 4 500 250 7 8 20 0 2 0 1000 8192 3 0 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0";
        let process = Process::parse(7, stat).expect("parses");
        assert_eq!((process.name.as_str(), process.state), ("a) S 1 (b", 'R'));
        assert_eq!((process.ppid, process.sid, process.cpu_ticks), (1, 7, 750));
        assert_eq!(
            (process.threads, process.start_ticks, process.processor),
            (2, 1000, 1)
        );
        assert_eq!(process.stat(), "Rsl+");
        assert_eq!(terminal(process.terminal), "pts/0");
        for cut in ["", "7 (a", "7 (a) S 1", &stat[..60]] {
            assert_eq!(Process::parse(7, cut), None, "{cut}");
        }
    }

    #[test]
    fn values_are_written_as_ps_writes_them() {
        assert_eq!(
            [clock(0), clock(3_661), clock(90_061)],
            ["00:00:00", "01:01:01", "1-01:01:01"]
        );
        assert_eq!([elapsed(59), elapsed(3_600)], ["00:59", "01:00:00"]);
        assert_eq!(
            [tenths(per_mille(1, 3)), tenths(per_mille(1, 0))],
            ["33.3", "0.0"]
        );
        assert_eq!(
            [user_name(1, PASSWD), user_name(77, PASSWD)],
            ["daemon", "77"]
        );
        assert_eq!(
            [
                terminal(0),
                terminal(34_825),
                terminal(1_025),
                terminal(1_088)
            ],
            ["?", "pts/9", "tty1", "ttyS0"]
        );
        assert_eq!(printable("a\0b\x1b[2J"), "a b?[2J");
    }

    #[test]
    fn the_own_process_is_found_and_a_missing_one_left_out() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let found = top(&[i32::MAX, own], "-o pid,ppid,args", PASSWD).expect("reads /proc");
        assert_eq!(found.titles, ["PID", "PPID", "COMMAND"]);
        let [row] = &found.processes[..] else {
            panic!("{found:?}")
        };
        assert_eq!(row[0], own.to_string());
        assert_eq!(row[1], std::os::unix::process::parent_id().to_string());
        assert!(row[2].contains("wharf_engine"), "{row:?}");
    }
}

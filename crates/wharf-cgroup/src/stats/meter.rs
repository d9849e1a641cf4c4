//! What a group uses, read every second.
//!
//! Opening a file of a group costs ten times what reading it does, so a meter keeps them open. And
//! the dearest of them, `memory.stat`, need not be read of a group that does nothing: as long as its
//! processor time stands still nothing in it has run, and the rest is read only now and then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

use super::{BlkioStats, Stats, key_values, v1, v2};
use crate::files;
use crate::group::{Cgroup, CgroupError};

/// Readings of an idle group that may go by before all of it is read again.
const IDLE_MAX: u32 = 4;

/// The open files of a group's numbers; huge pages are not among them.
#[derive(Debug)]
pub struct Meter {
    files: Files,
    buffer: Vec<u8>,
    last: Stats,
    /// Readings since all was read; absent before the first.
    idle: Option<u32>,
}

#[derive(Debug)]
enum Files {
    V1(Box<V1>),
    V2(Box<V2>),
}

#[derive(Debug)]
struct V1 {
    processors: Option<Source>,
    /// In user and in kernel mode; the kernel counts these by ticks.
    modes: [Option<Source>; 2],
    throttling: Option<Source>,
    memory: Option<V1Memory>,
    pids: Option<[Source; 2]>,
    bytes: [Option<Source>; 2],
    operations: [Option<Source>; 2],
}

#[derive(Debug)]
struct V1Memory {
    usage: Source,
    max_usage: Source,
    limit: Source,
    failcnt: Source,
    stat: Source,
}

#[derive(Debug)]
struct V2 {
    processors: Source,
    memory: Option<V2Memory>,
    pids: Option<[Source; 2]>,
    io: Option<Source>,
}

#[derive(Debug)]
struct V2Memory {
    usage: Source,
    limit: Source,
    events: Source,
    stat: Source,
}

/// One open file.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
}

impl Source {
    /// Opens a file; a machine may not have it.
    fn open(path: PathBuf) -> Result<Option<Self>, CgroupError> {
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
            Err(source) => Err(CgroupError::read(&path, source)),
        }
    }

    /// Reads the file anew.
    fn text<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<&'a str, CgroupError> {
        let failed = |source| CgroupError::read(&self.path, source);
        loop {
            let length = self.file.read_at(buffer, 0).map_err(failed)?;
            if length < buffer.len() {
                return std::str::from_utf8(&buffer[..length])
                    .map_err(|error| failed(io::Error::other(error)));
            }
            buffer.resize(buffer.len() * 2, 0);
        }
    }

    fn number(&self, buffer: &mut Vec<u8>) -> Result<u64, CgroupError> {
        let text = self.text(buffer)?.trim_end();
        text.parse()
            .map_err(|_| CgroupError::parse(&self.path, text))
    }

    fn limit(&self, buffer: &mut Vec<u8>) -> Result<Option<u64>, CgroupError> {
        files::limit_of(&self.path, self.text(buffer)?)
    }
}

impl Cgroup {
    /// Opens the group's numbers for repeated reading.
    pub fn meter(&self) -> Result<Meter, CgroupError> {
        let open = |controller: &str, file: &str| match self.dir(controller) {
            Some(dir) => Source::open(dir.join(file)),
            None => Ok(None),
        };
        let pids = match (open("pids", "pids.current")?, open("pids", "pids.max")?) {
            (Some(current), Some(max)) => Some([current, max]),
            _ => None,
        };
        let files = if self.is_v2() {
            let stat = self.dir("cpu").map(|dir| dir.join("cpu.stat"));
            let path = stat.unwrap_or_default();
            let missing = || CgroupError::read(&path, io::ErrorKind::NotFound.into());
            Files::V2(Box::new(V2 {
                processors: open("cpu", "cpu.stat")?.ok_or_else(missing)?,
                memory: v2_memory(open)?,
                pids,
                io: open("io", "io.stat")?,
            }))
        } else {
            Files::V1(Box::new(V1 {
                processors: open("cpuacct", "cpuacct.usage_percpu")?,
                modes: [
                    open("cpuacct", "cpuacct.usage_user")?,
                    open("cpuacct", "cpuacct.usage_sys")?,
                ],
                throttling: open("cpu", "cpu.stat")?,
                memory: v1_memory(open)?,
                pids,
                bytes: [
                    open("blkio", "blkio.bfq.io_service_bytes_recursive")?,
                    open("blkio", "blkio.throttle.io_service_bytes_recursive")?,
                ],
                operations: [
                    open("blkio", "blkio.bfq.io_serviced_recursive")?,
                    open("blkio", "blkio.throttle.io_serviced_recursive")?,
                ],
            }))
        };
        Ok(Meter {
            files,
            buffer: vec![0; 8192],
            last: Stats::default(),
            idle: None,
        })
    }
}

type Open<'a> = dyn Fn(&str, &str) -> Result<Option<Source>, CgroupError> + 'a;

fn v1_memory(
    open: impl Fn(&str, &str) -> Result<Option<Source>, CgroupError>,
) -> Result<Option<V1Memory>, CgroupError> {
    let open: &Open<'_> = &open;
    let memory = |file: &str| open("memory", file);
    let files = (
        memory("memory.usage_in_bytes")?,
        memory("memory.max_usage_in_bytes")?,
        memory("memory.limit_in_bytes")?,
        memory("memory.failcnt")?,
        memory("memory.stat")?,
    );
    Ok(match files {
        (Some(usage), Some(max_usage), Some(limit), Some(failcnt), Some(stat)) => Some(V1Memory {
            usage,
            max_usage,
            limit,
            failcnt,
            stat,
        }),
        _ => None,
    })
}

fn v2_memory(
    open: impl Fn(&str, &str) -> Result<Option<Source>, CgroupError>,
) -> Result<Option<V2Memory>, CgroupError> {
    let open: &Open<'_> = &open;
    let memory = |file: &str| open("memory", file);
    let files = (
        memory("memory.current")?,
        memory("memory.max")?,
        memory("memory.events")?,
        memory("memory.stat")?,
    );
    Ok(match files {
        (Some(usage), Some(limit), Some(events), Some(stat)) => Some(V2Memory {
            usage,
            limit,
            events,
            stat,
        }),
        _ => None,
    })
}

impl Meter {
    /// Reads the numbers.
    ///
    /// # Errors
    /// The group is gone.
    pub fn read(&mut self) -> Result<&Stats, CgroupError> {
        let before = self.last.cpu.total;
        match &self.files {
            Files::V1(files) => files.read_processors(&mut self.last, &mut self.buffer)?,
            Files::V2(files) => {
                self.last.cpu = v2::processor_time(files.processors.text(&mut self.buffer)?);
            }
        }
        match self.idle {
            Some(idle) if self.last.cpu.total == before && idle < IDLE_MAX => {
                self.idle = Some(idle + 1);
                return Ok(&self.last);
            }
            _ => self.idle = Some(0),
        }
        match &self.files {
            Files::V1(files) => files.read_rest(&mut self.last, &mut self.buffer)?,
            Files::V2(files) => files.read_rest(&mut self.last, &mut self.buffer)?,
        }
        Ok(&self.last)
    }
}

impl V1 {
    /// One number a processor, exact to the last switch between processes.
    fn read_processors(&self, stats: &mut Stats, buffer: &mut Vec<u8>) -> Result<(), CgroupError> {
        let Some(source) = &self.processors else {
            return Ok(());
        };
        let cpu = &mut stats.cpu;
        cpu.per_cpu.clear();
        let numbers = source.text(buffer)?.split_ascii_whitespace();
        cpu.per_cpu
            .extend(numbers.map_while(|number| number.parse::<u64>().ok()));
        cpu.total = cpu.per_cpu.iter().sum();
        Ok(())
    }

    fn read_rest(&self, stats: &mut Stats, buffer: &mut Vec<u8>) -> Result<(), CgroupError> {
        let [user, kernel] = &self.modes;
        if let Some(source) = user {
            stats.cpu.user = source.number(buffer)?;
        }
        if let Some(source) = kernel {
            stats.cpu.kernel = source.number(buffer)?;
        }
        if let Some(source) = &self.throttling {
            v1::throttling(source.text(buffer)?, &mut stats.cpu);
        }
        if let Some(files) = &self.memory {
            let memory = &mut stats.memory;
            memory.usage = files.usage.number(buffer)?;
            memory.max_usage = files.max_usage.number(buffer)?;
            memory.limit = files.limit.limit(buffer)?.unwrap_or(u64::MAX);
            memory.failcnt = files.failcnt.number(buffer)?;
            read_stat(&files.stat, stats, buffer)?;
        }
        read_pids(self.pids.as_ref(), stats, buffer)?;
        let mut entries = |sources: &[Option<Source>; 2]| {
            for source in sources.iter().flatten() {
                let found = v1::entries(source.text(buffer)?);
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            Ok(Vec::new())
        };
        stats.blkio = BlkioStats {
            service_bytes: entries(&self.bytes)?,
            serviced: entries(&self.operations)?,
        };
        Ok(())
    }
}

impl V2 {
    fn read_rest(&self, stats: &mut Stats, buffer: &mut Vec<u8>) -> Result<(), CgroupError> {
        if let Some(files) = &self.memory {
            let memory = &mut stats.memory;
            memory.usage = files.usage.number(buffer)?;
            memory.limit = files.limit.limit(buffer)?.unwrap_or(u64::MAX);
            let events = files.events.text(buffer)?;
            let hit = files::value_of(events, "max").and_then(|number| number.parse().ok());
            memory.failcnt = hit.unwrap_or(0);
            read_stat(&files.stat, stats, buffer)?;
        }
        read_pids(self.pids.as_ref(), stats, buffer)?;
        if let Some(source) = &self.io {
            stats.blkio = v2::blkio(source.text(buffer)?);
        }
        Ok(())
    }
}

/// The lines are the same each time, so that only numbers are written.
fn read_stat(source: &Source, stats: &mut Stats, buffer: &mut Vec<u8>) -> Result<(), CgroupError> {
    for (key, value) in key_values(source.text(buffer)?) {
        match stats.memory.stat.get_mut(key) {
            Some(known) => *known = value,
            None => {
                stats.memory.stat.insert(key.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn read_pids(
    files: Option<&[Source; 2]>,
    stats: &mut Stats,
    buffer: &mut Vec<u8>,
) -> Result<(), CgroupError> {
    if let Some([current, max]) = files {
        stats.pids.current = current.number(buffer)?;
        stats.pids.limit = max.limit(buffer)?;
    }
    Ok(())
}

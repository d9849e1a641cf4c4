//! The command line as typed: names and texts only, no logic.
//!
//! Options and their names are runc's, because podman, containerd and dockerd speak to a runtime in
//! these words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs containers by the OCI runtime specification.
#[derive(Debug, Parser)]
#[command(name = "wharf runtime", disable_version_flag = true)]
pub(super) struct Arguments {
    /// Directory of the containers' states
    #[arg(
        long,
        global = true,
        default_value = "/run/wharf/runtime",
        value_name = "DIR"
    )]
    pub(super) root: PathBuf,
    /// File that messages are appended to, in place of standard error
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// Format of the messages
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub(super) log_format: LogFormat,
    /// Log debugging messages too
    #[arg(long, global = true)]
    pub(super) debug: bool,
    /// Use systemd for cgroups (not supported)
    #[arg(long, global = true)]
    pub(super) systemd_cgroup: bool,
    /// Ignore cgroup permission errors: auto, or false; true is not supported
    #[arg(long, default_value = "auto", value_name = "MODE")]
    pub(super) rootless: String,
    /// Print the version
    #[arg(short, long)]
    pub(super) version: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a container
    Create(Create),
    /// Start a created container
    Start(Id),
    /// Print the state of a container
    State(Id),
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Delete a container
    Delete(Delete),
    /// Create and start a container
    Run(Run),
    /// Run a further process in a container
    Exec(Box<Exec>),
    /// List the processes of a container
    Ps(Ps),
    /// List the containers
    List(List),
    /// Suspend all processes of a container
    Pause(Id),
    /// Resume all processes of a container
    Resume(Id),
    /// Change the limits of a container
    Update(Box<Update>),
    /// Print the events of a container
    Events(Events),
    /// Write a specification to start from
    Spec(Spec),
    /// Print what this runtime can do
    Features,
    /// Save a container's processes (not supported)
    Checkpoint(Unsupported),
    /// Bring back a container's processes (not supported)
    Restore(Unsupported),
}

#[derive(Debug, Args)]
pub(super) struct Id {
    /// The container
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Unsupported {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(super) rest: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The container's id
    pub(super) id: String,
    /// Directory of config.json
    #[arg(short, long, value_name = "DIR")]
    pub(super) bundle: Option<PathBuf>,
    /// Unix socket that gets the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// File the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Do not use pivot_root, for a root on a ramdisk
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Do not make a session keyring
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Pass this many descriptors beyond the standard three
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub(super) preserve_fds: u16,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) create: Create,
    /// Leave the container running in the background
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// The container
    pub(super) id: String,
    /// Signal, by name or number
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
    /// Signal all processes of the container
    #[arg(short, long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The container
    pub(super) id: String,
    /// Kill it first if it runs; no error if it does not exist
    #[arg(short, long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The container
    pub(super) id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) args: Vec<String>,
    /// Unix socket that gets the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<PathBuf>,
    /// Environment variable, NAME=VALUE
    #[arg(short, long, value_name = "VARIABLE")]
    pub(super) env: Vec<String>,
    /// Allocate a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// User, UID or UID:GID
    #[arg(short, long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// Additional group id
    #[arg(short = 'g', long, value_name = "GID")]
    pub(super) additional_gids: Vec<u32>,
    /// File with the process as JSON
    #[arg(short, long, value_name = "FILE")]
    pub(super) process: Option<PathBuf>,
    /// Leave the process running in the background
    #[arg(short, long)]
    pub(super) detach: bool,
    /// File the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    pub(super) process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub(super) apparmor: Option<String>,
    /// Set no_new_privs
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// Capability added to the bounding, permitted and effective sets
    #[arg(short, long, value_name = "CAPABILITY")]
    pub(super) cap: Vec<String>,
    /// Pass this many descriptors beyond the standard three
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub(super) preserve_fds: u16,
    /// Run the process even if the container is paused
    #[arg(long)]
    pub(super) ignore_paused: bool,
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// The container
    pub(super) id: String,
    /// Options for ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) ps_args: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) format: OutputFormat,
    /// Print ids only
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// The container
    pub(super) id: String,
    /// File with the limits as JSON, - for standard input; the other options are ignored then
    #[arg(short, long, value_name = "FILE")]
    pub(super) resources: Option<PathBuf>,
    /// Weight of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub(super) blkio_weight: Option<u16>,
    /// Microseconds a period
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_period: Option<u64>,
    /// Microseconds of processor time a period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// Microseconds of accumulated burst
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_burst: Option<u64>,
    /// Relative weight of processor time
    #[arg(long, alias = "cpu-shares", value_name = "WEIGHT")]
    pub(super) cpu_share: Option<u64>,
    /// Real-time period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_rt_period: Option<u64>,
    /// Real-time microseconds a period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// CPUs
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// 1: run only when nobody else wants the processor
    #[arg(long, value_name = "0|1", allow_hyphen_values = true)]
    pub(super) cpu_idle: Option<i64>,
    /// Memory limit, bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory: Option<String>,
    /// Soft memory limit, bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory_reservation: Option<String>,
    /// Memory and swap together, bytes; -1: no limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory_swap: Option<String>,
    /// Kernel memory limit (gone from the kernel, not supported)
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) kernel_memory: Option<String>,
    /// Kernel memory limit of TCP buffers, bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) kernel_memory_tcp: Option<String>,
    /// Number of tasks
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// The container
    pub(super) id: String,
    /// Time between statistics
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub(super) interval: String,
    /// Print the statistics once and end
    #[arg(long)]
    pub(super) stats: bool,
}

#[derive(Debug, Args)]
pub(super) struct Spec {
    /// Directory the file is written to
    #[arg(short, long, value_name = "DIR")]
    pub(super) bundle: Option<PathBuf>,
    /// For a container of an unprivileged user (not supported)
    #[arg(long = "rootless", id = "rootless_spec")]
    pub(super) rootless: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_fit_together() {
        Arguments::command().debug_assert();
        for command in ["spec", "features", "list"] {
            let parsed = Arguments::try_parse_from(["wharf runtime", command]).expect(command);
            assert!(parsed.command.is_some());
        }
    }

    #[test]
    fn callers_words_are_understood() {
        let lines = [
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p --console-socket /s id",
            "--root /r --log /l --log-format json exec --process /f --detach --pid-file /p id",
            "--root=/r --systemd-cgroup=false delete --force id",
            "kill --all id 9",
            "update --resources - id",
            "--cgroup-manager=cgroupfs create id",
        ];
        let parse = |line: &str| {
            Arguments::try_parse_from(["wharf runtime"].into_iter().chain(line.split(' '))).is_ok()
        };
        assert_eq!(lines.map(parse), [true, true, false, true, true, false]);
    }
}

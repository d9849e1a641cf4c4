//! `update`: other limits and another restart policy for containers.

use wharf_wire::query::encode;
use wharf_wire::{ContainerUpdated, UpdateConfig};

use super::each::print_names;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{number, restart, size};

/// What is to be changed.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    change: UpdateConfig,
    /// Whether any flag was given, with whatever value.
    given: bool,
}

impl Arguments {
    fn change(&mut self) -> &mut UpdateConfig {
        self.given = true;
        &mut self.change
    }
}

type F = Flag<Arguments>;

static FLAGS: &[F] = &[
    F::value(
        "blkio-weight",
        "uint16",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        |a, v| {
            a.change().blkio_weight = number::parse(v)?;
            Ok(())
        },
    )
    .default("0"),
    F::value(
        "cpu-period",
        "int",
        "Limit CPU CFS (Completely Fair Scheduler) period",
        |a, v| {
            a.change().cpu_period = number::parse(v)?;
            Ok(())
        },
    ),
    F::value(
        "cpu-quota",
        "int",
        "Limit CPU CFS (Completely Fair Scheduler) quota",
        |a, v| {
            a.change().cpu_quota = number::parse(v)?;
            Ok(())
        },
    ),
    F::value(
        "cpu-rt-period",
        "int",
        "Limit the CPU real-time period in microseconds",
        |a, v| {
            a.change().cpu_realtime_period = number::parse(v)?;
            Ok(())
        },
    ),
    F::value(
        "cpu-rt-runtime",
        "int",
        "Limit the CPU real-time runtime in microseconds",
        |a, v| {
            a.change().cpu_realtime_runtime = number::parse(v)?;
            Ok(())
        },
    ),
    F::value(
        "cpu-shares",
        "int",
        "CPU shares (relative weight)",
        |a, v| {
            a.change().cpu_shares = number::parse(v)?;
            Ok(())
        },
    )
    .short('c'),
    F::value("cpus", "decimal", "Number of CPUs", |a, v| {
        a.change().nano_cpus = number::nano_cpus(v)?;
        Ok(())
    }),
    F::value(
        "cpuset-cpus",
        "string",
        "CPUs in which to allow execution (0-3, 0,1)",
        |a, v| {
            v.clone_into(&mut a.change().cpuset_cpus);
            Ok(())
        },
    ),
    F::value(
        "cpuset-mems",
        "string",
        "MEMs in which to allow execution (0-3, 0,1)",
        |a, v| {
            v.clone_into(&mut a.change().cpuset_mems);
            Ok(())
        },
    ),
    F::value(
        "kernel-memory",
        "bytes",
        "Kernel memory limit (deprecated)",
        |a, v| {
            a.change().kernel_memory = size::parse(v)?;
            Ok(())
        },
    )
    .hidden(),
    F::value("memory", "bytes", "Memory limit", |a, v| {
        a.change().memory = size::parse(v)?;
        Ok(())
    })
    .short('m'),
    F::value(
        "memory-reservation",
        "bytes",
        "Memory soft limit",
        |a, v| {
            a.change().memory_reservation = size::parse(v)?;
            Ok(())
        },
    ),
    F::value(
        "memory-swap",
        "bytes",
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        |a, v| {
            a.change().memory_swap = size::parse_or_unlimited(v)?;
            Ok(())
        },
    ),
    F::value(
        "pids-limit",
        "int",
        "Tune container pids limit (set -1 for unlimited)",
        |a, v| {
            // None is Docker's way to leave the limit alone.
            let limit = number::parse(v)?;
            a.change().pids_limit = Some(limit).filter(|limit| *limit != 0);
            Ok(())
        },
    ),
    F::value(
        "restart",
        "string",
        "Restart policy to apply when a container exits",
        |a, v| {
            a.change().restart_policy = match v {
                "" => wharf_wire::RestartPolicy::default(),
                text => restart::parse(text)?,
            };
            Ok(())
        },
    ),
];

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container update", "update"],
    about: "Update configuration of one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    if !arguments.given {
        return Err(Failure::message(
            "you must provide one or more flags when using this command",
        ));
    }
    let change = &arguments.change;
    let warnings = std::cell::RefCell::new(Vec::new());
    let outcome = print_names(context, &names, async |client, name| {
        let path = format!("/containers/{}/update", encode(name));
        let updated: ContainerUpdated = client.post_json(&path, change).await?.json().await?;
        warnings
            .borrow_mut()
            .extend(updated.warnings.unwrap_or_default());
        Ok(())
    });
    let warnings = warnings.into_inner();
    if !warnings.is_empty() {
        context.printer.note(&warnings.join("\n"));
    }
    outcome
}

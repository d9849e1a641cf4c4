//! Many clients at once do everything at random, and the engine is killed now and then: at the end
//! nothing has leaked.
//!
//! About a minute; `WHARF_SOAK_SECONDS` makes it longer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use wharf_tests_system::{Client, Engine, Ran, command, wait};

use crate::engine;

const CLIENTS: u64 = 16;
const SECONDS: u64 = 60;
/// Between two kills of the engine.
const LIFE: Duration = Duration::from_secs(6);
/// What the engine's memory may have grown by between two idle moments of one life, in kilobytes.
const GROWTH_MAX: u64 = 16 << 10;

#[test]
fn nothing_leaks_whatever_many_clients_do() {
    let Some(engine) = engine() else { return };
    let seconds = std::env::var("WHARF_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let time = Duration::from_secs(seconds);
    let soak = Soak {
        engine: RwLock::new(engine),
        over: AtomicBool::new(false),
        done: Mutex::new(BTreeMap::new()),
    };
    // Half of the time with kills, half of it in one life, whose beginning and end are compared.
    soak.run(time / 2, Some(LIFE));
    launch_again(&soak.engine);
    soak.clear();
    soak.run(Duration::from_secs(5), None);
    soak.clear();
    let before = soak.settled();
    soak.run(time / 2, None);
    soak.clear();
    wait::until_true("the engine's descriptors to be closed", || {
        soak.settled().descriptors <= before.descriptors
    });
    let after = soak.settled();
    assert!(
        after.kilobytes <= before.kilobytes + GROWTH_MAX,
        "{before:?} has become {after:?}"
    );
    let done = soak.done.into_inner().unwrap();
    for operation in OPERATIONS {
        assert!(
            done.get(operation.name).is_some_and(|count| *count > 0),
            "{} has never succeeded: {done:?}",
            operation.name
        );
    }
    soak.engine.into_inner().unwrap().finish();
}

/// One thing a client does with its container.
struct Operation {
    name: &'static str,
    arguments: fn(&str, u64) -> Vec<String>,
    /// What a success prints.
    prints: fn(u64) -> Option<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

const OPERATIONS: [Operation; 10] = [
    Operation {
        name: "run",
        arguments: |_, number| words(&format!("run --rm busybox echo {number}")),
        prints: |number| Some(number.to_string()),
    },
    Operation {
        name: "run -d",
        arguments: |box_, _| {
            let script = "trap 'exit 0' TERM; while :; do echo line; sleep 0.2; done";
            let mut all = words(&format!(
                "run -d --init -v /data --name {box_} busybox sh -c"
            ));
            all.push(script.to_owned());
            all
        },
        prints: |_| None,
    },
    Operation {
        name: "exec",
        arguments: |box_, number| words(&format!("exec {box_} echo {number}")),
        prints: |number| Some(number.to_string()),
    },
    Operation {
        name: "exec -d",
        arguments: |box_, _| words(&format!("exec -d {box_} sleep 0.1")),
        prints: |_| None,
    },
    Operation {
        name: "stop",
        arguments: |box_, _| words(&format!("stop --time 1 {box_}")),
        prints: |_| None,
    },
    Operation {
        name: "start",
        arguments: |box_, _| words(&format!("start {box_}")),
        prints: |_| None,
    },
    Operation {
        name: "logs",
        arguments: |box_, _| words(&format!("logs --tail 5 {box_}")),
        prints: |_| None,
    },
    Operation {
        name: "ps",
        arguments: |_, _| words("ps -a -q"),
        prints: |_| None,
    },
    Operation {
        name: "diff",
        arguments: |box_, _| words(&format!("diff {box_}")),
        prints: |_| None,
    },
    Operation {
        name: "rm",
        arguments: |box_, _| words(&format!("rm --force --volumes {box_}")),
        prints: |_| None,
    },
];

struct Soak {
    /// Written to while the engine is killed and started.
    engine: RwLock<Engine>,
    over: AtomicBool,
    /// How often each operation has succeeded.
    done: Mutex<BTreeMap<&'static str, u64>>,
}

/// What a running engine holds.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    kilobytes: u64,
}

impl Soak {
    fn run(&self, time: Duration, life: Option<Duration>) {
        self.over.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || self.client(client));
            }
            let begun = Instant::now();
            while begun.elapsed() < time {
                std::thread::park_timeout(life.unwrap_or(time).min(time));
                if life.is_some() {
                    launch_again(&self.engine);
                }
            }
            self.over.store(true, Ordering::Relaxed);
        });
    }

    fn client(&self, client: u64) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(client + 1));
        // Two share a container, and get in each other's way.
        let container = format!("box{}", client / 2);
        while !self.over.load(Ordering::Relaxed) {
            let number = random.next();
            let operation = &OPERATIONS[usize::try_from(number % 10).unwrap()];
            let ran = self.wharf(&(operation.arguments)(&container, number));
            assert!(!ran.stderr.contains("panicked"), "{ran:?}");
            if ran.code != 0 {
                continue;
            }
            if let Some(text) = (operation.prints)(number) {
                assert_eq!(ran.out(), text);
            }
            *self.done.lock().unwrap().entry(operation.name).or_default() += 1;
            if number.is_multiple_of(7) {
                self.copy_out(&container);
            }
        }
    }

    /// Reads a file of the container, whatever state it is in.
    fn copy_out(&self, container: &str) {
        let path = format!("/containers/{container}/archive?path=/etc/passwd");
        let socket = self.engine.read().unwrap().socket();
        let Ok(answer) =
            wharf_tests_system::api::request(&socket, "GET", &path, "application/json", &[])
        else {
            return;
        };
        if answer.status == 200 {
            assert!(String::from_utf8_lossy(&answer.body).contains("root:"));
        }
    }

    fn wharf(&self, arguments: &[String]) -> Ran {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // The command is made under the lock and runs outside of it: a kill hits it anywhere.
        let mut client = self
            .engine
            .read()
            .unwrap()
            .client(Client::Wharf, &arguments);
        client.stdin(Stdio::null());
        command::run(client, &[])
    }

    /// Removes every container: also those whose creation an engine has answered with its death.
    fn clear(&self) {
        let list = || self.wharf(&words("ps -a -q")).out().to_owned();
        for id in list().lines() {
            let ran = self.wharf(&words(&format!("rm --force --volumes {id}")));
            assert!(
                ran.code == 0 || ran.stderr.contains("No such container"),
                "{ran:?}"
            );
        }
        assert_eq!(list(), "");
    }

    /// What the engine holds when it has nothing to do.
    fn settled(&self) -> Held {
        let pid = self.engine.read().unwrap().pid();
        let process = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.unwrap().trim().trim_end_matches(" kB").parse();
        Held {
            descriptors: std::fs::read_dir(process.join("fd")).unwrap().count(),
            kilobytes: kilobytes.unwrap(),
        }
    }
}

/// Kills the engine as a crash would, and starts the next.
fn launch_again(engine: &RwLock<Engine>) {
    let mut engine = engine.write().unwrap();
    engine.kill();
    engine.launch();
}

/// Marsaglia's xorshift: the same sequence in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}

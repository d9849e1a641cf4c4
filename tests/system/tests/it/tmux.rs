//! A container on a terminal that can be looked at: keys go in, and what a user would see comes out.

use std::path::PathBuf;
use std::process::Command;

use wharf_tests_system::{Client, Engine, ForeignRegistry, command, needs, wait};

use crate::engine;

/// A tmux server of its own with one window, in which a shell runs.
struct Screen {
    socket: PathBuf,
    log: PathBuf,
}

impl Screen {
    fn new(engine: &Engine, client: Client) -> Self {
        let directory = engine.directory();
        let screen = Self {
            socket: directory.join(format!("tmux-{client:?}")),
            log: directory.join(format!("tmux-{client:?}.code")),
        };
        // Nothing of the user's own set-up.
        let shell = "env -i PATH=/usr/bin:/bin TERM=screen PS1='host> ' sh";
        screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
            shell,
        ]);
        screen.prompts("host>");
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).args(arguments);
        command::run(tmux, &[]).out().to_owned()
    }

    /// Presses keys; names of keys are tmux's.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line.
    fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    fn shows(&self, text: &str) {
        wait::until_true(&format!("{text:?} on the screen"), || {
            self.text().contains(text)
        });
    }

    /// Waits until a prompt is the last thing on the screen.
    #[track_caller]
    fn prompts(&self, prompt: &str) {
        wait::until_true(&format!("the prompt {prompt:?}"), || {
            self.text().trim_end().ends_with(prompt)
        });
    }

    /// Waits until a line of the screen is a text.
    #[track_caller]
    fn has_line(&self, text: &str) {
        wait::until_true(
            &format!("the line {text:?} on the screen:\n{}", self.text()),
            || self.text().lines().any(|line| line.trim_end() == text),
        );
    }

    /// Empties the screen, so that what is looked for is new.
    fn clear(&self) {
        self.types("clear");
        wait::until_true("an empty screen with a prompt", || {
            matches!(self.text().trim(), "host>" | "/ #")
        });
    }

    /// The exit code of a line in the host's shell.
    #[track_caller]
    fn code(&self) -> String {
        self.types(&format!("echo $? > {}", self.log.display()));
        wait::until("the code in its file", || {
            std::fs::read_to_string(&self.log)
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
        .trim()
        .to_owned()
    }

    /// Whether the host's terminal is as a shell leaves it: it echoes, and gives lines.
    #[track_caller]
    fn is_restored(&self) {
        std::fs::remove_file(&self.log).ok();
        self.types(&format!(
            "stty -a > {}; echo done >> {}",
            self.log.display(),
            self.log.display()
        ));
        let modes = wait::until("the terminal's modes", || {
            std::fs::read_to_string(&self.log)
                .ok()
                .filter(|text| text.ends_with("done\n"))
        });
        std::fs::remove_file(&self.log).ok();
        for mode in ["icanon", "echo", "isig", "opost", "icrnl"] {
            let on = modes.split_whitespace().any(|word| word == mode);
            assert!(on, "{mode} in {modes}");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&self.text());
        }
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).arg("kill-server");
        command::run(tmux, &[]);
    }
}

#[expect(
    clippy::print_stderr,
    reason = "shown by the test runner for a failed test only"
)]
fn report(screen: &str) {
    eprintln!("--- the screen\n{screen}");
}

/// Runs a scenario on a screen with each client.
fn on_screens(scenario: impl Fn(&Engine, &Screen, &str)) {
    if !needs::met(&["tmux", "stty"]) {
        return;
    }
    let Some(engine) = engine() else { return };
    on_screens_at(engine, scenario);
}

fn on_screens_at(engine: Engine, scenario: impl Fn(&Engine, &Screen, &str)) {
    for client in Client::ALL {
        let screen = Screen::new(&engine, client);
        let line = engine.client(client, &[]);
        let words: Vec<String> = std::iter::once(line.get_program())
            .chain(line.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        scenario(&engine, &screen, &words.join(" "));
    }
    engine.finish();
}

#[test]
fn a_shell_is_entered_left_and_entered_again() {
    on_screens(|engine, screen, client| {
        screen.types(&format!("{client} run -it --name shell busybox sh"));
        screen.prompts("/ #");
        screen.types("stty size; tty");
        screen.has_line("30 100");
        screen.has_line("/dev/pts/0");
        // A key that ends what runs inside, and not the client.
        screen.types("sleep 1000");
        screen.press(&["C-c"]);
        screen.types("echo $?.");
        screen.has_line("130.");
        // The window's size is followed.
        screen.tmux(&["resize-window", "-x", "120", "-y", "40"]);
        wait::until_true("the new size inside", || {
            screen.types("stty size");
            screen.text().contains("40 120")
        });
        // The first of the keys to leave by alone goes through.
        screen.types("cat -v");
        screen.press(&["C-p", "x", "Enter"]);
        screen.has_line("^Px");
        screen.press(&["C-d"]);
        screen.press(&["C-p", "C-q"]);
        screen.prompts("host>");
        screen.is_restored();
        assert_eq!(engine.inspect("shell", "{{.State.Running}}"), "true");
        screen.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        screen.clear();
        screen.types(&format!("{client} attach shell"));
        wait::until_true("the prompt after attaching", || {
            screen.press(&["Enter"]);
            screen.text().trim_end().ends_with("/ #")
        });
        screen.types("exit 3");
        screen.prompts("host>");
        assert_eq!(screen.code(), "3");
        screen.is_restored();
        screen.types(&format!("{client} rm shell"));
        screen.has_line("shell");
    });
}

#[test]
fn an_editor_and_top_draw_their_screens() {
    on_screens(|engine, screen, client| {
        engine
            .wharf(&["run", "-d", "--name", "edited", "busybox", "sleep", "1000"])
            .succeeded();
        screen.types(&format!("{client} exec -it edited vi /tmp/text"));
        screen.shows("- /tmp/text");
        screen.press(&["i"]);
        screen.tmux(&["send-keys", "-l", "first line"]);
        screen.press(&["Enter"]);
        screen.tmux(&["send-keys", "-l", "second line"]);
        screen.press(&["Escape"]);
        // What follows an escape at once would be taken for one key with it.
        screen.shows("- /tmp/text [Modified]");
        screen.tmux(&["send-keys", "-l", "ZZ"]);
        screen.prompts("host>");
        assert_eq!(
            engine.wharf(&["exec", "edited", "cat", "/tmp/text"]).out(),
            "first line\nsecond line"
        );
        screen.is_restored();
        screen.types(&format!("{client} exec -it edited top"));
        screen.shows("Load average:");
        screen.shows("COMMAND");
        screen.press(&["q"]);
        screen.prompts("host>");
        assert_eq!(screen.code(), "0");
        screen.is_restored();
        engine.wharf(&["rm", "-f", "edited"]).succeeded();
    });
}

#[test]
fn a_process_that_joins_follows_the_window_and_has_its_own_keys() {
    on_screens(|engine, screen, client| {
        engine
            .wharf(&["run", "-d", "--name", "joined", "busybox", "sleep", "1000"])
            .succeeded();
        screen.types(&format!(
            "{client} exec -it --detach-keys ctrl-x,x joined sh"
        ));
        screen.prompts("/ #");
        screen.types("stty size");
        screen.has_line("30 100");
        screen.tmux(&["resize-window", "-x", "90", "-y", "25"]);
        wait::until_true("the new size inside", || {
            screen.types("stty size");
            screen.text().contains("25 90")
        });
        screen.press(&["C-x", "x"]);
        screen.prompts("host>");
        screen.is_restored();
        screen.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        screen.clear();
        screen.types(&format!("{client} exec -it joined sh"));
        screen.prompts("/ #");
        screen.types("exit 4");
        screen.prompts("host>");
        assert_eq!(screen.code(), "4");
        screen.is_restored();
        engine.wharf(&["rm", "-f", "joined"]).succeeded();
    });
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let needed = [
        "tmux",
        "stty",
        "docker",
        "dockerd",
        "containerd",
        "busybox",
        "docker-registry",
    ];
    if !needs::met(&needed) {
        return;
    }
    let registry = ForeignRegistry::closed();
    let registry = registry.address();
    on_screens_at(Engine::dockerd_with_busybox(), |engine, screen, client| {
        let configuration = engine.directory().join("screen");
        let login = format!(
            "DOCKER_CONFIG='{}' {client} login {registry}",
            configuration.display()
        );
        screen.types(&login);
        screen.prompts("Username:");
        screen.types("tester");
        screen.prompts("Password:");
        screen.types("secret");
        screen.has_line("Login Succeeded");
        screen.prompts("host>");
        assert!(!screen.text().contains("secret"), "{}", screen.text());
        screen.is_restored();
        std::fs::remove_dir_all(&configuration).unwrap();
        // Leaving it half-way brings the terminal back, too.
        screen.clear();
        screen.types(&login);
        screen.prompts("Username:");
        screen.types("tester");
        screen.prompts("Password:");
        screen.tmux(&["send-keys", "-l", "sec"]);
        screen.press(&["C-c"]);
        screen.prompts("host>");
        screen.is_restored();
        assert!(!configuration.join("config.json").exists());
        screen.clear();
    });
}

#[test]
fn a_client_that_is_ended_leaves_the_terminal_as_it_was() {
    if !needs::met(&["tmux", "stty"]) {
        return;
    }
    let Some(engine) = engine() else { return };
    // Docker's own client leaves it raw.
    let screen = Screen::new(&engine, Client::Wharf);
    let line = engine.client(Client::Wharf, &[]);
    let host = engine.host();
    screen.types(&format!(
        "'{}' --host {host} run -it --name ended busybox sh",
        line.get_program().to_string_lossy()
    ));
    screen.prompts("/ #");
    let pid = wait::until("the client's process", || client_process(&host));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    screen.prompts("host>");
    assert_eq!(screen.code(), "143");
    screen.is_restored();
    // The signal was the client's: the container goes on.
    assert_eq!(engine.inspect("ended", "{{.State.Running}}"), "true");
    drop(screen);
    engine.finish();
}

/// The process of the client that runs a container on a terminal.
fn client_process(host: &str) -> Option<rustix::process::Pid> {
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let ours = words.get(2) == Some(&host.as_bytes()) && words.contains(&&b"-it"[..]);
        let pid = entry.file_name().to_str()?.parse().ok()?;
        ours.then(|| rustix::process::Pid::from_raw(pid)).flatten()
    })
}

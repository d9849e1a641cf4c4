//! A virtual machine with a pure cgroup v2, for machines that boot to v1.
//!
//! QEMU emulates the processor, so that no virtualisation is needed; Debian's cloud kernel boots to
//! a shell script in an archive in memory within seconds. The archive has a static test program,
//! the `wharf` program, busybox and the kernel modules; the script runs the test program, and what
//! it says and its exit code come over the serial console. The kernel's package is fetched with apt
//! once and unpacked beside the build's output, or found in `$WHARF_GUEST_KERNEL`.

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cpio::Archive;
use crate::modules;

/// The package whose one dependency is the newest kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// What Debian's kernel does not have built in.
const MODULES: &[&str] = &[
    "overlay",
    "veth",
    "bridge",
    "loop",
    "dummy",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_nat",
    "nft_redir",
    "nft_limit",
    "nft_log",
    "nft_numgen",
    "nft_hash",
    "nft_ct",
    "nft_reject_inet",
    "nft_fib_inet",
];
/// Before the exit code on the console.
const MARK: &str = "wharf-guest-exit: ";
/// An emulated processor is some thirty times slower than a real one.
const LIMIT: Duration = Duration::from_secs(600);

/// Kernel files change root only when the current root is a mount of its own, which that of the
/// archive is not; so the archive's system is bound to itself and moved.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox mount -o bind /system /system
cd /system
/bin/busybox mount -o move . /
exec /bin/busybox chroot . /bin/busybox sh /boot
";

/// Tests get a file system that can do all that Linux's can: in memory, 6.1 has no owners' mapping.
const BOOT: &str = "\
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb WHARF_BIN=/tests/wharf RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs dev /dev
mkdir /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
for module in /modules/*; do insmod $module; done
ip link set lo up
truncate -s 512M /disk
mke2fs -F /disk > /dev/null
mount -t ext4 -o loop /disk /tmp || exit 1
cd /tests
/tests/deps/it $(cat /arguments)
echo \"wharf-guest-exit: $?\"
poweroff -f
";

/// What a guest's run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code of the test program; absent when the guest never came to it.
    pub code: Option<i32>,
    /// All that came over the console.
    pub console: String,
    /// How long it took.
    pub took: Duration,
}

/// Boots a guest and runs `program` in it with `arguments`, `wharf` lying beside.
pub fn run(program: &Path, wharf: &Path, arguments: &[&str]) -> Result<Outcome> {
    let kernel = Kernel::find(program)?;
    let directory = std::env::temp_dir().join(format!("wt-guest-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let archive = directory.join("initramfs");
    let outcome = pack(&archive, &kernel, program, wharf, arguments)
        .and_then(|()| boot(&kernel.image, &archive));
    fs::remove_dir_all(&directory)?;
    outcome
}

/// An unpacked kernel package.
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    fn find(program: &Path) -> Result<Self> {
        if let Some(root) = std::env::var_os("WHARF_GUEST_KERNEL") {
            return Self::in_package(Path::new(&root));
        }
        // target/<triple>/<profile>/deps/program
        let target = program.ancestors().nth(4).unwrap_or(Path::new("/var/tmp"));
        let root = target.join("guest-kernel");
        if !root.exists() {
            unpack(&root)?;
        }
        Self::in_package(&root)
    }

    fn in_package(root: &Path) -> Result<Self> {
        let image = fs::read_dir(root.join("boot"))
            .with_context(|| format!("{} is not an unpacked kernel package", root.display()))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().contains("vmlinuz"))
            .with_context(|| format!("no kernel in {}", root.display()))?;
        Ok(Self {
            image,
            modules: root.join("lib/modules"),
        })
    }
}

/// Fetches and unpacks the kernel, in a place of its own first: a half-unpacked one would be found
/// by the next run.
fn unpack(root: &Path) -> Result<()> {
    let depends = output(Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("apt knows no package {META_PACKAGE}"))?;
    let place = root.with_extension(std::process::id().to_string());
    fs::create_dir_all(&place)?;
    output(
        Command::new("apt-get")
            .args(["download", package])
            .current_dir(&place),
    )?;
    let archive = fs::read_dir(&place)?
        .next()
        .with_context(|| format!("apt-get download {package} left no file"))??
        .path();
    output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&place))?;
    fs::remove_file(&archive)?;
    match fs::rename(&place, root) {
        Err(_) if root.exists() => fs::remove_dir_all(&place)?,
        result => result?,
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Makes the archive.
fn pack(
    path: &Path,
    kernel: &Kernel,
    program: &Path,
    wharf: &Path,
    arguments: &[&str],
) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(path)?));
    for directory in [
        "bin",
        "dev",
        "system",
        "system/bin",
        "system/dev",
        "system/etc",
        "system/modules",
        "system/proc",
        "system/root",
        "system/run",
        "system/sys",
        "system/tests",
        "system/tests/deps",
        "system/tmp",
        "system/var",
        "system/usr",
        "system/usr/bin",
        "system/var/tmp",
        "system/var/lib",
    ] {
        archive.directory(directory)?;
    }
    archive.character_device("dev/console", 5, 1)?;
    let busybox = wharf_tests_system::needs::program("busybox").context("no busybox")?;
    let busybox = fs::read(busybox)?;
    archive.file("bin/busybox", 0o755, &busybox)?;
    archive.file("system/bin/busybox", 0o755, &busybox)?;
    archive.symlink("system/usr/bin/busybox", "/bin/busybox")?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("system/boot", 0o755, BOOT.as_bytes())?;
    archive.file("system/arguments", 0o644, arguments.join(" ").as_bytes())?;
    archive.file(
        "system/etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\n",
    )?;
    archive.file("system/etc/group", 0o644, b"root:x:0:\n")?;
    archive.file("system/tests/deps/it", 0o755, &fs::read(program)?)?;
    archive.file("system/tests/wharf", 0o755, &fs::read(wharf)?)?;
    for (number, module) in modules::in_order(&kernel.modules, MODULES)?
        .iter()
        .enumerate()
    {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(
            &format!("system/modules/{number:02}-{name}"),
            0o644,
            &fs::read(module)?,
        )?;
    }
    archive.finish()?;
    Ok(())
}

/// Boots, and waits for the machine to power itself off.
fn boot(image: &Path, archive: &Path) -> Result<Outcome> {
    let start = Instant::now();
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1536"])
        .args([
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
            "-monitor",
            "none",
        ])
        .args([
            "-append",
            "console=ttyS0 quiet panic=-1 random.trust_cpu=on apparmor=0",
        ])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("qemu-system-x86_64")?;
    let mut output = machine.stdout.take().context("the console was piped")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = loop {
        if machine.try_wait()?.is_some() {
            break true;
        }
        if start.elapsed() > LIMIT {
            machine.kill()?;
            machine.wait()?;
            break false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    let Ok(bytes) = reader.join() else {
        bail!("reading the console panicked");
    };
    let console = String::from_utf8_lossy(&bytes?).replace('\r', "");
    let code = console
        .lines()
        .find_map(|line| line.strip_prefix(MARK)?.trim().parse().ok());
    Ok(Outcome {
        code: code.filter(|_| ended),
        console,
        took: start.elapsed(),
    })
}

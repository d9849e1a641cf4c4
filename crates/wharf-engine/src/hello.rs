//! `wharf hello`: what the built-in image `hello-world` runs.

/// The greeting. It says what has just been shown to work, and what to try next.
pub const GREETING: &str = "
Bonjour from Wharf!
If you can read this, your engine works from end to end.

What just happened:
 1. The command line asked the engine for a container of the image hello-world.
 2. The engine made that image from its own program: no registry was needed.
 3. It took a ready network sandbox and a waiting shim, and mounted the image's root.
 4. The shim made namespaces, limits and a system call filter around one process,
    and that process printed these lines.

Next, bring in a root file system of your own and look around:
 $ tar -C rootfs -c . | wharf import - mine
 $ wharf run -it mine sh

";

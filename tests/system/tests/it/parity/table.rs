//! The table.

pub(super) mod data;

use super::Outcome;

/// A command, and how far its pairings may differ.
pub(super) struct Row {
    pub(super) line: &'static str,
    pub(super) input: &'static str,
    clients: Option<&'static str>,
    engines: Option<&'static str>,
    /// The release of Docker's client that knows the line.
    since: u32,
}

pub(super) const fn row(line: &'static str) -> Row {
    Row {
        line,
        input: "",
        clients: None,
        engines: None,
        since: 0,
    }
}

impl Row {
    /// The same with something on standard input.
    pub(super) const fn input(mut self, input: &'static str) -> Self {
        self.input = input;
        self
    }

    /// The two clients differ, at either engine.
    const fn clients(mut self, reason: &'static str) -> Self {
        self.clients = Some(reason);
        self
    }

    /// The two engines differ, through either client.
    pub(super) const fn engines(mut self, reason: &'static str) -> Self {
        self.engines = Some(reason);
        self
    }

    /// Docker's client has had it since this release.
    pub(super) const fn since(mut self, release: u32) -> Self {
        self.since = release;
        self
    }

    /// What is wrong with a row's outcomes: docker at dockerd, docker at ours, wharf at dockerd, wharf at ours.
    pub(super) fn judge(&self, outcomes: &[Outcome; 4], release: u32) -> Option<String> {
        let [dd, dw, wd, ww] = outcomes;
        // What an older client of Docker's prints to people is not what the newer one prints.
        let old = release < NEWEST;
        let clients_agree = if release < self.since {
            true
        } else if old {
            dd.for_programs() == wd.for_programs() && dw.for_programs() == ww.for_programs()
        } else {
            dd == wd && dw == ww
        };
        let engines_agree = wd == ww && (release < self.since || dd == dw);
        let complaint = match (clients_agree, self.clients, engines_agree, self.engines) {
            (false, None, ..) => "the clients differ",
            (.., false, None) => "the engines differ",
            (true, Some(_), ..) if !old => "the clients do not differ any more",
            (.., true, Some(_)) => "the engines do not differ any more",
            _ => return None,
        };
        let told: Vec<String> = [
            "docker/dockerd",
            "docker/ours",
            "wharf/dockerd",
            "wharf/ours",
        ]
        .iter()
        .zip(outcomes)
        .map(|(pairing, outcome)| format!("--- {pairing}: {}", outcome.told()))
        .collect();
        Some(format!("# {}\n{complaint}\n{}", self.line, told.join("")))
    }
}

/// The release of Docker's client whose words ours are.
const NEWEST: u32 = 27;

impl Outcome {
    /// What programs look at.
    fn for_programs(&self) -> (i32, &str) {
        (self.code, &self.stdout)
    }

    fn told(&self) -> String {
        format!("{}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

/// Ours are the words of newer engines of Docker's; the one that Debian has is from 2020.
const NEWER_WORDS: &str = "newer engines of Docker's say it as ours does";

/// What is wrong with an archive.
const ARCHIVES: &str = "ours says what is wrong with an archive, and where";

/// The life of containers.
pub(super) static CONTAINERS: &[Row] = &[
    row("ps"),
    row("ps -aq"),
    row("run --rm busybox echo hello"),
    row("run --rm busybox sh -c 'echo out; echo err >&2; exit 3'"),
    row("run --rm busybox sh -c 'kill -9 $$'"),
    row("run --rm busybox nosuchprogram"),
    row("run --rm busybox /etc").engines("ours says why it cannot be run"),
    row("run --rm busybox /etc/passwd"),
    row("run --rm -w /nowhere busybox pwd"),
    row("run --rm -u nobody busybox true"),
    row("run --rm -u 33 busybox id"),
    row("run --rm -u www busybox id"),
    row("run --rm -e A=1 -e PATH=/bin busybox sh -c 'echo $A $PATH'"),
    row("run --rm -e B= busybox sh -c 'echo ${B-none}'"),
    row("run --rm -h box --domainname example.org busybox hostname"),
    row("run --rm -h box busybox cat /etc/hostname"),
    row("run --rm -i busybox cat").input("typed\n"),
    row("run -i --rm -a stdin -a stdout busybox sh -c 'cat; echo err >&2'").input("typed\n"),
    row("run --rm --entrypoint /bin/echo busybox hi there"),
    row("run --rm --read-only busybox touch /x"),
    row("run --rm --tmpfs /t:size=1m busybox sh -c 'mount | grep \" /t \" | cut -d\" \" -f1-5'"),
    row("run --rm -v /nowhere/at/all:/x:bad busybox true"),
    row("run --rm --mount type=bind,src=/nowhere/at/all,dst=/x busybox true"),
    row("run --rm --cap-drop ALL busybox chown www /tmp"),
    row("run --rm --cap-add NOSUCH busybox true"),
    row("run --rm --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'"),
    row("run --rm --sysctl net.ipv4.ip_forward=1 busybox cat /proc/sys/net/ipv4/ip_forward"),
    row("run --rm --network none busybox ls /sys/class/net"),
    row("run --rm --network nosuch busybox true"),
    row("run --rm --memory 1k busybox true"),
    row("run --rm --cpus 1000 busybox true"),
    row("run --rm --isolation hyperv busybox true"),
    row("run --rm --log-driver nosuch busybox true").engines(NEWER_WORDS),
    row("run --rm --stop-signal NOSUCH busybox true"),
    row("run --rm --restart sometimes busybox true"),
    row("run --rm --name / busybox true"),
    row("run --rm --security-opt nosuch busybox true"),
    row("run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status"),
    row("run --rm -t busybox tty"),
    row("run --rm --init busybox sh -c 'cat /proc/1/comm'"),
    row("run --rm --cidfile id busybox true"),
    row("run --rm --cidfile id busybox true"),
    row("create --name made --label a=b --label c busybox sh -c 'echo hi; exit 4'"),
    row("create --name made busybox"),
    row("ps -a --filter name=made"),
    row("ps -a --no-trunc --filter name=made"),
    row("ps -a --filter name=made --format '{{json .}}'"),
    row("ps -a --filter name=made --format 'table {{.Names}}\\t{{.Label \"a\"}}\\t{{.State}}'"),
    row(
        "ps -a --filter name=made --format '{{.Names}}: {{.Labels}} {{.Ports}} {{.Mounts}} {{.Networks}}'",
    ),
    row("ps -a --filter label=a=b --format '{{.Names}}'"),
    row("ps -a --filter label=a=x --format '{{.Names}}'"),
    row("ps -a --filter status=created --format '{{.Names}}'"),
    row("ps -a --filter status=nosuch"),
    row("ps -a --filter nosuch=1"),
    row("ps -a --filter ancestor=busybox --format '{{.Names}}'"),
    row("ps -a --filter before=nosuch").engines("ours has one sentence for it"),
    row("ps -aq --format '{{.Nope}}'"),
    row("ps -a --format '{{.Nope}}'"),
    row("ps -a --format '{{.Names'"),
    row("ps -n 1 --format '{{.Names}}'"),
    row("ps -l --format '{{.Names}}'"),
    row("inspect -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.Config.Cmd}}' made"),
    row("inspect -f '{{json .Config.Labels}} {{index .Config.Labels \"a\"}}' made"),
    row("inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' made"),
    row("inspect -f '{{json .Config.Cmd}} {{json .Config.Labels}} {{.Config.Image}}' made"),
    row("inspect -f '{{json .State}}' made"),
    row("inspect -f '{{.Nope}}' made"),
    row("inspect -f '{{.Config.Nope}}' made"),
    row("inspect -f '{{.Config.Labels.nope}}' made"),
    row("inspect -f '{{printf \"%q %d\" .Name .State.ExitCode | upper}}' made"),
    row("inspect nosuch"),
    row("inspect --type container nosuch"),
    row("container inspect nosuch"),
    row("container inspect made nosuch -f '{{.Name}}'"),
    row("start made"),
    row("wait made"),
    row("logs made"),
    row("start -a made"),
    row("logs made"),
    row("logs -n 1 made"),
    row("logs --tail 0 made"),
    row("logs nosuch"),
    row("diff made"),
    row("port made"),
    row("top made"),
    row("exec made true"),
    row("attach made"),
    row("pause made"),
    row("unpause made").engines("ours says what is in the way first"),
    row("kill made").engines("ours names the container by its id both times"),
    row("stop made"),
    row("start nosuch"),
    row("start nosuch made another"),
    row("restart nosuch"),
    row("rename made renamed"),
    row("rename nosuch other"),
    row("rename renamed /"),
    row(
        "run -d --name up -p 127.0.0.1::80 -v /data --stop-signal TERM busybox sh -c 'trap \"exit 5\" TERM; touch /tmp/x; mkdir /srv; while :; do sleep 0.1; done'",
    ),
    row("exec up sh -c 'while ! test -d /srv; do :; done'"),
    row("ps --format '{{.Names}} {{.Status}} {{.Image}} {{.LocalVolumes}}'"),
    row("ps --filter name=up --format '{{.Command}}'"),
    row("ps --filter health=none --format '{{.Names}}'"),
    row("ps --filter exited=0 --format '{{.Names}}'"),
    row("ps --filter volume=/data --format '{{.Names}}'"),
    row("ps --filter expose=80 --format '{{.Names}}'"),
    row("ps --filter network=bridge --format '{{.Names}}'"),
    row("port up 81"),
    row("port up 80/udp"),
    row("port up x"),
    row("exec up echo hi"),
    row("exec -i up cat").input("typed\n"),
    row("exec -e A=1 -w /srv -u www up sh -c 'echo $A; pwd; id -un'"),
    row("exec up sh -c 'exit 7'"),
    row("exec up nosuchprogram").engines("newer engines of Docker's exit with 127, too"),
    row("exec -w /nowhere up true").engines("newer engines of Docker's exit with 127, too"),
    row("exec -u nosuch up true"),
    row("exec -d up touch /tmp/y"),
    row("exec -it up true"),
    row("exec nosuch true"),
    row("rm up").engines(NEWER_WORDS),
    row("rename up renamed"),
    row("pause up"),
    row("pause up"),
    row("exec up true").engines(NEWER_WORDS),
    row("ps --filter status=paused --format '{{.Names}} {{.Status}}'"),
    row("unpause up"),
    row("unpause up"),
    row("kill --signal NOSUCH up"),
    row("kill --signal 0 up"),
    row("stop -t 5 up"),
    row("ps -a --filter name=up --format '{{.Status}}'"),
    row(
        "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.RestartCount}}' up",
    ),
    row("stop up"),
    row("kill up").engines(NEWER_WORDS),
    row("wait up up"),
    row("wait nosuch"),
    row("restart -t 1 up"),
    row("rm -f up nosuch"),
    row("rm -f nosuch"),
    row("rm nosuch renamed"),
    row("rm renamed"),
    row("ps -a --format '{{.Names}}'"),
    row("create --name healthy --health-cmd 'exit 0' --health-interval 1h busybox sleep 100"),
    row("inspect -f '{{json .Config.Healthcheck}}' healthy"),
    row("rm healthy"),
    row(
        "create --name full -m 64m --memory-swap 128m --cpus 0.5 --pids-limit 50 --cpuset-cpus 0 --restart on-failure:3 --add-host a:1.2.3.4 --dns 9.9.9.9 --dns-search example.org --dns-option ndots:1 -l x=y --group-add 5 --shm-size 1m --ulimit nproc=9 --cap-add NET_ADMIN --cap-drop MKNOD --device /dev/null:/dev/nothing:r --mount type=tmpfs,dst=/u,tmpfs-size=1m -v /etc:/host:ro --expose 7-9 -p 8000-8001:8000-8001/udp --oom-score-adj 5 --blkio-weight 0 --stop-timeout 3 --sysctl kernel.msgmax=9000 --ipc private --uts host --cgroupns private --log-opt max-size=1m --log-driver json-file busybox true",
    ),
    row(
        "inspect -f '{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.PidsLimit}} {{.CpusetCpus}} {{.RestartPolicy.Name}}:{{.RestartPolicy.MaximumRetryCount}} {{json .ExtraHosts}} {{json .Dns}} {{json .DnsSearch}} {{json .DnsOptions}} {{json .GroupAdd}} {{.ShmSize}} {{range .Ulimits}}{{.Name}}:{{.Soft}}:{{.Hard}}{{end}} {{json .CapAdd}} {{json .CapDrop}} {{range .Devices}}{{.PathOnHost}}:{{.PathInContainer}}:{{.CgroupPermissions}}{{end}} {{json .Binds}} {{range $p, $b := .PortBindings}}{{$p}}{{range $b}}:{{.HostIp}}:{{.HostPort}}{{end}} {{end}} {{.OomScoreAdj}} {{json .Sysctls}} {{.IpcMode}} {{.UTSMode}} {{.CgroupnsMode}} {{.LogConfig.Type}} {{.ReadonlyRootfs}} {{.Privileged}} {{.PublishAllPorts}} {{.AutoRemove}}{{end}}' full",
    ),
    row(
        "inspect -f '{{with .Config}}{{json .Cmd}} {{json .Labels}} {{json .ExposedPorts}} {{.Image}} {{.StopTimeout}} {{.Tty}} {{.OpenStdin}} {{json .Entrypoint}}{{end}}' full",
    ),
    row(
        "inspect -f '{{range .Mounts}}{{if eq .Type \"bind\"}}{{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}}{{end}}{{end}}' full",
    ),
    row("rm -v full"),
];

/// Images.
pub(super) static IMAGES: &[Row] = &[
    row("images --format '{{.Repository}}:{{.Tag}}' busybox"),
    row("images busybox"),
    row("images --digests busybox"),
    row("images --no-trunc -q busybox"),
    row("images --filter reference=busy* --format '{{.Repository}}'"),
    row("images --filter dangling=true"),
    row("images --filter dangling=maybe"),
    row("images --filter nosuch=1"),
    row("images --filter before=nosuch"),
    row("images nosuch"),
    row("images --format '{{json .}}' busybox")
        .clients("the version of the API that ours speaks counts an image's containers")
        .engines("the version of the API that ours speaks counts an image's containers"),
    row("images --format 'table {{.ID}}\\t{{.Size}}' busybox"),
    row("tag busybox box:1"),
    row("tag nosuch box:2"),
    row("tag busybox UPPER"),
    row("tag busybox 'a b'"),
    row("images --format '{{.Repository}}:{{.Tag}}' box"),
    row("image inspect -f '{{.RepoTags}} {{.Os}} {{.Config.Cmd}} {{.RootFS.Type}}' busybox"),
    row("image inspect -f '{{json .Config}}' busybox")
        .clients("what an older engine sends is shown as it was sent")
        .engines("dockerd of 2020 sends more members"),
    row("history busybox"),
    row("history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}|{{.Size}}' busybox"),
    row("history -H=false -q busybox"),
    row("history nosuch"),
    row("save nosuch").engines("ours names an image with its tag"),
    row("save -o busybox.tar busybox"),
    row("rmi box:1"),
    row("rmi nosuch"),
    row("rmi -f nosuch"),
    row("create --name user busybox"),
    row("rm user"),
    row("load -i busybox.tar"),
    row("load -q -i busybox.tar"),
    row("load -i nosuch.tar"),
    row("load").input("this is no archive").engines(ARCHIVES),
    row("import - made:1")
        .input("this is no archive")
        .engines(ARCHIVES),
    row("import nosuch.tar made:1"),
    row(
        "import --message hello --change 'ENV A=1' --change 'CMD [\"sh\", \"-c\", \"x\"]' --change 'EXPOSE 80' --change 'USER www' --change 'WORKDIR /srv' --change 'VOLUME /v' --change 'LABEL l=1' --change 'ENTRYPOINT [\"/bin/sh\"]' busybox.tar made:1",
    ),
    row(
        "image inspect -f '{{with .Config}}{{.User}} {{.Env}} {{.Cmd}} {{.Entrypoint}} {{.WorkingDir}} {{json .Labels}} {{json .ExposedPorts}} {{json .Volumes}}{{end}} {{.Comment}}' made:1",
    ),
    row("history --format '{{.CreatedBy}}|{{.Comment}}' made:1"),
    row("rmi made:1"),
    row("image ls --format '{{.Repository}}' made"),
    row("pull UPPER"),
    row("run --pull never nosuch true"),
    row("create --pull sometimes busybox"),
    row("run ''"),
    row("image rm --platform linux/arm64 busybox")
        .since(28)
        .engines("dockerd of 2020 has no such parameter"),
    row("image inspect --platform linux/arm64 busybox")
        .since(28)
        .engines("dockerd of 2020 has no such parameter"),
];

/// The engine itself.
pub(super) static SYSTEM: &[Row] = &[
    row("version --format '{{.Server.Os}}/{{.Server.Arch}}'"),
    row("version --format '{{.Nope}}'"),
    row("version --format '{{'"),
    row("info --format '{{.OSType}} {{.Architecture}} {{.NCPU}} {{.Containers}}'"),
    row("info --format '{{.Nope}}'"),
    row("info --format '{{'"),
    row("system info --format '{{json .SecurityOptions}}'").engines(NEWER_WORDS),
    row("system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'"),
    row("system df --format '{{.Nope}}'"),
    row("system df --format 'table {{.Type}}\\t{{.Active}}'"),
    row("system df -v --format x"),
    row("run -d --name one busybox sleep 100"),
    row(
        "events --since START --until NOW --filter container=one --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.image}}'",
    ),
    row("events --since START --until NOW --filter nosuch=1")
        .engines("dockerd of 2020 takes filters it does not know"),
    row("events --since x"),
    row("events --format '{{.Nope}}' --since START --until NOW"),
    row("update --cpu-shares 512 one"),
    row("inspect -f '{{.HostConfig.CpuShares}}' one"),
    row("update one"),
    row("update --memory 1k one"),
    row("update --restart sometimes one").engines(NEWER_WORDS),
    row("update nosuch --cpu-shares 5"),
    row("rm -f one"),
];

/// Lines that no engine is asked about, or that it refuses.
pub(super) static WRONG: &[Row] = &[
    row("nosuch"),
    row("container nosuch"),
    row("--nosuch ps"),
    row("-X ps"),
    row("ps --nosuch"),
    row("ps -X"),
    row("ps extra"),
    row("ps -f nosuch"),
    row("ps -n x"),
    row("ps --all=maybe"),
    row("run"),
    row("run --nosuch"),
    row("run -m xx busybox"),
    row("run -e"),
    row("run -p 99999:1 busybox"),
    row("run -p x busybox"),
    row("run -p 1.2.3:80:80 busybox"),
    row("run --expose x busybox"),
    row("run -v : busybox").clients("a volume of nothing is refused before anything is made"),
    row("run -v a:b:c:d busybox"),
    row("run --mount x busybox"),
    row("run --mount type=bind,dst=/x busybox"),
    row("run --mount type=volume,src=v busybox"),
    row("run --ulimit x busybox"),
    row("run --ulimit nosuch=1 busybox"),
    row("run --ulimit nofile=2:1 busybox"),
    row("run --cpus x busybox"),
    row("run --cpu-count 1 busybox"),
    row("run --memory-swappiness 200 busybox"),
    row("run --blkio-weight 5 busybox"),
    row("run --blkio-weight-device x busybox"),
    row("run --device-read-bps /dev/x:y busybox"),
    row("run --device relative busybox"),
    row("run --gpus foo=bar,x busybox"),
    row("run --add-host x busybox"),
    row("run --add-host x:y busybox"),
    row("run --dns x busybox"),
    row("run --env-file nosuch busybox"),
    row("run --label-file nosuch busybox"),
    row("run -e =x busybox"),
    row("run --pid nosuch busybox"),
    row("run --uts nosuch busybox"),
    row("run --userns nosuch busybox"),
    row("run --cgroupns nosuch busybox"),
    row("run --ipc nosuch busybox"),
    row("run --restart always --rm busybox"),
    row("run --restart always:3 busybox").engines(NEWER_WORDS),
    row("run --restart on-failure:x busybox"),
    row("run -d -a stdout busybox"),
    row("run -a nosuch busybox"),
    row("run --detach-keys ctrl-1 busybox true")
        .clients("Docker's leaves it to the engine, and then cannot say what is wrong"),
    row("run --health-cmd x --no-healthcheck busybox"),
    row("run --health-interval -1s --health-cmd x busybox"),
    row("run --health-retries -1 --health-cmd x busybox"),
    row("run --log-driver none --log-opt a=b busybox"),
    row("run --network a --network a busybox"),
    row("run --network-alias a busybox true"),
    row("run --mac-address x busybox"),
    row("run --stop-timeout x busybox"),
    row("run --shm-size x busybox"),
    row("run --oom-score-adj 5000 busybox true"),
    row("run --storage-opt x busybox"),
    row("run --sysctl x busybox"),
    row("run --pids-limit x busybox"),
    row("run --pull sometimes busybox"),
    row("run UPPER"),
    row("run 'a b'"),
    row("run -it busybox"),
    row("start"),
    row("start -a a b"),
    row("start --checkpoint x y"),
    row("attach a b"),
    row("attach nosuch"),
    row("exec a"),
    row("exec --env-file nosuch a b"),
    row("rename a"),
    row("inspect"),
    row("inspect --type nosuch x"),
    row("inspect -f '{{' x"),
    row("inspect -f '{{nosuch}}' x"),
    row("inspect -f '{{end}}' x"),
    row("inspect -f '{{if}}' x"),
    row("inspect -f '{{.a | }}' x"),
    row("inspect -s --type image -f '{{.Os}}' busybox"),
    row("logs"),
    row("logs --since x nosuch"),
    row("logs --tail x nosuch"),
    row("kill"),
    row("stop -t x y"),
    row("wait"),
    row("port"),
    row("top"),
    row("history"),
    row("rmi"),
    row("tag a"),
    row("save"),
    row("load x"),
    row("import"),
    row("images a b").clients("a misprint of Docker's: SRun"),
    row("images -f x"),
    row("version x"),
    row("info x"),
    row("system nosuch"),
    row("system df x"),
    row("events x"),
    row("-H unix:///nonexistent/sock ps"),
    row("-l nosuch ps"),
    row("context show"),
    row("context ls"),
    row("context inspect nosuch"),
    row("context use nosuch"),
    row("context create"),
    row("context create 'a b'"),
    row("context create one --docker host=unix:///one.sock --description 'The first'"),
    row("context create one --docker host=unix:///one.sock"),
    row("context create two --from one"),
    row("context create three --docker nosuch=1"),
    row("context ls"),
    row("context ls -q"),
    row("context ls --format '{{json .}}'"),
    row("context update one --description Changed"),
    row("context update nosuch --description Changed"),
    row("context rm one nosuch"),
    row("context rm default"),
    row("context rm two"),
    row("context export default"),
];

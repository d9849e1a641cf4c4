"""What programs do with docker-py: one scenario a call, `docker_py.py SOCKET SCENARIO`.

A scenario that finds something else than it expects ends with a traceback.
"""

import io
import socket as sockets
import sys
import tarfile
import threading
import time

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

IMAGE = "busybox"


def expect(error, call):
    """Returns what `call` raises, which must be an `error`."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")


def containers(client):
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["OSType"] == "linux"

    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    failed = expect(ContainerError, lambda: client.containers.run(IMAGE, "sh -c 'echo no >&2; exit 3'", remove=True))
    assert failed.exit_status == 3 and failed.stderr == b"no\n", failed

    box = client.containers.run(
        IMAGE,
        ["sleep", "1000"],
        name="py-box",
        detach=True,
        environment={"A": "1"},
        labels={"of": "a test"},
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=50,
        cap_add=["SYS_TIME"],
        cap_drop=["CHOWN"],
        hostname="box",
        working_dir="/tmp",
        user="33",
        tmpfs={"/scratch": "size=1m"},
        ulimits=[docker.types.Ulimit(name="nofile", soft=64, hard=128)],
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        ports={"80/tcp": ("127.0.0.1", None)},
    )
    assert box.status == "created"
    box.reload()
    assert box.status == "running" and box.name == "py-box" and box.labels == {"of": "a test"}
    attrs = box.attrs
    assert attrs["HostConfig"]["Memory"] == 64 << 20 and attrs["HostConfig"]["NanoCpus"] == 500_000_000
    assert attrs["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert box.ports["80/tcp"][0]["HostIp"] == "127.0.0.1" and int(box.ports["80/tcp"][0]["HostPort"]) > 0
    assert box.image.tags == ["busybox:latest"]

    found = client.containers.list(filters={"label": "of=a test", "status": "running"})
    assert [c.name for c in found] == ["py-box"]
    assert client.containers.get(box.id[:12]) == box
    assert "sleep" in " ".join(box.top()["Processes"][0])

    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    box.rename("py-other")
    box.reload()
    assert box.name == "py-other"
    box.update(mem_limit="32m", memswap_limit="64m")
    box.reload()
    assert box.attrs["HostConfig"]["Memory"] == 32 << 20
    box.restart(timeout=0)
    box.kill("SIGUSR1")
    box.stop(timeout=0)
    assert box.wait()["StatusCode"] == 137
    conflict = expect(APIError, lambda: client.containers.create(IMAGE, name="py-other"))
    assert conflict.status_code == 409, conflict
    box.remove()
    missing = expect(NotFound, lambda: client.containers.get("py-other"))
    assert missing.status_code == 404 and "No such container: py-other" in missing.explanation
    expect(ImageNotFound, lambda: client.containers.create("nobody/has-this"))


def execs(client):
    box = client.containers.run(IMAGE, ["sleep", "1000"], detach=True)
    code, output = box.exec_run(["echo", "hi"])
    assert (code, output) == (0, b"hi\n")
    code, output = box.exec_run("sh -c 'echo $A $PWD; echo err >&2; exit 4'", environment=["A=b"], workdir="/tmp")
    assert code == 4 and output == b"b /tmp\nerr\n", output
    code, (out, err) = box.exec_run("sh -c 'echo out; echo err >&2'", demux=True)
    assert (out, err) == (b"out\n", b"err\n")
    assert box.exec_run("id -u", user="33").output == b"33\n"
    code, stream = box.exec_run("sh -c 'for n in 1 2 3; do echo $n; done'", stream=True)
    assert b"".join(stream) == b"1\n2\n3\n"

    api = client.api
    created = api.exec_create(box.id, ["cat"], stdin=True)
    wire = api.exec_start(created["Id"], socket=True)
    raw = getattr(wire, "_sock", wire)
    raw.sendall(b"through\n")
    raw.shutdown(sockets.SHUT_WR)
    said = b""
    while piece := raw.recv(4096):
        said += piece
    assert said[8:] == b"through\n", said
    assert api.exec_inspect(created["Id"])["ExitCode"] == 0
    tty = api.exec_create(box.id, ["tty"], tty=True)
    assert api.exec_start(tty["Id"], tty=True).startswith(b"/dev/pts/")
    detached = api.exec_create(box.id, ["touch", "/made"])
    api.exec_start(detached["Id"], detach=True)

    # Many at once, as test suites do.
    codes = []
    threads = [threading.Thread(target=lambda n=n: codes.append(box.exec_run(f"sh -c 'exit {n}'")[0])) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(10)), codes
    box.remove(force=True)


def attach(client):
    box = client.containers.create(IMAGE, ["sh", "-c", "cat; echo ended >&2"], stdin_open=True)
    wire = box.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    box.start()
    raw = getattr(wire, "_sock", wire)
    raw.sendall(b"question\n")
    raw.shutdown(sockets.SHUT_WR)
    said = b""
    while piece := raw.recv(4096):
        said += piece
    assert b"question\n" in said and b"ended\n" in said, said
    box.wait()
    box.remove()

    box = client.containers.create(IMAGE, ["sh", "-c", "echo one; echo two"])
    lines = box.attach(stream=True)
    box.start()
    assert b"".join(lines) == b"one\ntwo\n"
    box.remove(force=True)


def websocket(client):
    box = client.containers.create(IMAGE, ["cat"], stdin_open=True)
    wire = box.attach_socket(ws=True, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    box.start()
    wire.send("through\n")
    assert wire.recv() == b"through\n"
    wire.ping()
    wire.close()
    box.remove(force=True)


def logs(client):
    box = client.containers.run(IMAGE, ["sh", "-c", "echo one; echo three; sleep 0.1; echo two >&2"], detach=True)
    box.wait()
    assert sorted(box.logs().splitlines()) == [b"one", b"three", b"two"]
    assert box.logs(stdout=False) == b"two\n"
    assert box.logs(tail=1) == b"two\n"
    stamped = box.logs(timestamps=True, stderr=False).split()
    assert stamped[0].endswith(b"Z") and stamped[1] == b"one"
    assert box.logs(since=2**31) == b""
    box.remove()
    box = client.containers.run(IMAGE, ["sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.1; done"], detach=True)
    assert b"".join(box.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    box.remove()


def archives(client):
    box = client.containers.create(IMAGE, ["cat", "/tmp/in/file"])
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("in/file")
        info.size = 6
        tar.addfile(info, io.BytesIO(b"inside"))
    assert box.put_archive("/tmp", archive.getvalue())
    box.start()
    box.wait()
    assert box.logs() == b"inside"
    stream, stat = box.get_archive("/tmp/in")
    assert stat["name"] == "in", stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        assert tar.extractfile("in/file").read() == b"inside"
    expect(NotFound, lambda: box.get_archive("/nowhere"))
    kinds = {change["Path"]: change["Kind"] for change in box.diff()}
    assert kinds["/tmp/in/file"] == 1, kinds
    with tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))) as tar:
        assert "tmp/in/file" in tar.getnames()
    box.remove()


def events(client):
    stream = client.events(decode=True, filters={"type": "container"})
    box = client.containers.run(IMAGE, ["true"], name="py-events", detach=True)
    box.wait()
    box.remove()
    seen = []
    for event in stream:
        assert event["Actor"]["Attributes"]["name"] == "py-events"
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert seen == ["create", "start", "die", "destroy"], seen
    past = client.events(decode=True, since=1, until=int(time.time()) + 1)
    assert "create" in [event["Action"] for event in past]


def images(client):
    image = client.images.get(IMAGE)
    assert image.tag("py/other", tag="1")
    image.reload()
    assert "py/other:1" in [tag for i in client.images.list(name="py/other") for tag in i.tags]
    saved = b"".join(image.save(named="py/other:1"))
    client.images.remove("py/other:1")
    expect(ImageNotFound, lambda: client.images.get("py/other:1"))
    (loaded,) = client.images.load(saved)
    assert loaded.tags and "py/other:1" in loaded.tags, loaded.tags
    assert image.history()[0]["Size"] > 0
    client.images.remove("py/other:1")
    imported = client.api.import_image_from_data(archive_of("file", b"x"), repository="py/imported")
    assert "sha256:" in imported
    client.images.remove("py/imported")
    assert client.df()["Images"]


def commit(client):
    box = client.containers.run(IMAGE, ["touch", "/made"], detach=True)
    box.wait()
    made = box.commit("py/made", "2", message="by a test", author="me", changes=["CMD [\"ls\", \"/made\"]"])
    assert made.attrs["Comment"] == "by a test" and made.attrs["Author"] == "me"
    assert client.containers.run("py/made:2", remove=True) == b"/made\n"
    box.remove()
    client.images.remove("py/made:2")


def volumes(client):
    volume = client.volumes.create("py-volume", labels={"of": "a test"})
    mount = {"py-volume": {"bind": "/kept", "mode": "rw"}}
    client.containers.run(IMAGE, ["sh", "-c", "echo kept > /kept/file"], volumes=mount, remove=True)
    assert client.containers.run(IMAGE, ["cat", "/kept/file"], volumes=mount, remove=True) == b"kept\n"
    assert [v.name for v in client.volumes.list(filters={"label": "of=a test"})] == ["py-volume"]
    volume.remove()
    expect(NotFound, lambda: client.volumes.get("py-volume"))


def stats(client):
    box = client.containers.run(IMAGE, ["sleep", "1000"], detach=True)
    once = box.stats(stream=False)
    assert once["memory_stats"]["usage"] > 0 and once["cpu_stats"]["cpu_usage"]["total_usage"] > 0, once
    assert once["pids_stats"]["current"] == 1
    assert "eth0" in once["networks"]
    stream = box.stats(stream=True, decode=True)
    first, second = next(stream), next(stream)
    assert second["precpu_stats"]["cpu_usage"] == first["cpu_stats"]["cpu_usage"]
    stream.close()
    box.remove(force=True)


def archive_of(name, content):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def main():
    _, address, scenario = sys.argv
    client = docker.DockerClient(base_url=address, version="auto", timeout=30)
    try:
        globals()[scenario](client)
    finally:
        client.close()


main()

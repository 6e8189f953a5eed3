"""The server as shipped, on loopback, against clients that are slow, broken or gone.

The application behind it is a stand-in, but where it says otherwise: it answers with the length of
the body it was sent. What is tested is deploy/gunicorn.conf.py, deploy/worker.py and deploy/nginx.conf.
"""

import contextlib
import http.client
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "deploy" / "gunicorn.conf.py"
THREADS: int = runpy.run_path(str(SHIPPED))["threads"]

# Far above what an ordinary request takes here, far below the two seconds of the stock worker.
NOTICEABLE = 1.0

PROBLEM = "application/problem+json"
SECRET = "Jane-Roe-1952"
"""Stands for whatever a caller might send about a patient; no refusal or log line may repeat it."""

STAND_IN = """
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    if environ["PATH_INFO"] == "/unread":
        sent = b""
    else:
        sent = environ["wsgi.input"].read()
    answer = b"x" * 8_000_000 if environ["PATH_INFO"] == "/large" else b"%d" % len(sent)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""

# The shipped settings, with waits short enough for a test.
HASTY = f"""
import runpy
globals().update(runpy.run_path({str(SHIPPED)!r}))
from deploy.worker import BoundedThreadWorker

class Hasty(BoundedThreadWorker):
    read_seconds = 1.0
    exchange_seconds = 2.0
    linger_seconds = 0.2

worker_class = Hasty
"""


@dataclass
class Server:
    """A running gunicorn with one worker."""

    port: int
    process: subprocess.Popen[bytes]
    opened: contextlib.ExitStack
    log: Path

    def logged(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    def exchange(self, sent: bytes, *, half_closed: bool = False) -> bytes:
        """Send these bytes as they are; all that comes back until the server closes."""
        client = self.connect()
        client.sendall(sent)
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
        return received

    def connect(self) -> socket.socket:
        """A bare connection, for what no client library would do; closed after the test."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.opened.enter_context(client)

    def post(self, body: bytes = b"{}", path: str = "/") -> bytes:
        """One ordinary request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, body)
            return connection.getresponse().read()

    def slowest(self, requests: int = 20) -> float:
        """The longest that an ordinary client waits, in seconds."""
        waits = []
        for _ in range(requests):
            start = time.monotonic()
            assert self.post() == b"2"
            waits.append(time.monotonic() - start)
        return max(waits)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended instead of starting"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail("the server did not open its port")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """What is to be closed when the test is over."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def start(tmp_path: Path, opened: contextlib.ExitStack) -> Callable[..., Server]:
    """Start servers that are stopped at the end of the test."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "hasty.conf.py").write_text(HASTY)

    def run(*options: str, config: Path = SHIPPED, app: str = "stand_in:app", log_level: str = "error") -> Server:
        port = free_port()
        log = tmp_path / "server.log"
        command = [sys.executable, "-m", "gunicorn", "--config", str(config)]
        process = subprocess.Popen(
            [*command, "--pythonpath", str(tmp_path), *options, app],
            cwd=ROOT,
            env=os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "1", "LOG_LEVEL": log_level},
            stderr=opened.enter_context(log.open("ab")),
        )
        opened.callback(stop, process)
        wait_until_open(port, process)
        return Server(port, process, opened, log)

    return run


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """The server as shipped."""
    return start()


@pytest.fixture
def hasty(start: Callable[..., Server], tmp_path: Path) -> Server:
    """The server as shipped, but for how long it is patient."""
    return start(config=tmp_path / "hasty.conf.py")


def answered_but_open(server: Server) -> socket.socket:
    """A client that asked for the connection to be closed, has its answer and does not close."""
    client = server.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    received = b""
    while not received.endswith(b"\r\n\r\n0"):
        received += client.recv(4096)
    return client


def half_a_body(server: Server) -> socket.socket:
    client = server.connect()
    client.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"patient":')
    return client


def half_a_header(server: Server) -> socket.socket:
    client = server.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-")
    return client


def nothing_read(server: Server) -> socket.socket:
    """A client that asks for a large answer and does not read it."""
    client = server.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


def test_clients_that_do_not_close_delay_nobody(server: Server) -> None:
    for _ in range(10):
        answered_but_open(server)
    assert server.slowest() < NOTICEABLE


def test_the_stock_worker_still_waits_for_a_client_to_close(start: Callable[..., Server]) -> None:
    """When this fails, gunicorn has mended it: see whether deploy/worker.py can go."""
    server = start("--worker-class", "gthread")
    answered_but_open(server)
    assert server.slowest() > NOTICEABLE


def test_the_stock_worker_still_waits_for_half_a_body(start: Callable[..., Server]) -> None:
    """The same, for the other half of deploy/worker.py."""
    server = start("--worker-class", "gthread")
    for _ in range(THREADS):
        half_a_body(server)
    time.sleep(0.2)
    client = server.connect()
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.settimeout(3)
    with pytest.raises(TimeoutError):
        client.recv(4096)


def test_a_client_that_does_not_close_is_closed(hasty: Server) -> None:
    """The end of the stream comes at once, the reset when the grace is over."""
    client = answered_but_open(hasty)
    assert client.recv(1) == b""
    time.sleep(1.5)
    client.send(b"answered with a reset")
    time.sleep(0.1)
    with pytest.raises(OSError, match=r"reset|pipe"):
        client.send(b"noticed here")


def test_an_answer_survives_a_body_nobody_read(server: Server) -> None:
    """The reason for the grace: closing at once would reset the connection and lose the answer."""
    for _ in range(5):
        client = server.connect()
        body = b"x" * 50_000
        client.sendall(
            b"POST /unread HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        time.sleep(0.05)
        received = b""
        while chunk := client.recv(4096):
            received += chunk
        assert received.endswith(b"\r\n\r\n0")


@pytest.mark.parametrize("client_kind", [half_a_body, half_a_header, nothing_read])
def test_stalled_clients_get_their_threads_taken_away(
    hasty: Server, client_kind: Callable[[Server], socket.socket]
) -> None:
    """As many as there are threads: without the bound, nobody would be served any more."""
    for _ in range(THREADS):
        client_kind(hasty)
    time.sleep(0.2)
    assert hasty.slowest(requests=5) < 5
    assert hasty.slowest() < NOTICEABLE


def test_a_body_in_drips_is_cut_off_too(hasty: Server) -> None:
    """The bound is on the whole request: a byte now and then does not prolong it."""
    client = half_a_body(hasty)
    start = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - start < 8:
            client.sendall(b" ")
            time.sleep(0.2)
            client.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                client.recv(4096)
                break
    assert time.monotonic() - start < 5


def test_a_request_in_flight_is_answered_before_the_server_stops(server: Server) -> None:
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(server.post(path="/slow")))
    client.start()
    time.sleep(0.2)
    server.process.terminate()
    client.join()
    assert server.process.wait(timeout=10) == 0
    assert answers == [b"2"]


def test_clients_that_do_not_close_do_not_hold_up_the_stop(server: Server) -> None:
    for _ in range(10):
        answered_but_open(server)
    start = time.monotonic()
    server.process.terminate()
    assert server.process.wait(timeout=15) == 0
    assert time.monotonic() - start < 5


def test_no_request_is_lost_when_the_workers_are_replaced(server: Server) -> None:
    answers: list[bytes] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answers.append(server.post())

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for _ in range(2):
        time.sleep(0.5)
        server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    done.set()
    for client in clients:
        client.join()
    assert len(answers) > 50
    assert set(answers) == {b"2"}


def check_refusal(answer: bytes, status: int) -> None:
    """One problem document, which repeats nothing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].split()[1] == str(status)
    assert f"Content-Type: {PROBLEM}" in lines
    assert json.loads(body)["status"] == status
    assert SECRET.encode() not in answer
    assert b"<" not in answer


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
NAMED = SECRET.encode()

REFUSED: dict[str, tuple[bytes, int]] = {
    "line": (b"GET /" + NAMED * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "field": (GET + b"A: " + NAMED * 900 + b"\r\n\r\n", 431),
    "fields": (GET + (b"A: " + NAMED + b"\r\n") * 80 + b"\r\n", 431),
    "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "no length": (GET + b"Content-Length: " + NAMED + b"\r\n\r\n", 400),
    "no version": (b"GET /?" + NAMED + b" " + NAMED + b"\r\nHost: x\r\n\r\n", 400),
    "version": (b"GET /?" + NAMED + b" HTTP/3.7\r\nHost: x\r\n\r\n", 400),
    "method": (b"(" + NAMED + b") / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "field name": (GET + NAMED + b" 1: a\r\n\r\n", 400),
    "no field": (GET + NAMED + b"\r\n\r\n", 400),
    "folded field": (GET + b"A: a\r\n " + NAMED + b"\r\n\r\n", 400),
    "expectation": (GET + b"Expect: " + NAMED + b"\r\n\r\n", 417),
    "coding": (GET + b"Transfer-Encoding: " + NAMED + b"\r\n\r\n", 501),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_request_is_refused_and_not_repeated(start: Callable[..., Server], sent: bytes, status: int) -> None:
    server = start(log_level="debug")
    check_refusal(server.exchange(sent), status)
    assert "request refused: " in server.logged()
    assert SECRET not in server.logged()


# Compact, it has no space and so no second word; written out, its lines have several.
PATIENT = json.dumps({"medications": [{"name": SECRET}]}, separators=(",", ":")).encode() + b"\r\n\r\n"
WRITTEN_OUT = json.dumps({"medications": [{"name": SECRET}]}, indent=1).encode() + b"\r\n\r\n"
MISLAID = {
    "no length": POST + b"\r\n",
    "a length of none": POST + b"Content-Length: 0\r\n\r\n",
    "a short length": POST + b"Content-Length: 9\r\n\r\n",
}


@pytest.mark.parametrize("body", [PATIENT, WRITTEN_OUT], ids=["compact", "written out"])
@pytest.mark.parametrize("head", MISLAID.values(), ids=list(MISLAID))
def test_a_body_taken_for_the_next_request_is_not_repeated(
    start: Callable[..., Server], head: bytes, body: bytes
) -> None:
    """The length is wrong, the connection is kept: the rest of the body is read as a request line."""
    server = start(log_level="debug")
    first, _, second = server.exchange(head + body).partition(b"HTTP/1.1 400")
    assert first.startswith(b"HTTP/1.1 200")
    check_refusal(b"HTTP/1.1 400" + second, 400)
    assert "request refused: Invalid" in server.logged()
    assert SECRET not in server.logged()


def test_the_stock_worker_still_repeats_what_it_cannot_read(start: Callable[..., Server]) -> None:
    """When this fails, gunicorn has mended it: see whether handle_error can go."""
    server = start("--worker-class", "gthread", log_level="info")
    answer = server.exchange(MISLAID["no length"] + PATIENT)
    assert b"<html>" in answer
    assert NAMED in answer
    assert SECRET in server.logged()


def test_a_request_that_breaks_off_is_not_repeated(start: Callable[..., Server]) -> None:
    """gunicorn's own messages quote it at debug, which therefore does not reach gunicorn."""
    server = start(log_level="debug")
    assert server.exchange(GET + b"A: " + NAMED, half_closed=True) == b""
    assert server.exchange(POST + b"Content-Length: 900\r\n\r\n" + PATIENT, half_closed=True)
    assert server.post() == b"2"
    assert SECRET not in server.logged()


CHUNKED = POST.replace(b" / ", b" /v1/evaluations ") + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN_BODIES = {
    "a size that is none": CHUNKED + NAMED + b"\r\n{}\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk without an end": CHUNKED + b"2\r\n{}" + NAMED + b"\r\n0\r\n\r\n",
    "a field that is none": CHUNKED + b"2\r\n{}\r\n0\r\n" + NAMED + b"\r\n\r\n",
    "half a chunk": CHUNKED + b"40\r\n{}",
    "no last chunk": CHUNKED + b"2\r\n{}\r\n",
    "less than its length": CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: 40") + b"{}",
}


def test_a_broken_body_is_a_bad_request(start: Callable[..., Server]) -> None:
    """The service itself is asked here; `{}` alone would be a whole request and must not pass for one."""
    server = start(app="service.app:create_app()", log_level="info")
    for name, sent in BROKEN_BODIES.items():
        answer = server.exchange(sent, half_closed=True)
        assert answer.count(b"HTTP/1.1 ") == 1, name
        check_refusal(answer, 400)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/bad-request", name
    assert server.logged().count('"status":400') == len(BROKEN_BODIES)
    assert '"level":"error"' not in server.logged()
    assert SECRET not in server.logged()


def test_a_broken_body_that_nobody_reads_is_not_answered_twice(start: Callable[..., Server]) -> None:
    """A second answer would be taken for that of the next request."""
    server = start(log_level="info")
    sent = POST.replace(b" / ", b" /unread ") + b"Transfer-Encoding: chunked\r\n\r\n" + NAMED + b"\r\n"
    answer = server.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert "request refused: InvalidChunkSize" in server.logged()
    assert SECRET not in server.logged()


def test_a_fault_of_the_application_is_named_and_not_repeated(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(f"def app(environ, start_response):\n    raise KeyError({SECRET!r})\n")
    server = start(app="faulty:app", log_level="info")
    check_refusal(server.exchange(GET + b"\r\n"), 500)
    assert "request refused: KeyError" in server.logged()
    assert SECRET not in server.logged()


@pytest.mark.parametrize("name", [b"SCRIPT_NAME", b"PATH_INFO"])
def test_no_header_replaces_the_path(server: Server, name: bytes) -> None:
    """gunicorn takes these from the proxy unless told not to, and fails over one that does not fit."""
    answer = server.exchange(GET + b"Connection: close\r\n" + name + b": /large\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n0")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "-1"),
        ("PORT", "99999"),
        ("PORT", "http"),
        ("LOG_LEVEL", "loud"),
        ("TERMINOLOGY", "missing.sqlite"),
    ],
)
def test_a_setting_that_means_nothing_stops_the_start(name: str, value: str) -> None:
    """One line that says why, and no server that listens and answers nobody."""
    found = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--config", str(SHIPPED)],
        cwd=ROOT,
        env=os.environ | {"PORT": str(free_port()), name: value},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 1
    (line,) = [line for line in found.stderr.splitlines() if line.strip() and not line.startswith("[")]
    assert name in line or value in line


@pytest.mark.parametrize(
    ("host", "bind"),
    [("127.0.0.1", "127.0.0.1:8000"), ("::1", "[::1]:8000"), ("[::1]", "[::1]:8000"), ("localhost", "localhost:8000")],
)
def test_an_address_with_colons_is_bracketed(monkeypatch: pytest.MonkeyPatch, host: str, bind: str) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.delenv("PORT", raising=False)
    assert runpy.run_path(str(SHIPPED))["bind"] == bind


@pytest.fixture
def proxied(server: Server, tmp_path: Path, opened: contextlib.ExitStack) -> Server:
    """The shipped proxy configuration in front of the server, without TLS, as its head allows."""
    nginx = shutil.which("nginx", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    lines = (ROOT / "deploy" / "nginx.conf").read_text().splitlines()
    config = "\n".join(line for line in lines if not line.strip().startswith("ssl_"))
    config = config.replace("listen 8443 ssl;", f"listen 127.0.0.1:{port};")
    config = config.replace("server 127.0.0.1:8000;", f"server 127.0.0.1:{server.port};")
    (tmp_path / "nginx.conf").write_text(config)
    # Started as root it would change to a user who may not look into this directory.
    user = " user root;" if os.getuid() == 0 else ""
    command = [nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    log = tmp_path / "proxy.log"
    output = opened.enter_context(log.open("ab"))
    process = subprocess.Popen([*command, "-g", "daemon off;" + user], stdout=output, stderr=output)
    opened.callback(stop, process)
    wait_until_open(port, process)
    return Server(port, process, opened, log)


@pytest.mark.parametrize("client_kind", [answered_but_open, half_a_body, half_a_header, nothing_read])
def test_behind_the_proxy_no_such_client_is_noticed(
    proxied: Server, client_kind: Callable[[Server], socket.socket]
) -> None:
    for _ in range(10):
        client_kind(proxied)
    time.sleep(0.2)
    assert proxied.slowest() < NOTICEABLE


def test_the_proxy_refuses_with_a_problem_document(proxied: Server, server: Server) -> None:
    def head(length: int) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", proxied.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/", b"", {"Content-Length": str(length)})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type")

    assert head(17 * 1024 * 1024) == (413, PROBLEM)
    stop(server.process)
    assert head(0) == (503, PROBLEM)


PROXY_REFUSES: dict[str, tuple[bytes, int]] = {
    "line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "field": (GET + b"A: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "method": (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "address": (GET.replace(b" / ", b" /.refused ") + b"\r\n", 404),
    "coding": (GET + b"Transfer-Encoding: " + NAMED + b"\r\n\r\n", 501),
    "version": (b"GET / HTTP/3.7\r\nHost: x\r\n\r\n", 505),
}


@pytest.mark.parametrize(("sent", "status"), PROXY_REFUSES.values(), ids=list(PROXY_REFUSES))
def test_what_is_no_request_is_refused_by_the_proxy_too(proxied: Server, sent: bytes, status: int) -> None:
    client = proxied.connect()
    client.sendall(sent)
    check_refusal(client.recv(65536), status)


def test_the_proxy_writes_down_nothing_that_was_sent(proxied: Server, server: Server) -> None:
    """Neither for a request that is answered nor for one that fails, whose line nginx likes to quote."""
    path = f"/{SECRET}?query={SECRET}"
    assert proxied.post(b"a" * 100_000, path) == b"100000"
    stop(server.process)
    proxied.post(b"", path)
    stop(proxied.process)
    assert [line.split()[1] for line in proxied.logged().splitlines()] == ["200", "503"]
    assert SECRET not in proxied.logged()

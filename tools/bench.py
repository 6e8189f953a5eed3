"""How fast the service is, against an empty Flask endpoint in the same run. Usage: make bench

Both are served as shipped, by one worker pinned to one processor, and asked over the same number of
kept connections in rounds that take turns. The ratios mean something on any machine; the times do
not. Options: --rounds, --seconds, --connections, --soak (requests, for the memory).
"""

import argparse
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")

# The floor: what Flask and the server cost when nothing is done; the answer has the usual size.
FLOOR = """
import orjson
from flask import Flask, Response, request

app = Flask("floor")
ANSWER = {"items": [{"code": f"item-{n}", "text": "x" * 90} for n in range(48)]}

@app.post("/v1/evaluations")
def evaluations():
    orjson.loads(request.get_data())
    return Response(orjson.dumps(ANSWER), mimetype="application/json")
"""

PATIENT = {
    "as_of": "2026-11-20",
    "patient": {"age_years": 67, "sex": "female", "pregnancy": "none"},
    "labs": {
        "vitamin_d_25oh": {"value": 18, "unit": "ng/mL", "collected_on": "2026-10-01"},
        "egfr": {"value": 52, "unit": "mL/min/{1.73_m2}", "collected_on": "2026-10-01"},
        "magnesium": {"value": 0.72, "unit": "mmol/L", "collected_on": "2026-10-01"},
        "calcium_total": {"value": 2.35, "unit": "mmol/L", "collected_on": "2026-10-01"},
        "albumin": {"value": 41, "unit": "g/L", "collected_on": "2026-10-01"},
        "potassium": {"value": 4.1, "unit": "mmol/L", "collected_on": "2026-10-01"},
    },
    "medications": [
        {"name": "levothyroxine 75 mcg", "route": "oral", "since": "2024-03-01"},
        {"name": "omeprazole 20 mg", "route": "oral", "since": "2022-06-01"},
        {"name": "hydrochlorothiazide 12.5 mg", "route": "oral"},
    ],
    "conditions": [{"key": "hypertension"}, {"key": "type_2_diabetes"}],
    "symptoms": [{"key": "muscle_cramps"}],
    "goals": ["sleep", "vitamin_d_optimisation"],
    "bowel_pattern": "constipated",
    "supplements": {"vitamin_d": {"form": "cholecalciferol", "dose_iu_per_day": 2000, "weeks": 20}},
    "preferences": {"cost_sensitive": True},
}


@dataclass
class Side:
    """One of the two servers, and what was measured on it."""

    name: str
    application: str
    port: int = 0
    worker: int = 0
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def request_bytes() -> bytes:
    body = json.dumps(PATIENT).encode()
    head = (
        "POST /v1/evaluations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read_answer(client: socket.socket) -> None:
    """One answer, whole; anything but a 200 ends the run."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = client.recv(65536)
        if not chunk:
            sys.exit("bench: the server closed a connection")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    if head.split()[1] != b"200":
        sys.exit(f"bench: refused: {received.decode(errors='replace')}")
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    while len(body) < length:
        body += client.recv(65536)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    """Kibibytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def start(side: Side, directory: str) -> subprocess.Popen[bytes]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        side.port = probe.getsockname()[1]
    config = str(ROOT / "deploy" / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "--config", config, "--pythonpath", directory]
    environment = os.environ | {
        "HOST": "127.0.0.1",
        "PORT": str(side.port),
        "WEB_CONCURRENCY": "1",
        "LOG_LEVEL": "error",
    }
    process = subprocess.Popen([*command, side.application], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        try:
            socket.create_connection(("127.0.0.1", side.port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
            continue
        if children:
            side.worker = int(children[0])
            return process
    process.send_signal(signal.SIGKILL)
    sys.exit(f"bench: {side.name} did not start")


def saturate(side: Side, seconds: float, connections: int) -> int:
    """Every connection asks again as soon as it has its answer. The number of answers."""
    message = request_bytes()
    answers = 0
    with selectors.DefaultSelector() as selector:
        clients = [socket.create_connection(("127.0.0.1", side.port)) for _ in range(connections)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client, selectors.EVENT_READ, client)
            client.sendall(message)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in selector.select(1):
                read_answer(key.data)
                answers += 1
                key.data.sendall(message)
        for client in clients:
            read_answer(client)
            client.close()
    return answers + connections


def paced(side: Side, seconds: float, per_second: float) -> list[float]:
    """One request after the other at an even rate; each latency counts from when it was due."""
    message = request_bytes()
    latencies = []
    with socket.create_connection(("127.0.0.1", side.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.monotonic()
        for number in range(int(seconds * per_second)):
            due = begin + number / per_second
            time.sleep(max(0.0, due - time.monotonic()))
            client.sendall(message)
            read_answer(client)
            latencies.append(time.monotonic() - due)
    return latencies


def measure(side: Side, seconds: float, connections: int) -> None:
    cpu, begin = cpu_seconds(side.worker), time.monotonic()
    answers = saturate(side, seconds, connections)
    side.per_second.append(answers / (time.monotonic() - begin))
    side.cpu.append((cpu_seconds(side.worker) - cpu) / answers)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def report(floor: Side, service: Side) -> None:
    print(f"{'':24}{floor.name:>12}{service.name:>12}{'ratio':>9}")

    def line(what: str, low: float, high: float) -> None:
        print(f"{what:24}{low:12.0f}{high:12.0f}{high / low:9.2f}")

    line("requests per second", *(statistics.median(s.per_second) for s in (floor, service)))
    line("CPU per request, us", *(statistics.median(s.cpu) * 1e6 for s in (floor, service)))
    for share, name in ((0.5, "median"), (0.99, "p99")):
        values = [percentile(side.latencies, share) * 1e6 for side in (floor, service)]
        line(f"{name} at half load, us", *values)


def soak(service: Side, requests: int, connections: int) -> None:
    """The memory of the worker must not grow with what it has answered."""
    saturate(service, 2, connections)
    before, answered = resident(service.worker), 0
    while answered < requests:
        answered += saturate(service, 10, connections)
    after = resident(service.worker)
    growth = (after - before) / before
    print(f"memory, {answered:,} evaluations: {before:,} to {after:,} KiB ({growth:+.1%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--soak", type=int, default=0, metavar="REQUESTS")
    options = parser.parse_args()

    floor = Side("empty", "floor:app")
    service = Side("evaluation", "service.app:create_app()")
    processes = []
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "floor.py").write_text(FLOOR)
        try:
            processes = [start(side, directory) for side in (floor, service)]
            processors = sorted(os.sched_getaffinity(0))
            for side in (floor, service):
                for thread in Path(f"/proc/{side.worker}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {processors[0]})
            if len(processors) > 1:
                os.sched_setaffinity(0, set(processors[1:]))
            for side in (floor, service):
                saturate(side, 1, options.connections)
            for _ in range(options.rounds):
                for side in (floor, service):
                    measure(side, options.seconds, options.connections)
            for _ in range(options.rounds):
                for side in (floor, service):
                    rate = statistics.median(side.per_second) / 2
                    side.latencies += paced(side, options.seconds, rate)
            report(floor, service)
            if options.soak:
                soak(service, options.soak, options.connections)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


if __name__ == "__main__":
    main()

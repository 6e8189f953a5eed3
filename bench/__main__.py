"""``make bench``: evaluations against an empty endpoint under the same gunicorn, interleaved, as ratios."""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.hook_call import PATH, call_body, measure_call
from bench.layers import measure
from bench.load import Result, request_bytes, run
from bench.lookups import main as lookups

ROOT = Path(__file__).parent.parent
EXAMPLES = ("healthy-adult-sleep", "kidney-g3a-on-oxide", "antibiotic-and-thyroid-hormone")


def main() -> None:
    """Run the rounds and print the ratios, then the layers."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--lookups", action="store_true", help="only how fast medications are looked up")
    options = parser.parse_args()
    if options.lookups:
        lookups()
        return
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, one worker")
    port = _free_port()
    server = _start(port)
    try:
        _wait(port)
        _throughput(server.pid, port, options.rounds, options.seconds, options.connections)
    finally:
        server.terminate()
        server.wait(timeout=30)
    _layers()


def _throughput(pid: int, port: int, rounds: int, seconds: float, connections: int) -> None:
    requests = {"empty endpoint": request_bytes("/floor/", b'{"hello": "world"}')}
    for name in EXAMPLES:
        requests[name] = request_bytes("/v1/evaluations", (ROOT / "examples" / f"{name}.request.json").read_bytes())
    requests["hook call, 8 Bundles"] = request_bytes(PATH, call_body())
    results: dict[str, list[Result]] = {name: [] for name in requests}
    spent: dict[str, list[float]] = {name: [] for name in requests}
    for request in requests.values():
        run(port, request, seconds / 4, connections)
    for _ in range(rounds):
        for name, request in requests.items():
            before = _cpu_seconds(pid)
            result = run(port, request, seconds, connections)
            results[name].append(result)
            spent[name].append(1e6 * (_cpu_seconds(pid) - before) / len(result.times))
    floor = results["empty endpoint"]
    print(f"\n{rounds} interleaved rounds of {seconds:g} s, {connections} connections; medians")
    print(f"{'':34}{'req/s':>8}{'ratio':>8}{'CPU us':>8}{'ratio':>8}{'p50 x':>8}{'p99 x':>8}")
    for name, mine in results.items():
        pairs = list(zip(mine, floor, strict=True))
        ratio = statistics.median(one.rate / base.rate for one, base in pairs)
        slower = [statistics.median(one.percentile(p) / base.percentile(p) for one, base in pairs) for p in (0.5, 0.99)]
        cpu = statistics.median(spent[name])
        lean = statistics.median(base / one for one, base in zip(spent[name], spent["empty endpoint"], strict=True))
        print(
            f"{name:34}{statistics.median(one.rate for one in mine):8.0f}{ratio:8.2f}{cpu:8.0f}{lean:8.2f}"
            f"{slower[0]:8.1f}{slower[1]:8.1f}"
        )


def _cpu_seconds(pid: int) -> float:
    """CPU time of the server's workers so far: what a request costs whatever else the machine is doing."""
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    ticks = 0
    for worker in workers:
        fields = Path(f"/proc/{worker}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _layers() -> None:
    measured = {name: measure(ROOT / "examples" / f"{name}.request.json") for name in EXAMPLES}
    measured["hook call, 8 Bundles"] = measure_call()
    for name, layers in measured.items():
        # What stands indented is a part of the layer before it.
        total = sum(spent for layer, spent in layers.items() if not layer.startswith(" "))
        print(f"\n{name}: {total:.0f} us without HTTP")
        for layer, spent in layers.items():
            print(f"  {layer:18}{spent:7.0f} us{100 * spent / total:6.0f} %")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "bench.floor:app"]
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "1", "LOG_LEVEL": "error"}
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def _wait(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()

"""A small load generator: keep-alive connections that send one request after another over loopback."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Requests a second, and the time of each request in seconds."""

    rate: float
    times: list[float]

    def percentile(self, share: float) -> float:
        """The time below which this share of the requests stayed."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request_bytes(path: str, body: bytes) -> bytes:
    """A whole POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run(port: int, request: bytes, seconds: float, connections: int) -> Result:
    """Send the request on all connections for so long. Any status but 200 ends the run."""
    end = time.perf_counter() + seconds
    times: list[list[float]] = [[] for _ in range(connections)]
    faults: list[str] = []

    def client(mine: list[float]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < end and not faults:
                start = time.perf_counter()
                connection.sendall(request)
                status = _read(connection)
                if status != b"200":
                    faults.append(status.decode())
                    return
                mine.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client, args=(mine,)) for mine in times]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(f"the service answered {faults[0]}")
    every = [one for mine in times for one in mine]
    return Result(len(every) / (time.perf_counter() - begin), every)


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    missing = length - len(rest)
    while missing > 0:
        missing -= len(_more(connection))
    return head.split(b" ", 2)[1]


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(262144)
    if not chunk:
        raise ConnectionError("the service closed the connection")
    return chunk

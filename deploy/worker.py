"""The gunicorn worker of this service: gthread, bounded in what one client can cost, and discreet.

Stock gthread (27.0.1) leaves two waits open:

* After an answer that ends the connection it waits, on the loop that serves everyone, up to two
  seconds for the client to close its end. One such client a second stalls the whole worker.
  Here that wait is handed to the poller, as any other idle connection is.
* A request that arrives in part holds its thread for as long as the client likes, and so does an
  answer that is not read. Here both are cut off.

And it repeats, in its log and in a page of HTML, whatever it cannot read as a request. Behind a wrong
Content-Length that is the rest of a body, and so of a patient. Here it is named and not repeated.

Nothing in this file knows what is being served. `tests/test_server.py` shows all three on the stock
class too: when a release of gunicorn mends them, it says so and this file can go.
"""

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ

from gunicorn.http import Request
from gunicorn.http import errors as parsing
from gunicorn.workers.gthread import TConn, ThreadWorker

# Whatever else is wrong with a request is a 400.
STATUSES: Mapping[type[BaseException], HTTPStatus] = {
    parsing.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    parsing.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    parsing.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    parsing.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class BoundedThreadWorker(ThreadWorker):
    """gthread, in which no client can hold the loop and none can hold a thread for long."""

    # A whole request, from the moment a thread takes it up; a buffering proxy sends it at once.
    read_seconds = 10.0
    # Request and answer together; the largest request is answered in a small part of this.
    exchange_seconds = 60.0
    # What gunicorn itself grants: enough for the last segment of an answer to be acknowledged.
    linger_seconds = 2.0
    linger_bytes = 65536

    def init_process(self) -> None:
        """Set up this worker's own records, then serve; returns when the worker stops."""
        self._started: dict[TConn, float] = {}
        self._lingering: dict[TConn, float] = {}
        self._drained: dict[TConn, int] = {}
        self._answered: set[socket.socket] = set()
        super().init_process()

    def handle(self, conn: TConn) -> bool:
        """Serve one request, in a thread of the pool, with its start on record."""
        self._started[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._started.pop(conn, None)
            self._answered.discard(conn.sock)

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Let the application answer; an error in a body that it did not read comes after that."""
        keep = super().handle_request(req, conn)
        self._answered.add(conn.sock)
        return keep

    def handle_error(self, req: Request | None, client: socket.socket, addr: object, exc: BaseException) -> None:
        """Refuse what cannot be read as a request, by the name of the error: its text may quote."""
        # Once a request has been parsed, what goes wrong with it is ours.
        ours = req is not None or not isinstance(exc, parsing.ParseException)
        answered = client in self._answered
        log = self.log.error if ours and not answered else self.log.warning
        log("request refused: %s", type(exc).__name__)
        if answered:
            return
        status = HTTPStatus.INTERNAL_SERVER_ERROR if ours else STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        body = json.dumps({"type": "about:blank", "title": status.phrase, "status": status}).encode()
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\n"
            "Connection: close\r\n"
            "Content-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Keep, park or end the connection; runs on the loop and must not wait."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """Close what has outstayed its time; the loop calls this at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self._lingering.items()):
            if deadline > now:
                break
            self._end(conn)
        # The threads of the pool change this one while the loop reads it.
        for conn, started in self._started.copy().items():
            if now - started > self.exchange_seconds:
                self._cut(conn, socket.SHUT_RDWR)
            elif now - started > self.read_seconds:
                # Harmless once the request is in: the answer can still be written.
                self._cut(conn, socket.SHUT_RD)

    def _cut(self, conn: TConn, how: int) -> None:
        """Wake the thread that is blocked on this socket: it reads the end of the stream."""
        with contextlib.suppress(OSError):
            conn.sock.shutdown(how)

    def _linger(self, conn: TConn) -> None:
        """Send the end of the stream; close when the client does, or when its time is up.

        Closing at once with unread data in the buffer would reset the connection and could take
        the end of the answer with it (RFC 9112, section 9.6).
        """
        self._lingering[conn] = time.monotonic() + self.linger_seconds
        self._drained[conn] = 0
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):
            self._end(conn)

    def _drain(self, conn: TConn, sock: socket.socket) -> None:
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._drained[conn] += len(data)
        if not data or self._drained[conn] > self.linger_bytes:
            self._end(conn)

    def _end(self, conn: TConn) -> None:
        del self._lingering[conn], self._drained[conn]
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

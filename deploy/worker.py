"""The gunicorn worker of this service: gthread, with a bound on what one client can cost the rest.

Stock gthread (27.0.1) leaves two waits open:

* After an answer that ends the connection it waits, on the loop that serves everyone, up to two
  seconds for the client to close its end. One such client a second stalls the whole worker.
  Here that wait is handed to the poller, as any other idle connection is.
* A request that arrives in part holds its thread for as long as the client likes, and so does an
  answer that is not read. Here both are cut off.

Nothing in this file knows what is being served. `tests/test_server.py` shows both waits on the
stock class too: when a release of gunicorn mends them, it says so and this file can go.
"""

import contextlib
import socket
import time
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ

from gunicorn.workers.gthread import TConn, ThreadWorker


class BoundedThreadWorker(ThreadWorker):
    """gthread, in which no client can hold the loop and none can hold a thread for long."""

    # A whole request, from the moment a thread takes it up; a buffering proxy sends it at once.
    read_seconds = 10.0
    # Request and answer together; the largest batch is answered in a small part of this.
    exchange_seconds = 60.0
    # What gunicorn itself grants: enough for the last segment of an answer to be acknowledged.
    linger_seconds = 2.0
    linger_bytes = 65536

    def init_process(self) -> None:
        """Set up this worker's own records, then serve; returns when the worker stops."""
        self._started: dict[TConn, float] = {}
        self._lingering: dict[TConn, float] = {}
        self._drained: dict[TConn, int] = {}
        super().init_process()

    def handle(self, conn: TConn) -> bool:
        """Serve one request, in a thread of the pool, with its start on record."""
        self._started[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._started.pop(conn, None)

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

"""How the service is served. Nothing here changes what is advised.

Settings that depend on the machine come from the environment: HOST, PORT, WEB_CONCURRENCY,
FORWARDED_ALLOW_IPS and LOG_LEVEL. Everything else is fixed, with its reason.
"""

import gc
import os
from pathlib import Path

# The start command is then the same everywhere: gunicorn -c deploy/gunicorn.conf.py
wsgi_app = "service.app:served()"
# The rules are read from the checkout, so the working directory must not depend on the caller.
chdir = str(Path(__file__).resolve().parent.parent)

# Loopback unless told otherwise: the service has no TLS of its own and belongs behind a proxy.
_host = os.environ.get("HOST", "127.0.0.1")
if ":" in _host and not _host.startswith("["):
    # An IPv6 address has colons of its own.
    _host = f"[{_host}]"


def _number(name: str, otherwise: str, highest: int) -> int:
    """A whole number of the environment, from 1; anything else ends the start with one plain line."""
    said = os.environ.get(name, otherwise)
    if not said.isascii() or not said.isdigit() or not 1 <= int(said) <= highest:
        raise SystemExit(f"{name} must be a whole number from 1 to {highest}, not {said!r}")
    return int(said)


bind = f"{_host}:{_number('PORT', '8000', 65535)}"
# Clients queue here while all workers are busy or being replaced; past it they are refused.
backlog = 2048
# Two processes sharing one port through the kernel lose queued requests at every hand-over.
reuse_port = False

# An evaluation is CPU work, so a worker per core; two keep one serving while the other is replaced.
# With none gunicorn would start, listen, and answer nobody.
workers = _number("WEB_CONCURRENCY", "2", 1000)
# gthread, with two of its waits bounded and its refusals reworded; deploy/worker.py says why. The
# sync worker loses queued requests when it stops and keeps no connection open; gevent has a long
# tail under CPU work.
worker_class = "deploy.worker.BoundedThreadWorker"
# Threads do not make evaluations faster: they keep a slow sender from stopping the worker.
threads = 4
# Open connections per worker, idle ones included; well under the usual limit of 1,024 descriptors.
worker_connections = 900

# The rules are read, compiled and self-tested once, before any worker exists: a bad rule set stops
# the start, and the workers share the memory. The engine was tested forked after its build.
preload_app = True


def when_ready(_: object) -> None:
    """Put the rules out of the garbage collector's sight, before the workers are forked.

    They live as long as the process. Going over them again and again cost a hook call 5 to 10 % of its
    time, and wrote to memory that the workers share.
    """
    gc.collect()
    gc.freeze()


# Memory stays level over millions of evaluations; recycling workers would only cost time.
max_requests = 0

# Longer than the idle time of the proxies in front (nginx.conf: 60 s), so that the proxy ends an
# idle connection first and no request meets one that is being closed here.
keepalive = 75
# A worker that has not reported for so long is killed and replaced. A hang inside the C engine
# holds the interpreter and no signal handler of Python runs: this is the only way out of it.
timeout = 15
# For requests in flight when a stop is asked for; under the 30 s an orchestrator usually grants.
graceful_timeout = 25

# The longest address is a look-up by name or a rule id; the request itself is in the body.
limit_request_line = 2048
# Browsers and gateways send about thirty.
limit_request_fields = 64
# A bearer token with many claims fits.
limit_request_field_size = 8190

# Proxies whose word on the scheme is taken; anyone else's X-Forwarded-Proto is ignored.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
# An underscore in a header's name could pass for the hyphen of a header the proxy has set.
header_map = "drop"
# Nor may a header, whoever sent it, replace the path that was asked for.
forwarder_headers = ""

# No request line is written. Addresses carry no patient data by design, but a search term could,
# and a log is kept longer and read by more people than a request is. The service's own log has
# the operation, the status and the time taken, and nothing that was sent.
accesslog = None
errorlog = "-"
# At debug gunicorn quotes what it was sent, so that level is for the service's own log alone.
loglevel = os.environ.get("LOG_LEVEL", "info").lower().replace("debug", "info")

# The heartbeat files: on a busy disk they can be late, and the root file system may be read-only.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# No second way in to a running server, and no socket file to find room for.
control_socket_disable = True

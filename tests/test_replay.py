"""The memory of used tokens: nobody gets the same one through twice, whichever process asks, whatever has failed."""

import json
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from service.hooks.replay import (
    FileReplay,
    RedisReplay,
    ReplayMemory,
    ReplayUnavailable,
    open_replay,
    token_key,
)

ROOT = Path(__file__).parent.parent
NOW = 1_790_000_000
PASSWORD = "not-to-be-quoted"

Opener = Callable[[str], ReplayMemory]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A real one, without persistence, on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            ["redis-server", *options, "--requirepass", PASSWORD], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert any("Ready to accept connections" in line for line in self.process.stdout), "redis-server has ended"

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def real_redis() -> Iterator[RedisServer]:
    """`.ci/run` installs it. Where it is missing only the tests with it are left out, and they say so."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: the replay memory for several machines is not tested")
    server = RedisServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis of one test."""
    with real_redis() as server:
        yield server


@pytest.fixture(params=["file", "redis"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a memory is, of either kind."""
    if request.param == "file":
        return str(tmp_path / "replay.db")
    url: str = request.getfixturevalue("server").url
    return url


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens memories that are closed after the test."""
    memories = []

    def open_one(location: str) -> ReplayMemory:
        memories.append(open_replay(location))
        return memories[-1]

    yield open_one
    for memory in memories:
        memory.close()


def test_a_token_is_new_once(location: str, opened: Opener) -> None:
    first, second = opened(location), opened(location)
    one, other = token_key("https://a.example", "1"), token_key("https://a.example", "2")
    assert first.first_use(one, NOW, NOW + 300)
    assert not first.first_use(one, NOW + 1, NOW + 300)
    assert not second.first_use(one, NOW + 1, NOW + 9999)
    assert second.first_use(other, NOW + 1, NOW + 300)
    assert not first.first_use(other, NOW + 1, NOW + 300)


def test_the_same_id_of_two_issuers_is_two_tokens() -> None:
    keys = {token_key("a", "b|c"), token_key("a|b", "c"), token_key("a", "b"), token_key("ab", ""), token_key("", "ab")}
    assert len(keys) == 5


ASK = """
import json, sys
from service.hooks.replay import open_replay

memory = open_replay(sys.argv[1])
sys.stdin.readline()
print(json.dumps([memory.first_use(b"%032d" % n, {now}, {now} + 300) for n in range(40)]))
memory.close()
"""


def test_processes_racing_for_the_same_tokens_get_each_once(location: str) -> None:
    script = ASK.replace("{now}", str(NOW))
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, location],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(5)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 40


FORK = """
import json, os, sys
from service.hooks.replay import open_replay

def handles():
    # How often the file is open here: a child's own comes on top of what it was handed.
    entries = [entry.path for entry in os.scandir("/proc/self/fd")]
    return sum(os.path.realpath(entry) == sys.argv[1] for entry in entries)


memory = open_replay(sys.argv[1])
said = [memory.first_use(b"before", {now}, {now} + 300)]
before = handles()
readable, writable = os.pipe()
if os.fork() == 0:
    answers = [memory.first_use(name, {now}, {now} + 300) for name in (b"before", b"child", b"child")]
    answers.append(handles() - before)
    memory.close()
    os.write(writable, json.dumps(answers).encode())
    os._exit(0)
os.wait()
said += json.loads(os.read(readable, 1000))
said += [memory.first_use(name, {now}, {now} + 300) for name in (b"child", b"after", b"before")]
memory.close()
print(json.dumps(said))
"""


def test_a_fork_shares_the_memory_and_not_the_connection(location: str) -> None:
    """As with gunicorn's preload: opened, and even used, before the workers exist."""
    script = FORK.replace("{now}", str(NOW))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, location],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    opened_by_child = 0 if location.startswith("redis") else 1
    assert json.loads(done.stdout) == [True, False, True, False, opened_by_child, False, True, False]


def test_the_file_forgets_what_has_expired(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "replay.db"
    memory = opened(str(path))
    for n in range(100):
        assert memory.first_use(b"%032d" % n, NOW, NOW + 60)
    assert not memory.first_use(b"%032d" % 7, NOW + 59, NOW + 60)
    assert memory.first_use(b"later", NOW + 60, NOW + 120)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT token FROM seen").fetchall() == [(b"later",)]


def test_a_full_file_refuses_and_forgets_nothing_that_is_still_in_time(tmp_path: Path) -> None:
    path = tmp_path / "replay.db"
    with closing(FileReplay(path, largest=64 * 1024)) as memory:
        taken = 0
        with suppress(ReplayUnavailable):
            while taken < 10_000:
                memory.first_use(b"%032d" % taken, NOW, NOW + 60)
                taken += 1
        assert 100 < taken < 2000
        with pytest.raises(ReplayUnavailable, match="SQLITE_FULL"):
            memory.first_use(b"one more", NOW + 1, NOW + 61)
        assert not memory.first_use(b"%032d" % 0, NOW + 1, NOW + 60)
        assert memory.first_use(b"one more", NOW + 60, NOW + 120), "expired ones make room"
    assert path.stat().st_size <= 64 * 1024


def test_the_file_is_the_services_own_and_holds_no_token_id(tmp_path: Path) -> None:
    path = tmp_path / "replay.db"
    with closing(FileReplay(path)) as memory:
        memory.first_use(token_key("https://ehr.example", "Jane-Roe-1952"), NOW, NOW + 60)
        files = list(tmp_path.iterdir())
        assert len(files) == 3
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
        assert not any(b"Jane-Roe" in file.read_bytes() for file in files)


def test_a_file_that_is_locked_for_too_long_refuses(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "replay.db"
    memory = opened(str(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ReplayUnavailable, match="SQLITE_BUSY"):
            memory.first_use(b"token", NOW, NOW + 60)
        other.execute("ROLLBACK")
    assert memory.first_use(b"token", NOW, NOW + 60)


def test_a_file_that_is_damaged_or_gone_refuses(tmp_path: Path) -> None:
    path = tmp_path / "replay.db"
    with closing(FileReplay(path)) as memory:
        path.write_bytes(b"no database" * 1000)
        with pytest.raises(ReplayUnavailable):
            memory.first_use(b"token", NOW, NOW + 60)
    path.unlink()
    with closing(memory), pytest.raises(ReplayUnavailable):
        memory.first_use(b"token", NOW, NOW + 60)


@pytest.mark.parametrize("make", ["garbage", "folder", "link", "missing"])
def test_a_file_that_cannot_be_one_is_refused_at_the_start(make: str, tmp_path: Path) -> None:
    path = tmp_path / "replay.db"
    if make == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif make == "folder":
        path.mkdir()
    elif make == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path = tmp_path / "no such folder" / "replay.db"
    with pytest.raises(ReplayUnavailable):
        FileReplay(path)


def test_redis_keeps_a_token_as_long_as_it_lasts(server: RedisServer, opened: Opener) -> None:
    memory = opened(server.url)
    assert memory.first_use(b"\x01\x02", NOW, NOW + 300)
    assert memory.first_use(b"\x03", NOW, NOW)
    with closing(redis.Redis.from_url(server.url)) as client:
        assert 290 < client.ttl("cofactor:replay:0102") <= 300
        assert all(client.ttl(key) > 0 for key in client.keys("*")), "nothing is kept for ever"


def test_redis_that_is_gone_refuses_until_it_is_back(server: RedisServer, opened: Opener) -> None:
    memory = opened(server.url)
    assert memory.first_use(b"token", NOW, NOW + 300)
    server.stop()
    for _ in range(2):
        with pytest.raises(ReplayUnavailable) as refused:
            memory.first_use(b"other", NOW, NOW + 300)
        assert PASSWORD not in str(refused.value)
    server.start()
    assert memory.first_use(b"other", NOW, NOW + 300)


def test_redis_that_was_started_anew_costs_nobody_a_call(server: RedisServer, opened: Opener) -> None:
    memory = opened(server.url)
    assert memory.first_use(b"token", NOW, NOW + 300)
    server.stop()
    server.start()
    assert memory.first_use(b"other", NOW, NOW + 300)


def test_redis_that_does_not_answer_refuses(opened: Opener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        memory = opened(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(ReplayUnavailable, match="TimeoutError"):
            memory.first_use(b"token", NOW, NOW + 300)


def test_redis_that_is_full_or_closed_to_us_refuses(server: RedisServer, opened: Opener) -> None:
    memory = opened(server.url)
    with closing(redis.Redis.from_url(server.url)) as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(ReplayUnavailable):
        memory.first_use(b"token", NOW, NOW + 300)
    with pytest.raises(ReplayUnavailable) as refused:
        opened(server.url.replace(PASSWORD, "wrong-one")).first_use(b"token", NOW, NOW + 300)
    assert "wrong-one" not in str(refused.value)


@pytest.mark.parametrize("location", ["http://localhost/0", "redis://localhost:port/0", "redis://localhost/?db=x"])
def test_an_address_that_is_none_is_refused_at_the_start(location: str) -> None:
    with pytest.raises(ValueError, match="replay memory"):
        open_replay(location)


def test_a_plain_name_is_a_file(tmp_path: Path) -> None:
    with closing(open_replay(str(tmp_path / "r e?play#.db"))) as memory:
        assert isinstance(memory, FileReplay)
        assert memory.first_use(b"token", NOW, NOW + 60)
    assert (tmp_path / "r e?play#.db").is_file()
    with closing(open_replay("redis://localhost:1/0")) as memory:
        assert isinstance(memory, RedisReplay)

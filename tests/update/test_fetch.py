"""An image from an address: whole and the one that was asked for, or not at all, over whatever link."""

import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from boxes import Maker, small_files
from cellwarden.update import fetch
from cellwarden.update.duty import wants_a_look
from cellwarden.update.fetch import Source
from cellwarden.update.image import Refused, read_signed
from cellwarden.update.slots import Slots
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from places import Place, certificate

GUEST = Path(__file__).with_name("fetch_guest.py")
DATA = bytes(range(256)) * 50


class Clock:
    """Time that passes only while somebody sleeps, and then much faster than for the others."""

    def __init__(self):
        self.ms = 0

    def now_ms(self):
        return self.ms

    def sleep_ms(self, ms):
        self.ms += ms
        time.sleep(1e-5)


def read_all(address, **other):
    source = Source(address, rate=1 << 30, **other)
    data = b""
    while more := source.read(1000):
        data += more
    source.close()
    return data


@pytest.fixture(params=["python", "micropython"])
def told(request, found, tmp_path):
    """Ask a Python what it reads at an address: its line."""
    words, environment = [sys.executable], dict(os.environ)
    if request.param == "micropython":
        words = found(find_micropython)
        write_device_files(tmp_path / "lib", native=True)
        environment["MICROPYPATH"] = f"{tmp_path / 'lib'}:.frozen"

    def ask(*arguments):
        done = subprocess.run([*words, GUEST, *arguments], capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return ask


WHOLE = f"{len(DATA)} {hashlib.sha256(DATA + DATA[100:107]).hexdigest()} True"


def test_all_of_it_comes_in_pieces(told):
    with Place(DATA) as place:
        assert told(place.address) == WHOLE
        assert place.asked == [0, 4096, 8192, 12288, 100]


def test_a_link_that_is_cut_again_and_again_goes_on_where_it_was(told):
    def cut(n, lines, body):
        return (lines, body[: len(body) // 2], True) if n % 2 else (lines, body, False)

    with Place(DATA, cut) as place:
        assert told(place.address) == WHOLE
        assert place.asked == [0, 0, 4096, 4096, 8192, 8192, 12288, 12288, 100, 100]


def test_with_tls_the_certificate_that_was_given_counts(told, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    own, der = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other")
    (tmp_path / "ca.der").write_bytes(der)
    (tmp_path / "other.der").write_bytes(other)
    with Place(DATA, certificate=own) as place:
        assert told(place.address, tmp_path / "ca.der") == WHOLE
        asked = len(place.asked)
        assert told(place.address, tmp_path / "other.der").startswith("no: its certificate is not trusted")
        assert len(place.asked) == asked, "nothing was asked of somebody else"


def head(*lines):
    return lambda n, old, body: (["HTTP/1.1 206 Partial Content", *lines], body, True)


LIES = {
    "the whole file": (lambda n, lines, body: (["HTTP/1.1 200 OK", "Content-Length: 5"], b"12345", True), "but 200"),
    "not there": (lambda n, lines, body: (["HTTP/1.1 404 Not Found", "Content-Length: 0"], b"", True), "but 404"),
    "elsewhere": (lambda n, lines, body: (["HTTP/1.1 302 Found", "Location: http://x/"], b"", True), "but 302"),
    "another range": (head("Content-Range: bytes 1-4096/12800", "Content-Length: 4096"), "another range"),
    "more than asked": (head("Content-Range: bytes 0-9999/12800", "Content-Length: 10000"), "another range"),
    "another length": (head("Content-Range: bytes 0-4095/12800", "Content-Length: 9"), "another range"),
    "a range past its end": (head("Content-Range: bytes 0-4095/4000", "Content-Length: 4096"), "another range"),
    "no numbers": (head("Content-Range: bytes a-b/c", "Content-Length: 4096"), "cannot be read"),
    "no range": (head("Content-Length: 4096"), "cannot be read"),
    "no HTTP": (lambda n, lines, body: (["CWU1"], b"", True), "gives no range"),
    "a head without end": (lambda n, lines, body: (["X: " + "x" * 5000], b"", True), "has no end"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_not_what_was_asked_for_is_not_taken(lie):
    spoil, why = LIES[lie]
    with Place(DATA, spoil) as place:
        with pytest.raises(OSError, match=why):
            read_all(place.address)
        assert place.asked == [0], "to ask again would not help"


def test_another_file_midway_is_noticed():
    def other(n, lines, body):
        return ([line.replace("ETag: one", "ETag: two") for line in lines] if n > 2 else lines), body, False

    with Place(DATA, other) as place, pytest.raises(OSError, match="there is another file now"):
        read_all(place.address)


def test_a_place_that_says_nothing_is_given_up_and_the_box_judges_meanwhile():
    clock, judged = Clock(), []

    def silent(n, lines, body):
        return [], b"", True

    with Place(DATA, silent) as place:
        source = Source(place.address, pause=lambda: judged.append(clock.ms), clock=clock)
        with pytest.raises(OSError, match="the link is lost"):
            source.read(1)
    assert len(place.asked) == fetch.TRIES and len(judged) > 1000
    assert max(b - a for a, b in pairwise(judged)) <= 10


@pytest.fixture
def silent():
    """The port of somebody who takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def judges_meanwhile(monkeypatch):
    """Ask an address that does not answer, once: the box judges each 10 ms until it is given up."""
    monkeypatch.setattr(fetch, "TRIES", 1)

    def ask(address):
        clock, judged = Clock(), []
        with pytest.raises(OSError, match="the link is lost: nothing comes"):
            Source(address, pause=lambda: judged.append(clock.ms), clock=clock).read(1)
        assert len(judged) > 1000 and max(b - a for a, b in pairwise(judged)) <= 10

    return ask


def test_the_box_judges_while_a_handshake_gets_no_answer(silent, judges_meanwhile):
    judges_meanwhile(f"https://127.0.0.1:{silent}/")


def test_the_box_judges_while_nobody_knows_a_name(monkeypatch, judges_meanwhile):
    end = threading.Event()
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_: end.wait(30))
    judges_meanwhile("http://some.where/")
    end.set()


def test_the_box_judges_while_a_connection_is_not_taken(judges_meanwhile):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(8)]  # for whom its queue is full
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        judges_meanwhile(f"http://127.0.0.1:{server.getsockname()[1]}/")
        for each in waiting:
            each.close()


def test_a_name_that_is_not_known_and_a_port_that_is_closed_are_told(silent, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 1)
    for address, why in (("http://nobody.invalid/", "lost: "), (f"http://127.0.0.1:{silent}/", "lost: ")):
        with pytest.raises(OSError, match=why):
            Source(address, clock=Clock()).read(1)


def test_no_more_bytes_a_second_than_allowed():
    clock = Clock()
    with Place(DATA) as place:
        source = Source(place.address, rate=1000, clock=clock)
        while source.read(512):
            pass
    assert clock.ms >= 12_800


@pytest.mark.parametrize("address", ["ftp://x/y", "https://", "https://x:y/z", "box.cwu", ""])
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(ValueError):
        Source(address)


def test_an_update_over_a_bad_link_goes_on_with_what_is_there(tmp_path):
    maker = Maker(tmp_path)
    files = small_files(1) | {"large.bin": bytes(60_000)}
    image = maker.image(1, files).read_bytes()
    (tmp_path / "box").mkdir()
    slots = Slots(str(tmp_path / "box"), maker.box)

    def gone(n, lines, body):
        return (lines, body, False) if n < 12 else ([], b"", True)

    with Place(image, gone) as place:
        with pytest.raises(Refused) as caught:
            slots.install(Source(place.address, rate=1 << 30, clock=Clock()))
        assert caught.value.reason == "source"
        place.spoil, already = None, len(place.asked)
        slots.install(Source(place.address, rate=1 << 30))
        assert min(place.asked[already + 3 :]) > 4096 * 2, "files that were there are not fetched again"
    assert slots.will_run(read_signed(io.BytesIO(image), maker.key))


def test_a_command_of_the_platform_is_only_a_request_to_look():
    """GB/T 32960.3 terminal control: six bytes of time, the command, its parameters."""
    time = bytes((26, 11, 23, 16, 0, 0))
    assert wants_a_look(time + b"\x01" + b"ftp://evil/image;apn;user;password;1.2.3.4;21;x;1;2;60")
    assert not wants_a_look(time + b"\x02") and not wants_a_look(time) and not wants_a_look(b"")

"""An update image at an http:// or https:// address, read as a file with `read` and `seek`.

Each piece is a range request of its own; a link that is lost is made anew, and what was read is not read twice. Nothing
of what comes is trusted: image.py checks the signature. TLS keeps others from reading along and from wasting the link.
Nothing waits but in `_soon()`, which lets the box judge meanwhile.
"""

import errno
import select
import socket
import sys

from cellwarden import clock as real_clock
from cellwarden.core import layout as L

PIECE = 4096  # bytes asked for at once
RATE = 32_768  # bytes a second at most
WAIT_MS = 10_000  # for the name's address, the connection, each answer of a handshake, the next byte
TRIES = 5  # of a piece; twice as long between two of them each time
MOST_HEAD = 4096  # bytes of an answer's head
_WOULD_WAIT = (11, 2, 3)  # EAGAIN, and ssl.SSL_ERROR_WANT_READ and _WRITE of CPython
_MICROPYTHON = sys.implementation.name == "micropython"
_LINUX = sys.platform == "linux"


class _Wrong(Exception):
    """The place answers, and not with the bytes that were asked for: to ask again would not help."""


class Source:
    """address: of the image, the only one that is ever asked; ca: DER of the certificate to trust, or None: those of
    the system, or none at all where MicroPython has no such list; pause: called while it waits; rate: bytes a second
    Raises ValueError for an address of another kind. read() raises OSError.
    """

    def __init__(self, address, ca=None, pause=lambda: None, rate=RATE, clock=real_clock):
        kind, _, rest = address.partition("://")
        place, _, path = rest.partition("/")
        host, _, port = place.partition(":")
        if kind not in ("http", "https") or not host or (port and not port.isdigit()):
            raise ValueError(address + " is no address such as https://example.org/image.cwu")
        self._tls, self._host, self._place, self._path = kind == "https", host, place, "/" + path
        self._port = int(port or (443 if self._tls else 80))
        self._ca, self._pause, self._rate, self._clock = ca, pause, rate, clock
        self._link = self._tag = self._total = None
        self._at, self._first, self._held = 0, 0, b""

    def seek(self, at):
        self._at = at

    def read(self, count):
        """Up to `count` bytes; none at the end."""
        if not self._first <= self._at < self._first + len(self._held):
            if self._at == self._total:
                return b""
            self._held, self._first = self._piece(self._at), self._at
        data = self._held[self._at - self._first :][:count]
        self._at += len(data)
        return data

    def close(self):
        link, self._link = self._link, None
        if link:
            for part in link:
                try:
                    part.close()
                except OSError:
                    pass

    def _piece(self, at):
        failure = None
        for n in range(TRIES):
            if n:
                self._rest(500 << n)
            try:
                data = self._asked(at)
                self._rest(1000 * len(data) // self._rate)
                return data
            except OSError as error:
                failure = error
                self.close()
            except _Wrong as error:
                self.close()
                raise OSError(str(error)) from None
        raise OSError("the link is lost: " + str(failure))

    def _rest(self, ms):
        began = self._clock.now_ms()
        while (self._clock.now_ms() - began) & L.MASK < ms:
            self._pause()
            self._clock.sleep_ms(2)

    def _asked(self, at):
        """The bytes from `at` on that the place gives in one answer. Raises OSError, _Wrong."""
        if not self._link:
            self._connect()
        text = "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%d-%d\r\n\r\n"
        self._send((text % (self._path, self._place, at, at + PIECE - 1)).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if len(head) == MOST_HEAD:
                raise _Wrong("the head of its answer has no end")
            head += self._some(1)
        size, total, tag = _told(head, at)
        if self._total is None:
            self._total, self._tag = total, tag
        elif (total, tag) != (self._total, self._tag):
            raise _Wrong("there is another file now")
        data = b""
        while len(data) < size:
            data += self._some(size - len(data))
        return data

    def _connect(self):
        family, kind, protocol, _, place = self._found()
        raw = link = socket.socket(family, kind, protocol)
        self._link = raw, link
        raw.setblocking(False)
        try:
            raw.connect(place)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        ready = select.poll()
        ready.register(raw, select.POLLOUT)
        self._soon(lambda: ready.poll(0) or None)
        if self._tls:
            context = _context(self._ca)  # the first that is sent shakes hands
            link = context.wrap_socket(raw, server_hostname=self._host, do_handshake_on_connect=False)
            self._link = raw, link

    def _found(self):
        """What getaddrinfo() says of the host first. It cannot be told not to wait: it gets a thread where it can."""
        told = []

        def look():
            try:
                told.append(socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)[0])
            except Exception as error:
                told.append(error)

        if _LINUX:
            import _thread

            _thread.start_new_thread(look, ())
        else:
            look()
        found = self._soon(lambda: told[0] if told else None)
        if isinstance(found, Exception):
            raise OSError(str(found))
        return found

    def _send(self, data):
        send = self._link[1].write if _MICROPYTHON else self._link[1].send
        while data:
            try:
                data = data[self._soon(lambda rest=data: send(rest)) :]
            except ValueError as error:
                raise _Wrong("its certificate is not trusted: " + str(error).strip()) from None

    def _some(self, count):
        """One to `count` bytes, as they come. Raises OSError where none come."""
        link = self._link[1]
        data = self._soon(lambda: link.read(count) if _MICROPYTHON else link.recv(count))
        if not data:
            raise OSError("it was closed")
        return data

    def _soon(self, step):
        """What a step gives, once it gives other than None and need not wait. Raises OSError where that takes long."""
        began = self._clock.now_ms()
        while (self._clock.now_ms() - began) & L.MASK < WAIT_MS:
            try:
                given = step()
                if given is not None:
                    return given
            except OSError as error:
                if error.errno not in _WOULD_WAIT:
                    raise
            self._pause()
            self._clock.sleep_ms(2)
        raise OSError("nothing comes")


def _told(head, at):
    """(bytes of the body, of the whole file, its tag) of an answer with a range from `at` on. Raises _Wrong."""
    first, *lines = head[:-4].split(b"\r\n")
    facts = {}
    for line in lines:
        name, _, value = line.partition(b":")
        facts[name.lower()] = value.strip()
    status = first.split(b" ")[1:2]
    if status != [b"206"]:
        raise _Wrong("it gives no range, but " + b" ".join(status).decode())
    try:
        unit, _, rest = facts[b"content-range"].partition(b" ")
        span, _, total = rest.partition(b"/")
        begin, end = [int(number) for number in span.split(b"-")]
        size, total = int(facts[b"content-length"]), int(total)
    except (KeyError, ValueError):
        raise _Wrong("its range cannot be read") from None
    if unit != b"bytes" or begin != at or end - begin + 1 != size or not 0 < size <= PIECE or end >= total:
        raise _Wrong("it gives another range than was asked for")
    return size, total, facts.get(b"etag") or facts.get(b"last-modified")


def _context(ca):
    import ssl

    if not _MICROPYTHON:
        return ssl.create_default_context(cadata=ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=ca)
    else:
        context.verify_mode = ssl.CERT_NONE  # the image's signature is what counts
    return context

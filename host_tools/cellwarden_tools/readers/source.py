"""Where the bytes of a log come from: a file or a pipe, plain or compressed, in blocks and in bounded memory."""

import contextlib
import os
import sys

from ..errors import InputError
from .account import Reject, Skip

BLOCK = 1 << 16
LINE = 4096  # no log format here writes a line half as long
PATIENCE = 1 << 20  # bytes without a single frame before a log is given up


def _gzip():
    import zlib

    return lambda: zlib.decompressobj(31), _feed_zlib, zlib.error


def _xz():
    import lzma

    return lzma.LZMADecompressor, _feed_lzma, lzma.LZMAError


def _zstd():
    import zstandard

    return lambda: zstandard.ZstdDecompressor().decompressobj(), _feed_zstd, zstandard.ZstdError


# name: (first bytes, codec, bytes fed at a time, package). zstd cannot bound what it gives, so it gets little.
CODECS = {
    "gzip": (b"\x1f\x8b", _gzip, BLOCK, "zlib"),
    "xz": (b"\xfd7zXZ\0", _xz, BLOCK, "lzma"),
    "zstd": (b"\x28\xb5\x2f\xfd", _zstd, 1024, "zstandard"),
}
PACKED = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}


def _feed_zlib(codec, data):
    while True:
        out = codec.decompress(data, BLOCK)
        yield out
        data = codec.unconsumed_tail
        if codec.eof or (not data and len(out) < BLOCK):
            return


def _feed_lzma(codec, data):
    while True:
        yield codec.decompress(data, BLOCK)
        data = b""
        if codec.eof or codec.needs_input:
            return


def _feed_zstd(codec, data):
    out = codec.decompress(data)
    for at in range(0, len(out), BLOCK):
        yield out[at : at + BLOCK]


class Source:
    """The plain bytes of a log. Iterating gives non-empty blocks; `head` holds the first of them for a look.

    path:   str or Path, "-" for standard input
    stream: a binary stream read instead of the path
    step:   bytes of a plain log asked for at a time
    cut:    how a compressed stream ends early, or None; known at the end
    Raises InputError for a file missing, unreadable or empty, and for a compression library missing.
    """

    def __init__(self, path, stream=None):
        self.path, self.cut, self.packed, self.step = str(path), None, None, BLOCK
        self.position = 0  # bytes of the file read so far
        self._own = None
        try:
            if stream is None and self.path == "-":
                stream = sys.stdin.buffer
            self._own = None if stream else open(path, "rb")
        except OSError as error:
            raise InputError(path, f"cannot be read ({error.strerror})", "a log file") from None
        self._raw = stream or self._own
        self._read = getattr(self._raw, "read1", self._raw.read)
        try:
            self._blocks = self._open()
            self.head = self._first()
        except BaseException:
            self.close()
            raise

    def _open(self):
        first = self._get(BLOCK)
        while first and len(first) < 6 and (more := self._get(BLOCK)):
            first += more
        if not first:
            raise InputError(self.path, "is empty", "a log with at least one frame")
        for name, (magic, load, step, package) in CODECS.items():
            if first.startswith(magic):
                self.packed = name
                try:
                    codec = load()
                except ImportError:
                    mend = (
                        "pip install zstandard"
                        if name == "zstd"
                        else f"unpack it first, or use a Python that has {package}"
                    )
                    raise InputError(
                        self.path, f"is compressed with {name} and {package} is missing", mend=mend
                    ) from None
                return self._inflate(self._plain(first, step), name, magic, *codec)
        return self._plain(first)

    def _get(self, size):
        try:
            block = self._read(size)
            self.position += len(block)
            return block
        except OSError as error:
            raise InputError(self.path, f"cannot be read ({error.strerror or error})", "a log file") from None

    def _plain(self, first, step=None):
        for at in range(0, len(first), step or BLOCK):
            yield first[at : at + (step or BLOCK)]
        while block := self._get(step or self.step):
            yield block

    def _inflate(self, blocks, name, magic, new, feed, errors):
        codec, given = None, 0
        for block in blocks:
            while block:
                if codec is None:
                    if given and not block.startswith(magic[: len(block)]):
                        return  # padding behind the last member
                    codec = new()
                try:
                    for out in feed(codec, block):
                        given += len(out)
                        if out:
                            yield out
                except errors:
                    self.cut = f"the {name} stream is damaged behind byte {given} of its content"
                    return
                block, codec = (codec.unused_data, None) if codec.eof else (b"", codec)
        if codec is not None:
            self.cut = f"the {name} stream ends early, behind byte {given} of its content"

    def _first(self):
        head = b""
        while len(head) < LINE and b"\n" not in head:
            block = next(self._blocks, b"")
            if not block:
                break
            head += block
        if not head:
            raise InputError(
                self.path, f"holds nothing: {self.cut or 'an empty stream'}", "a log with at least one frame"
            )
        return head

    def more(self, longest=LINE):
        """Lengthen `head` for another look; False at the end, or when it is long enough."""
        block = next(self._blocks, b"") if len(self.head) < longest else b""
        self.head += block
        return bool(block)

    def __iter__(self):
        yield self.head
        yield from self._blocks

    @property
    def plain_file(self):
        """Whether the path itself can be opened for the same bytes."""
        return self._own is not None and not self.packed and os.path.isfile(self.path)

    @property
    def file_bytes(self):
        """Bytes of the file as it lies there, or None for a pipe."""
        return os.fstat(self._own.fileno()).st_size if self._own is not None and os.path.isfile(self.path) else None

    def close(self):
        if self._own:
            self._own.close()


def pieces(source, account, step=BLOCK, longest=LINE):
    """Yield (text, end, whole): text[:end] is whole lines as bytes, each with its line feed.

    `whole` is False for one last line without line feed, to which one is added. Lines over `longest` bytes that no
    piece can hold are rejected here. The taker adds its lines to `account.total` before it asks for more: the first of
    a piece is line `account.total + 1`. Behind the first PATIENCE bytes, `step` are asked for at a time; what has come
    is given at once. Raises InputError when those first bytes hold no frame.
    """
    rest, seen, drop = b"", 0, False
    for text in source:
        seen += len(text)
        if drop:
            end = text.find(b"\n") + 1
            text, drop = (text[end:], False) if end else (b"", True)
        if rest:
            text = rest + text
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        if end:
            yield text, end, True
        if len(rest) > longest:
            account.total += 1
            _too_long(rest.decode("latin-1"), account.total, source, account, longest)
            rest, drop = b"", True
        if seen > PATIENCE and account.fruitless:
            raise nothing(source, account, f"no frame in the first {PATIENCE >> 20} MiB")
        if seen > PATIENCE:
            source.step = step
    if rest:
        yield rest + b"\n", len(rest) + 1, False
    elif drop:
        account.end(f"the last line (line {account.total}) has no end")


def blocks(source, account):
    """Yield (number of the first line, text, whole): the pieces as Latin-1, their lines counted."""
    for text, end, whole in pieces(source, account):
        text = text[:end]
        number = account.total + 1
        account.total += text.count(b"\n")
        yield number, text.decode("latin-1"), whole


def settle(parse, line, number, whole, source, account):
    """`parse(line, whole)` with its outcome accounted for: the frame, or None."""
    if len(line) > LINE:
        return _too_long(line, number, source, account)
    try:
        frame = parse(line, whole)
        account.notices += frame[2] >> 30 != 0
        return frame
    except Skip as reason:
        account.skip(str(reason))
        if not whole and not line.strip():
            account.end(f"the last line (line {number}) is cut off")
    except Reject as reason:
        reason = str(reason)
        if not whole:
            account.end(f"the last line (line {number}) is cut off")
            reason = "cut off"
        elif not _is_text(line):
            reason = "not UTF-8/ASCII text"
        account.reject(f"{source.path}:{number}", reason, line.rstrip("\r"))
    return None


def _too_long(line, number, source, account, longest=LINE):
    """Reject a line, of which 80 characters are enough. In one piece or in many, its account is the same."""
    account.reject(f"{source.path}:{number}", f"line over {longest} bytes", line)


def _is_text(line):
    if line.isascii() and line.isprintable():
        return True
    try:
        line.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(mark >= " " or mark in "\t\r\f\v" for mark in line)


def frames(source, account, parse):
    """The frames of a text log, line by line through `parse(line, whole)`, which raises Skip or Reject."""
    for number, text, whole in blocks(source, account):
        for at, line in enumerate(text[:-1].split("\n"), number):
            frame = settle(parse, line, at, whole, source, account)
            if frame:
                account.frames += 1
                yield frame


def micros(whole, fraction):
    """Decimal digits before and behind the point, of seconds -> microseconds; what is finer is dropped."""
    return int(whole) * 1_000_000 + int((fraction + "000000")[:6])


# first bytes of what people feed us by mistake
SEEN = (
    (b"LOGG", "a Vector BLF log"),
    (b"MDF ", "an MDF/MF4 log"),
    (b"UnFinMF", "an MDF/MF4 log that was not finalised"),
    (b";$FILEVERSION", "a PCAN trace (trc)"),
    (b";###", "a PCAN trace (trc)"),
    (b"***BUSMASTER", "a BUSMASTER log"),
    (b"@ TEXT @", "a trace of another tool (CarBus Analyzer)"),
    (b"Time Stamp,ID,Extended", "a SavvyCAN CSV log"),
    (b"VERSION ", "a DBC file"),
    (b"PAR1", "a Parquet table"),
    (b"PK\3\4", "a zip archive or a spreadsheet"),
    (b"SQLite format 3", "an SQLite database"),
    (b"BZh", "a bzip2 stream"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
    (b"\x0a\x0d\x0d\x0a", "a network capture (pcapng)"),
    (b"\xd4\xc3\xb2\xa1", "a network capture (pcap)"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
)
TEXT = bytes({7, 8, 9, 10, 12, 13, 27} | set(range(32, 256)))


def seems(head):
    """What a file seems to be by its first bytes, as a phrase."""
    for magic, name in SEEN:
        if head.removeprefix(b"\xef\xbb\xbf").startswith(magic):
            return name
    if b"CAN BUS Analyzer" in head[:200]:
        return "a Microchip CAN Bus Analyzer log"
    if head.lower().lstrip().startswith((b"date ", b"base ")):
        return "a Vector ASC log"
    if b"\0" in head[:LINE] or len(head[:LINE].translate(None, TEXT)) * 20 > len(head[:LINE]):
        return f"binary data (first bytes {head[:8].hex(' ')})"
    line = head.lstrip().split(b"\n")[0][:48].decode("utf-8", "replace").strip()
    return f"text that begins {line!r}"


def nothing(source, account, what="no frame in it"):
    """The InputError for a log of which not one record is a frame."""
    from . import FORMATS, by_head

    reasons = ", ".join(f"{n} {reason}" for reason, n in (account.rejected + account.skipped).most_common(3))
    found = f"{what}; it seems to be {seems(source.head)}"
    if reasons:
        found += f" (records: {reasons})"
    if source.cut or account.cut:
        found += f"; {source.cut or account.cut}"
    other = by_head(source.head)
    mend = f"read it with --format {other} if that is it" if other else ""
    return InputError(source.path, found, f"one of the formats {', '.join(FORMATS)}", mend)


@contextlib.contextmanager
def on_disk(source):
    """The name of a file with all of the source's plain bytes: its own, or a temporary one's."""
    if source.plain_file:
        yield source.path
        return
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="cellwarden-", suffix=os.path.splitext(source.path)[1]) as file:
        for block in source:
            file.write(block)
        file.flush()
        yield file.name

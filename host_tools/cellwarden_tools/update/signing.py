"""Signing keys: LMS trees of which no leaf ever signs twice (docs/update.md, "Keys").

A leaf that signs two things gives a forger what he needs. So a leaf is written down as used, in a file beside
the key, and is on the disk before the signature is made; after a crash the leaf is lost, never used again.

    NAME.key      the secret: it never changes and is readable by its owner alone
    NAME.leaves   a line for each leaf that was taken, and where this key lives
    NAME.pub      of a root: its public key, 60 bytes, which every box has

A root signs the public keys of trees, a tree signs images; a signature carries both (HSS). A tree needs no backup:
where it is lost or its leaves are in doubt, the root makes another. What can be noticed of a copy is noticed: the
file's inode, the machine, and a witness in the user's own state folder that says how far the key was used here.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cellwarden.update import image, lms

from ..errors import InputError
from ..files import whole_file

HEIGHTS = {5: 5, 10: 6, 15: 7}  # height of a tree: LMS type (RFC 8554)
HEIGHT = 10
WIDTH_4 = 3  # the LM-OTS type: 2 kB a signature and 4 million instructions on a Cortex-M3
SEED_BYTES, I_BYTES = 32, 16
_FIRST = "cellwarden signing leaves 1"
_FORM = "cellwarden signing key 1"


@dataclass
class Key:
    """One LMS tree. kind: "root" or "tree"; public: 56 bytes; signed: of a tree, the root's signature of `public`;
    root: 60 bytes, the public key that boxes have"""

    path: Path
    kind: str
    height: int
    seed: bytes
    i: bytes
    public: bytes
    root: bytes
    signed: bytes

    @property
    def name(self):
        """By which people know the key: 16 hexadecimal digits."""
        return hashlib.sha256(self.public).hexdigest()[:16]

    def private(self):
        """The tree in pyhsslms, about to sign with leaf 0. Computing it takes a second."""
        from pyhsslms.pyhsslms import LmsPrivateKey

        lms_type, ots_type = (number.to_bytes(4, "big") for number in (HEIGHTS[self.height], WIDTH_4))
        return LmsPrivateKey(lms_type, ots_type, self.seed, self.i, 0)


def make_root(path, height=HEIGHT):
    """A new root at `path`.key with its .leaves and .pub; returns it. Raises InputError where one of them is there."""
    return _make(path, "root", height, None)


def make_tree(path, root, height=HEIGHT):
    """A new tree at `path`, signed by the next leaf of the root, a Key. Raises InputError."""
    if root.kind != "root":
        raise InputError(root.path, "is a tree, and only a root signs trees", "a root's key")
    return _make(path, "tree", height, root)


def _make(path, kind, height, root):
    if height not in HEIGHTS:
        raise InputError("--height", f"{height} is not offered", " or ".join(map(str, HEIGHTS)))
    paths = _paths(path)
    for there in paths if kind == "root" else paths[:2]:
        if there.exists():
            raise InputError(there, "is there already, and a key is never written over", "a new name")
    key = Key(paths[0], kind, height, secrets.token_bytes(SEED_BYTES), secrets.token_bytes(I_BYTES), b"", b"", b"")
    key.public = key.private().publicKey().serialize()
    if root:
        key.root, key.signed = root.root, _signed_by_leaf(root, key.public)
    else:
        key.root = image.TREES.to_bytes(4, "big") + key.public
    told = {"form": _FORM, "kind": kind, "height": height}
    told |= {name: getattr(key, name).hex() for name in ("seed", "i", "public", "root", "signed")}
    with _new_file(paths[1]) as file:
        file.write(f"{_FIRST} {key.name}\n{_home(file, key)}\n".encode())
    if kind == "root":
        with _new_file(paths[2], 0o644) as file:
            file.write(key.root)
    with _new_file(paths[0]) as file:  # last: what is there before is no key yet
        file.write((json.dumps(told, indent=1) + "\n").encode())
    return key


def read_key(path):
    """The Key in a file. Raises InputError; it never shows what is in it."""
    try:
        told = json.loads(Path(path).read_bytes())
        height, kind = told["height"], told["kind"]
        values = {name: bytes.fromhex(told[name]) for name in ("seed", "i", "public", "root", "signed")}
        right = told["form"] == _FORM and height in HEIGHTS and kind in ("root", "tree")
        right = right and [len(values[name]) for name in ("seed", "i", "public", "root")] == [32, 16, 56, lms.KEY_BYTES]
        right = right and values["root"].startswith(image.TREES.to_bytes(4, "big"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a signing key") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise InputError(path, "is no signing key", "a file that `cellwarden keys root` or `tree` made")
    return Key(Path(path), kind, height, **values)


def sign(key, message):
    """The HSS signature of `message`, as bytes, made with a tree's next leaf, which is then used up.

    Raises InputError where the key is no tree's, is used up, or may have been used elsewhere.
    """
    if key.kind != "tree":
        raise InputError(key.path, "is a root, which signs trees only", "a tree's key")
    if not _is_signed(key.root[4:], key.public, key.signed):
        raise InputError(key.path, "is damaged: its root did not sign it", "the file as it was made")
    below = _signed_by_leaf(key, message)
    return (image.TREES - 1).to_bytes(4, "big") + key.signed + key.public + below


def _signed_by_leaf(key, message):
    """LMS signature with the next leaf, which is used from here on, whatever happens."""
    private = key.private()
    if private.publicKey().serialize() != key.public:
        raise InputError(key.path, "is damaged: its tree has another root than it says", "the file as it was made")
    private.q = reserve(key, hashlib.sha256(message).hexdigest())
    made = private.sign(message)
    if not _is_signed(key.public, message, made):
        raise InputError(key.path, "made a bad signature, so this computer cannot be trusted with it", "sound memory")
    return made


def _is_signed(public, message, signature):
    """Whether an LMS signature is good, as our own verifier finds. public: 56 bytes."""
    return lms.verify(b"\0\0\0\1" + public, io.BytesIO(b"\0\0\0\0" + signature), (message,)) is not None


# --- the leaves -------------------------------------------------------------------------------------------------------

_LOST = "where it cannot be had, make another tree and destroy this key"


def reserve(key, digest):
    """The number of the next leaf, written down as used and on the disk. digest: hexadecimal, of what it will sign.

    Raises InputError where all are used, or where the key may have been used elsewhere.
    """
    with _Leaves(key) as leaves:
        lines = ["skipped"] if leaves.torn else []
        if leaves.home is None:  # released, and carried here
            lines += [_home(leaves.file, key), "skipped"]
        leaf = leaves.used + lines.count("skipped")
        if leaf >= 1 << key.height:
            mend = "make another with `cellwarden keys tree`" if key.kind == "tree" else "make another root"
            raise InputError(leaves.path, f"all {1 << key.height} leaves are used", "", mend)
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        leaves.append([*lines, f"leaf {leaf} {digest} {when}"])
        _write_witness(key, leaf + 1)
        return leaf


def count_used(key):
    """(leaves used, leaves in all). Raises InputError where the key may not sign, but for being used up."""
    with _Leaves(key) as leaves:
        return leaves.used, 1 << key.height


def release(key):
    """Let the key be carried to another place: here it signs no more, and there it lives where it signs first."""
    with _Leaves(key) as leaves:
        if leaves.home is not None:
            leaves.append(["skipped"] * leaves.torn + ["released"])
        _write_witness(key, leaves.used + leaves.torn + 1)


class _Leaves:
    """The file of leaves, for nobody else as long as it is open.

    used: leaves that signed or were skipped; torn: whether a line is cut short, which may have been that of a leaf;
    home: the line that says where the key lives, None once it is released

    Raises InputError where the file is gone, in use, of another key, not as it was written, or where the key was
    copied, restored or used elsewhere, as far as that can be known.
    """

    def __init__(self, key):
        self.path = _paths(key.path)[1]
        try:
            self.file = open(self.path, "r+b", buffering=0)
        except OSError as error:
            expected = "the file of used leaves; a key without it must never sign"
            raise InputError(self.path, f"cannot be opened ({error.strerror})", expected, _LOST) from None
        try:
            self._read(key)
            self._same_home(key)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def _read(self, key):
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(self.path, "is in use by another signing", "", "wait until it has ended") from None
        data = self.file.read()
        self.whole_bytes = data.rfind(b"\n") + 1
        self.torn = self.whole_bytes != len(data)
        first, *lines = data[: self.whole_bytes].decode("ascii", "replace").split("\n")[:-1] or [""]
        if first != f"{_FIRST} {key.name}":
            raise InputError(self.path, "does not belong to this key", f"the first line `{_FIRST} {key.name}`", _LOST)
        self.home, self.used = None, 0
        for number, line in enumerate(lines, 2):
            words = line.split(" ")
            if words[0] == "home" and len(words) == 3 and self.home is None:
                self.home = line
            elif words[0] == "leaf" and len(words) == 4 and words[1] == str(self.used) and self.home:
                self.used += 1
            elif line == "skipped" and self.home:
                self.used += 1
            elif line == "released" and self.home:
                self.home = None
            else:
                raise InputError(f"{self.path}:{number}", "is no line of a leaf", "the file as it was written", _LOST)

    def _same_home(self, key):
        witness = _witness(key)
        if witness > self.used:
            text = f"knows of {self.used} leaves, and {witness} are used or given away on this computer"
            raise InputError(self.path, text, "the newest file, not an older copy", _LOST)
        if self.home is not None and self.home != _home(self.file, key):
            text = "is a copy: the key lives in another place, where it may be signing too"
            raise InputError(self.path, text, "a key carried here with `cellwarden keys release`", _LOST)

    def append(self, lines):
        """Add lines, over a torn one, and have them on the disk. Raises InputError where that cannot be."""
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            self.file.truncate(self.whole_bytes)
            self.file.seek(self.whole_bytes)
            if self.file.write(data) != len(data):
                raise OSError(28, "No space left on device")
            os.fsync(self.file.fileno())
        except OSError as error:
            text = f"cannot be written ({error.strerror}), so nothing is signed"
            raise InputError(self.path, text, "room on the disk and the right to write") from None


def _home(file, key):
    """The line that says where a key lives: which file, on which machine."""
    machine = ""
    with contextlib.suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
    machine = hashlib.sha256(f"{key.name} {machine or uuid.getnode()}".encode()).hexdigest()[:16]
    return f"home {os.fstat(file.fileno()).st_ino} {machine}"


def _witness_path(key):
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "cellwarden" / f"{key.name}.used"


def _witness(key):
    """Leaves used on this computer as far as it remembers."""
    try:
        return int(_witness_path(key).read_text())
    except (OSError, ValueError):
        return 0


def _write_witness(key, used):
    path = _witness_path(key)
    with contextlib.suppress(OSError, InputError):  # a second safety: the first is the file of leaves
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, "w") as file:
            file.write(f"{used}\n")


def _paths(path):
    """Where a key's files are: .key, .leaves, .pub. path: with .key behind it or not."""
    path = Path(path)
    base = path.with_suffix("") if path.suffix == ".key" else path
    return [base.with_name(base.name + suffix) for suffix in (".key", ".leaves", ".pub")]


@contextlib.contextmanager
def _new_file(path, mode=0o600):
    """A new file that is on the disk when the block ends. Raises InputError where there is one, or no room."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise InputError(path, f"cannot be made ({error.strerror})", "a new name in a folder to write in") from None

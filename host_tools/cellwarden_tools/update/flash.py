"""Puts a signed image on a box: on a board over its serial port, on a gateway in a folder here or by way of `ssh`.

All is verified on the box, and resumed where it was broken off. Nothing is half in use at any moment: files go into the
slot that does not run, and only when each of them has, on the box, the SHA-256 of the signed manifest does the boot
record name that slot (cellwarden.update.slots).
"""

import hashlib
import json
import sys
import tempfile
from binascii import a2b_base64, b2a_base64, crc32
from pathlib import Path

from cellwarden import operator_key
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import SLOT_NAMES
from cellwarden.update import boot, image, slots
from cellwarden.update.duty import VEHICLE_ID

from ..engines.device_files import device_text
from ..errors import InputError
from ..key_file import new_box
from ..ssh import gateway_at
from . import build
from .repl import Broken, Crashed, Pipe, Repl

GUEST = Path(__file__).with_name("flash_guest.py")
TOOLS = ("__init__.py", "update/__init__.py", "update/boot.py", "update/image.py", "update/lms.py", "update/slots.py")
WORKSHOP = "flash.tmp"  # folder on the box with the updater, while it is used
DATA = "data"  # where a box keeps what it remembers, and its operator's key
LOG = f"{DATA}/log"  # and its black box
FILE_SYSTEMS = ("VfsLfs2", "VfsPosix")
TRIES = 20  # of a piece, until the line is given up
STATUS_S = 60  # a board starts, and reports, in less

# /main.py: boot.py has left nothing to import but the slot that was chosen, and its main
BOARD_MAIN = b"""\
import gc
import sys
import time

gc.threshold(4096)  # while it starts, so that what stays in memory stands close together
try:
    import main
except KeyboardInterrupt:
    raise  # somebody at the console
except BaseException as error:
    sys.print_exception(error)
    time.sleep(2)
    import machine

    getattr(machine, "reset", sys.exit)()  # an update that does not work has two starts left
"""
GATEWAY_MAIN = b"""\
import sys

if hasattr(sys, "dont_write_bytecode"):
    sys.dont_write_bytecode = True  # a slot that has a file more than its image does not run

import boot

if boot.start(sys.path[0]) is None:
    sys.exit("cellwarden: no slot is whole; put an image on with `cellwarden flash`")
import main
"""
_OTHER = "is of another kind already, and that is not changed with an update"
_BARE = "a bare box, or one of the same key, board and vehicle"


def gateway(where, runs, python=None):
    """(Pipe, folder) of a gateway: `where` is a folder here, or ssh:USER@HOST:FOLDER; None for what is neither.

    runs: what the image is built for; python: the program that will run the box there, if not the usual one
    """
    words = [python or "python3", "-u", "-B"] if runs == slots.SOURCE else [python or "micropython"]
    if where.startswith("ssh:"):
        host, folder = gateway_at(where)
        return Pipe(where, words, host), folder
    if Path(where).is_dir():
        if words[0] == "python3":
            words[0] = sys.executable
        return Pipe(where, words), str(Path(where).resolve())
    return None


def boot_text():
    return Path(boot.__file__).read_bytes()


def _guarded(text):
    """Source text that does what `text` does where every byte of it arrives, and raises where not."""
    data = text.encode()
    return f"""
from binascii import a2b_base64, crc32
t = a2b_base64({b2a_base64(data, newline=False).decode()!r})
if crc32(t) != {crc32(data)}:
    raise ValueError("noise")
exec(t.decode())
"""


class Flash:
    """One box on one port, or behind a Pipe.

    root: folder of the slots on the box, "" for where a board has its files; say: called with (text, bytes done, bytes
    in all). Raises InputError where there is no board that answers.
    """

    def __init__(self, port, root="", baud=115200, say=lambda *_: None, seconds=5):
        self.root, self._say, self._ready = root, say, False
        self._repl = Repl(port, baud, seconds) if isinstance(port, str) else port
        self.facts = self._call("facts()")
        if not root:
            self.root, self._ready = self.facts["folder"], False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._repl.__exit__()

    @property
    def runs(self):
        """What the box's MicroPython takes, as slots.what_runs() says it."""
        return slots.what_runs(self.facts["mpy"])

    def check(self, path, key, board):
        """The Manifest of an image that could be put on this box. key: the root's public key; board: the box's name.

        Raises InputError where the box is not of its kind, and image.Refused where the image is not sound.
        """
        manifest = build.check(path, key)
        if manifest.board != board:
            raise InputError(path, f"is for the board {manifest.board}", f"an image for {board}", "see --board")
        if manifest.runs not in (slots.SOURCE, self.runs):
            mend = "another --board, or MicroPython for this one"
            raise InputError(path, f"is built for {manifest.runs}", f"what this box runs, {self.runs}", mend)
        if self.facts["files"] not in FILE_SYSTEMS:
            text = f"the board keeps its files on {self.facts['files'] or 'what it does not tell'}"
            mend = "say --format, and all that is on it goes; or put a newer MicroPython on"
            raise InputError(self._repl.name, text, "littlefs, which survives power cuts", mend)
        return manifest

    def format(self):
        """Give the board's flash littlefs v2 where it has FAT, in which all that is on it goes."""
        if self.facts["files"] == "VfsFat":
            self._call(f"format({self.root or '/'!r})")
            self.facts = self._call("facts()")

    def put_on(self, path, key, board):
        """Put the image at `path` on the box, so that its next start runs it; returns its Manifest.

        Raises InputError and image.Refused as check() does, and Refused as the box does.
        """
        manifest = self.check(path, key, board)
        data = Path(path).read_bytes()
        self._workshop(data[: manifest.files_at])
        identity = slots.identity(slots.Box(manifest.board, manifest.vehicle, "", key))
        main = BOARD_MAIN if isinstance(self._repl, Repl) else GATEWAY_MAIN
        for name, own in (("boot.py", boot_text()), ("main.py", main), (slots.IDENTITY, identity)):
            self._own(name, own)
        at, whole = manifest.files_at, len(data) - manifest.files_at
        slot = self._updater("", "-1 if s.will_run(m) else s.idle")
        if slot >= 0:
            self._updater("s.accept(m)", "True")
            folder = f"{self.root}/{boot.SLOTS[slot]}"
            for name, size, _ in manifest.files:
                self._put(f"{folder}/{name}", data[at : at + size], at - manifest.files_at, whole)
                at += size
            self._updater("s.will_run(m) or s.switch(m)", "True")  # a reply that was lost has it called twice
        self._call(f"clear({self.root + '/' + WORKSHOP!r})\nprint('true')")
        return manifest

    def read(self, name):
        """The bytes of a small file in the folder of the slots; none where there is no such file."""
        while True:
            text, checksum = self._call(f"get({self.root + '/' + name!r})")
            data = a2b_base64(text)
            if crc32(data) == checksum:
                return data

    def has(self, name, size, digest):
        """Whether a file in the folder of the slots has this size and SHA-256, as the box finds."""
        return self._call(f"have({self.root + '/' + name!r})") == [size, digest.hex()]

    def count(self, folder):
        """How many files a folder in the folder of the slots has, with those below it."""
        return self._call(f"count({self.root + '/' + folder!r})")

    def give(self, vehicle=None, key=None, master=None):
        """Make a bare box a vehicle's own, before its first start: a box that has an id or a key keeps it.

        vehicle: its unique id, up to 17 ASCII bytes; key: first key of its black box, 32 bytes; master: the operators',
        from which the key of this id is made. Raises InputError.
        """
        if vehicle:
            self._own(VEHICLE_ID[1:], vehicle)
        if key and not any(self.read(f"{LOG}/{name}") for name in SLOT_NAMES):
            with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
                new_box(folder).provision(key)
                for path in sorted(Path(folder).iterdir()):
                    self._own(f"{LOG}/{path.name}", path.read_bytes())
        if master and not any(self.read(f"{DATA}/{name}") for name in operator_key.NAMES):
            with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
                name = vehicle.decode()
                operator_key.OperatorKey(Folder(folder)).provision(name, operator_key.box_key(master, name, 1))
                for path in sorted(Path(folder).iterdir()):
                    self._own(f"{DATA}/{path.name}", path.read_bytes())

    def start(self, seconds=STATUS_S):
        """Let a board start anew: (the first status that the box reports, or None, other lines that it said)."""
        self._repl.reset()
        return self._repl.listen(seconds)

    # --- files --------------------------------------------------------------------------------------------------------

    def _own(self, name, data):
        """A file beside the slots: written where there is none, and never changed where there is another."""
        path = f"{self.root}/{name}"
        right = [len(data), hashlib.sha256(data).hexdigest()]
        there = self._call(f"have({path!r})")
        if there[0] < 0:
            self._put(path + ".new", data)
            there = self._call(f"settle({path!r})")
        if there != right:
            raise InputError(f"{self._repl.name}: {path}", _OTHER, _BARE)

    def _put(self, path, data, done=0, whole=0):
        """Store a file piece by piece, from where it was broken off."""
        size, digest = self._call(f"have({path!r})")
        begun = size >= 0 and digest == hashlib.sha256(data[:size]).hexdigest()
        at = size if begun else 0
        if not data and not begun:
            self._call(f"open({path!r}, 'wb').close()\nprint('true')")
        while at < len(data):
            piece = data[at : at + self._repl.piece]
            text = b2a_base64(piece, newline=False).decode()
            if self._call(f"put({path!r}, {at}, {text!r}, {crc32(piece, crc32(f'{path} {at}'.encode()))})"):
                at += len(piece)
                self._say(path, done + at, whole)

    # --- what runs on the box -----------------------------------------------------------------------------------------

    def _workshop(self, head):
        """The updater, and the signed part of the image, on the box."""
        package = Path(boot.__file__).parents[1]
        folder = f"{self.root}/{WORKSHOP}"
        for name in TOOLS:
            text = (package / name).read_text(encoding="utf-8")
            if name.endswith("__init__.py"):
                text = "\n"
            self._put(f"{folder}/cellwarden/{name}", device_text(text, native=False).encode())
        self._put(f"{folder}/head", head)

    def _updater(self, text, answer):
        """Run text with `s`, the Slots of the box, and `m`, the Manifest that the box checked; the answer's value."""
        folder = f"{self.root}/{WORKSHOP}"
        return self._call(f"""
sys.path.insert(0, {folder!r})
try:
    from cellwarden.update import image, slots
    s = slots.Slots({self.root!r}, slots.read_box({self.root!r}))
    with open({folder + "/head"!r}, "rb") as file:
        m = image.read_signed(file, s.box.key)
    {text}
    print(json.dumps({answer}))
except Exception as error:
    reason, text = getattr(error, "reason", ""), getattr(error, "text", "")
    print(json.dumps({{"raised": repr(error), "reason": reason, "text": text}}))
finally:
    sys.path.pop(0)
""")

    def _call(self, text):
        """Run text on the box; returns what it printed as JSON. Tries anew where the line fails. Raises InputError."""
        failure = None
        for _ in range(TRIES):
            try:
                if not self._ready:
                    self._repl.enter()
                    self._repl.run(_guarded(f"ROOT = {self.root!r}\n" + GUEST.read_text(encoding="utf-8")))
                    self._ready = True
                own = text.startswith("put(")  # it has a checksum of its own
                told = json.loads(self._repl.run(text if own else _guarded(text)))
                break
            except (Broken, Crashed, ValueError) as error:
                failure, self._ready = error, False
                if isinstance(error, Crashed) and ("OSError: 28" in str(error) or "No space" in str(error)):
                    raise InputError(self._repl.name, "the board has no room for it", "a larger flash") from None
        else:
            expected = "a board with MicroPython that answers"
            raise InputError(self._repl.name, f"the conversation fails ({failure})", expected)
        if isinstance(told, dict) and "raised" in told:
            if told["reason"] in image.REASONS:
                raise image.Refused(told["reason"], told["text"])
            raise InputError(self._repl.name, f"the box cannot do it ({told['raised']})")
        return told

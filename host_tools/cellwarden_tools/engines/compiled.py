"""The very same core and generated decoder, compiled by Numba.

The source files are executed once more with another module under the name `micropython`, whose `viper` is Numba's
`njit`; not a line of them is rewritten. Numba keeps the machine code beside its source, so the sources are copied into
a folder of the cache that is named by their hash: another core, decoder or Numba is another folder.
"""

import builtins
import hashlib
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cellwarden.core

CORE = ("cells", "hazards", "judge", "measure", "pack", "probes", "scan")  # in the order of their imports
READY = "ready"  # a file that says the folder's code is compiled


def cache_folder():
    """Where compiled code is kept: $CELLWARDEN_CACHE, or `cellwarden` in the user's cache folder."""
    told = os.environ.get("CELLWARDEN_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cellwarden"


def _sources(image):
    core = Path(cellwarden.core.__file__).parent
    texts = {f"cellwarden.core.{name}": (core / f"{name}.py").read_bytes() for name in CORE}
    return texts | {"decoder": image.decoder(whole=False)}


def _folder(texts):
    key = hashlib.sha256()
    for part in (sys.version.encode(), version("numba").encode(), *texts.values()):
        key.update(hashlib.sha256(part).digest())
    return cache_folder() / key.hexdigest()[:32]


def is_compiled(image):
    """Whether this image's code is in the cache."""
    return (_folder(_sources(image)) / READY).exists()


def load_drain(image, arguments):
    """The image's `drain` as machine code for arguments of the types of `arguments`.

    From the cache, or compiled now, which takes some 20 ms a signal. Where the cache cannot be written it is compiled
    each time.
    """
    texts = _sources(image)
    folder = _folder(texts)
    try:
        _write(folder, texts)
        try:
            drain = _compile(folder, texts, arguments)
        except Exception:  # whatever a damaged cache makes Numba stumble over; if it is not the cache, it comes again
            shutil.rmtree(folder, ignore_errors=True)
            _write(folder, texts)
            drain = _compile(folder, texts, arguments)
        (folder / READY).touch()
        return drain
    except OSError:  # no cache can be written here
        with tempfile.TemporaryDirectory(prefix="cellwarden-") as beside:
            _write(Path(beside) / folder.name, texts)
            return _compile(Path(beside) / folder.name, texts, arguments)


def _compile(folder, texts, arguments):
    drain = _modules(folder, texts)["decoder"].drain
    drain(*arguments)  # on no frames: this is what makes Numba compile or load
    return drain


def _write(folder, texts):
    """Put the sources into `folder`, all of them or none."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        for name, text in texts.items():
            (beside / f"{name}.py").write_bytes(text)
        beside.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was quicker
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _modules(folder, texts):
    import numba

    itself = numba.njit(lambda array: array)

    def viper(function):
        # Only the outermost function is kept on disk: the machine code of what it calls is inside its own.
        outermost = function.__name__ == "drain"
        # No array is made or kept in there, so none needs to be counted: half the time to compile.
        return numba.njit(function, cache=outermost, nogil=True, _nrt=False)

    micropython = SimpleNamespace(const=lambda value: value, viper=viper)
    made = {}
    own = {**vars(builtins), "__import__": lambda name, *_: made.get(name, micropython)}
    for name, text in texts.items():
        # What Numba reads back from its cache belongs to a module that must be found by its name.
        module = ModuleType(f"{folder.name}.{name}")
        module.__file__ = str(folder / f"{name}.py")
        vars(module).update(__builtins__=own, ptr8=itself, ptr32=itself)
        made[name] = sys.modules[module.__name__] = module
        exec(compile(text, module.__file__, "exec"), vars(module))
    return made

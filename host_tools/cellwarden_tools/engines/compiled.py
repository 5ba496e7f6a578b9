"""The very same core and generated decoder, compiled by Numba.

The source files are executed once more with another module under the name `micropython`, whose `viper` is Numba's
`njit`; not a line of them is rewritten. Numba keeps the machine code beside its source, so the sources are copied into
folders of the cache that are named by their hash: another core, decoder or Numba is another folder. The core has one
of its own: it is compiled once for all vehicles.
"""

import builtins
import hashlib
import inspect
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cellwarden.core

CORE = ("cells", "hazards", "judge", "measure", "pack", "probes", "scan")  # in the order of their imports
SCAN = "cellwarden.core.scan"
ENTRIES = ("advance", "notice")  # of it: what a decoder calls
READY = "ready"  # a file that says the folder's code is compiled


def cache_folder():
    """Where compiled code is kept: $CELLWARDEN_CACHE, or `cellwarden` in the user's cache folder."""
    told = os.environ.get("CELLWARDEN_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cellwarden"


def _parts(image):
    """[(folder, {module: its source})] of the core, and of the image's decoder, which leans on it."""
    at = Path(cellwarden.core.__file__).parent
    core = {f"cellwarden.core.{name}": (at / f"{name}.py").read_bytes() for name in CORE}
    decoder = {"decoder": image.decoder(whole=False)}
    return (_folder(core), core), (_folder(core | decoder), decoder)


def _folder(texts):
    key = hashlib.sha256()
    for part in (sys.version.encode(), version("numba").encode(), *texts.values()):
        key.update(hashlib.sha256(part).digest())
    return cache_folder() / key.hexdigest()[:32]


def is_compiled(image):
    """Whether this image's code is in the cache."""
    return all((folder / READY).exists() for folder, _ in _parts(image))


def load_drain(image, arguments):
    """The image's `drain` as machine code for arguments of the types of `arguments`.

    From the cache, or compiled now, which takes some 50 ms a signal, and 15 s for the core once. Where the cache
    cannot be written it is compiled each time.
    """
    parts = _parts(image)
    try:
        return _compile(parts, arguments)
    except OSError:  # no cache can be written here
        with tempfile.TemporaryDirectory(prefix="cellwarden-") as beside:
            return _compile([(Path(beside) / folder.name, texts) for folder, texts in parts], arguments)


def _compile(parts, arguments):
    (core, texts), (folder, decoder) = parts
    box = arguments[4]  # of drain(b, s, views, ring32, box, count)

    def make_core():
        scan = _modules(core, texts)[SCAN]
        return SimpleNamespace(**{name: _linked(core.name, getattr(scan, name), box) for name in ENTRIES})

    def make_drain():
        drain = _modules(folder, decoder, {SCAN: linked})["decoder"].drain
        drain(*arguments)  # on no frames: this is what makes Numba compile or load
        return drain

    linked = _made(core, texts, make_core)
    return _made(folder, decoder, make_drain)


def _made(folder, texts, make):
    """What `make` makes of the sources in a folder of the cache."""
    _write(folder, texts)
    try:
        made = make()
    except Exception:  # whatever a damaged cache makes Numba stumble over; if it is not the cache, it comes again
        shutil.rmtree(folder, ignore_errors=True)
        _write(folder, texts)
        made = make()
    (folder / READY).touch()
    return made


def _linked(core, function, box):
    """A function of the core, compiled, as the decoder calls it: by a symbol, so that its code is not made again there.

    box: its first argument; the others are integers.
    """
    from llvmlite.binding import add_symbol
    from numba import typeof, types
    from numba.core.cgutils import get_or_insert_function, if_unlikely
    from numba.extending import intrinsic

    parameters = inspect.signature(function.py_func).parameters
    taken = typeof(box), *[types.int64] * (len(parameters) - 1)
    function.compile(taken)
    made = function.overloads[taken]
    symbol = f"{core}.{function.__name__}{taken}"  # the same in every process
    add_symbol(symbol, made.library.get_pointer_to_function(made.fndesc.llvm_func_name))

    def call(context, builder, signature, values):
        convention = context.call_conv
        there = convention.get_function_type(signature.return_type, signature.args)
        there = get_or_insert_function(builder.module, there, symbol)
        status, value = convention.call_function(builder, there, signature.return_type, signature.args, values)
        with if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return value

    def typed(typing, *given):
        return made.signature, call

    typing = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    typed.__signature__ = inspect.Signature([typing, *parameters.values()])
    return intrinsic(typed)


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


def _modules(folder, texts, beneath=()):
    """{name: module} of sources; beneath: what they may import besides one another."""
    import numba

    itself = numba.njit(lambda array: array)

    def viper(function):
        # Only the outermost functions are kept on disk: the machine code of what they call is inside their own.
        outermost = function.__name__ in (*ENTRIES, "drain")
        # No array is made or kept in there, so none needs to be counted: half the time to compile.
        return numba.njit(function, cache=outermost, nogil=True, _nrt=False)

    micropython = SimpleNamespace(const=lambda value: value, viper=viper)
    made = dict(beneath)
    own = {**vars(builtins), "__import__": lambda name, *_: made.get(name, micropython)}
    for name, text in texts.items():
        # What Numba reads back from its cache belongs to a module that must be found by its name.
        module = ModuleType(f"{folder.name}.{name}")
        module.__file__ = str(folder / f"{name}.py")
        vars(module).update(__builtins__=own, ptr8=itself, ptr32=itself)
        made[name] = sys.modules[module.__name__] = module
        exec(compile(text, module.__file__, "exec"), vars(module))
    return made

"""Shows the machine code that MicroPython's viper emitter makes of a function, for armv7m.

    python tests/bench/disassemble.py judge              a function of the core, in whichever file it is
    python tests/bench/disassemble.py --decoder [drain]  a function of the demonstration vehicle's decoder
    python tests/bench/disassemble.py --sizes            every native function: instructions, bytes, runtime calls
    python tests/bench/disassemble.py --story NAME judge how often each instruction runs in a story's last scan
    python tests/bench/disassemble.py --story NAME --sizes    how many instructions run in each function there

The stories are those of cortex_m3.py. Needs mpy-cross and arm-none-eabi-objdump.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cellwarden
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.errors import InputError

CHECKOUT = Path(__file__).parents[2]
OBJDUMP, NM = "arm-none-eabi-objdump", "arm-none-eabi-nm"
BYTECODE, NATIVE, VIPER, ASSEMBLER = range(4)
TUPLE = 10

# The runtime's table of functions, which native code reaches through r7 (MicroPython, py/nativeglue.h).
RUNTIME = (
    "None", "False", "True", "native_from_obj", "native_to_obj", "swap_globals", "load_name", "load_global",
    "load_build_class", "load_attr", "load_method", "load_super_method", "store_name", "store_global", "store_attr",
    "obj_subscr", "obj_is_true", "unary_op", "binary_op", "new_tuple", "new_list", "new_dict", "new_set", "set_store",
    "list_append", "dict_store", "make_function", "call_function", "call_method", "call_method_var", "getiter",
    "iternext", "nlr_push", "nlr_pop", "raise", "import_name", "import_from", "import_all", "new_slice",
    "unpack_sequence", "unpack_ex", "delete_name", "delete_global", "new_closure", "arg_check_num_sig",
    "setup_code_state_native", "floor_divide", "modulo", "yield_from", "setjmp",
)  # fmt: skip


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self):
        n = 0
        while True:
            byte = self.bytes(1)[0]
            n = n << 7 | byte & 127
            if byte < 128:
                return n

    def object(self):
        kind = self.bytes(1)[0]
        if kind > 4:
            n = self.number()
            if kind == TUPLE:
                for _ in range(n):
                    self.object()
            else:
                self.bytes(n + (kind in (5, 6)))

    def code(self):
        """(kind, bytes, children) of a function and those in it (MicroPython, py/persistentcode.c)."""
        head = self.number()
        kind, has_children, data = head & 3, head & 4, self.bytes(head >> 3)
        if kind != BYTECODE:
            self.number()  # prelude's offset, or flags
            if kind == ASSEMBLER:
                self.number()
                self.number()
        return kind, data, [self.code() for _ in range(self.number())] if has_children else []


def functions(name, text):
    """{function: machine code} of the viper functions of a module's text."""
    reader = _Reader(board.compile_mpy(name, text))
    assert reader.bytes(2) == b"M\x06", "this reader knows version 6 of .mpy"
    reader.bytes(2)
    names, objects = reader.number(), reader.number()
    for _ in range(names):
        n = reader.number()
        if not n & 1:
            reader.bytes((n >> 1) + 1)
    for _ in range(objects):
        reader.object()
    _, _, children = reader.code()
    vipers = [code for kind, code, _ in children if kind == VIPER]
    defined = [n.name for n in ast.parse(text).body if "micropython.viper" in map(ast.unparse, _decorators(n))]
    return dict(zip(defined, vipers, strict=True))


def _decorators(node):
    return getattr(node, "decorator_list", ())


def lines_of(code):
    """What objdump says, a line an instruction, with the runtime's functions named."""
    if not shutil.which(OBJDUMP):
        raise InputError("disassemble", f"no {OBJDUMP} on this machine", "", "apt-get install binutils-arm-none-eabi")
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(code)
        file.flush()
        command = [OBJDUMP, "-D", "-b", "binary", "-m", "arm", "-M", "force-thumb", "--no-show-raw-insn", file.name]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def named(found):
        entry = int(found[1] or 0) // 4
        return f"{found[0]}  ; {RUNTIME[entry]}" if entry < len(RUNTIME) else found[0]

    lines = [line for line in out.splitlines() if re.match(r" +[0-9a-f]+:\t", line)]
    return [re.sub(r"\[r7(?:, #(\d+))?\].*", named, re.sub(r"\s+@.*", "", line)) for line in lines]


def sources(decoder):
    """[(file, text)] of the core, or of the demonstration vehicle's decoder."""
    if decoder:
        image = compile_profile(CHECKOUT / "dbc" / "demo_pack.toml").image
        return [("decoder.py", image.parts["decoder.py"].decode())]
    core = Path(cellwarden.__file__).parent / "core"
    return [(path.name, path.read_text()) for path in sorted(core.glob("*.py"))]


# --- how often --------------------------------------------------------------------------------------------------------


def executed(story):
    """({address: times run}, {address: its bytes}, instructions of the step) of native code in a story's last scan."""
    import cortex_m3 as bench

    compiled = compile_profile(CHECKOUT / "dbc" / "demo_pack.toml")
    drive = bench.Drive(compiled)
    stories = {s.__name__: s for s in bench.SCANS}
    if story not in stories:
        raise InputError("disassemble", f"no story `{story}`", ", ".join(stories))
    stories[story](drive)
    guest = bench.Guest(compiled.image)
    guest.job(f"steps('step', {guest.place(drive.before[-1])}, 1)")
    names = subprocess.run([NM, board.find_firmware()], capture_output=True, text=True, check=True).stdout
    heap, end = (int(re.search(rf"(\w+) . {name}$", names, re.M)[1], 16) for name in ("gc_heap", "_ebss"))
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        words = ["-singlestep", "-d", "in_asm,exec,nochain", "-dfilter", f"{heap:#x}..{end:#x}", "-D", log.name]
        total = guest.run(words).counts["step"][0][0]
        times, memory = Counter(), {}
        for line in log.read().decode().splitlines():
            if line.startswith("Trace"):
                times[int(line.split("/")[1], 16)] += 1
            elif found := re.match(r"0x(\w+):  (\w{4})(?: (\w{4}))? ", line):
                memory[int(found[1], 16)] = b"".join(int(h, 16).to_bytes(2, "little") for h in found.groups()[1:] if h)
    return times, memory, total


def times_of(code, times, memory):
    """{offset: times run} of a function's code, wherever in the memory it lies."""
    for base, start in memory.items():
        if not code.startswith(start):
            continue
        inside = {at - base: data for at, data in memory.items() if base <= at < base + len(code)}
        if all(code[at : at + len(data)] == data for at, data in inside.items()):
            return {at: times[base + at] // 2 for at in inside}  # the step runs twice, once to look up names
    return {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("function", nargs="?", default="drain")
    parser.add_argument("--decoder", action="store_true", help="of the demonstration vehicle's decoder")
    parser.add_argument("--sizes", action="store_true", help="only the counts, of every function")
    parser.add_argument("--story", metavar="NAME", help="how often each instruction runs in the story's last scan")
    words = parser.parse_args()
    try:
        found = False
        times, memory, total = executed(words.story) if words.story else ({}, {}, 0)
        seen = 0
        for file, text in sources(words.decoder):
            for name, code in functions(file, text).items():
                if not words.sizes and name != words.function:
                    continue
                found = True
                lines = lines_of(code)
                runs = times_of(code, times, memory)
                seen += sum(runs.values())
                if words.story:
                    lines = [f"{runs.get(int(line.split(':')[0], 16), 0):>6} {line}" for line in lines]
                if not words.sizes:
                    print("\n".join(lines))
                calls = sum("\tblx\t" in line for line in lines)
                print(
                    f"{file}: {name}: {len(lines)} instructions, {len(code)} bytes, {calls} calls of the runtime",
                    end="",
                )
                print(f"; {sum(runs.values()):,} run" if words.story else "")
        if words.story:
            print(f"{total:,} instructions in this step, {total - seen:,} of them in the runtime or elsewhere")
        if not found:
            raise InputError("disassemble", f"no viper function `{words.function}`", "a name that --sizes prints")
    except InputError as error:
        sys.exit(str(error))
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()

"""Shows the machine code that MicroPython's viper emitter makes of a function, for armv7m.

    python tests/bench/disassemble.py judge              a function of the core, in whichever file it is
    python tests/bench/disassemble.py --decoder [drain]  a function of the demonstration vehicle's decoder
    python tests/bench/disassemble.py --sizes            every native function: instructions, bytes, runtime calls

Needs mpy-cross and arm-none-eabi-objdump.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cellwarden
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.errors import InputError

CHECKOUT = Path(__file__).parents[2]
OBJDUMP = "arm-none-eabi-objdump"
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("function", nargs="?", default="drain")
    parser.add_argument("--decoder", action="store_true", help="of the demonstration vehicle's decoder")
    parser.add_argument("--sizes", action="store_true", help="only the counts, of every function")
    words = parser.parse_args()
    try:
        found = False
        for file, text in sources(words.decoder):
            for name, code in functions(file, text).items():
                if not words.sizes and name != words.function:
                    continue
                found = True
                lines = lines_of(code)
                if not words.sizes:
                    print("\n".join(lines))
                calls = sum("\tblx\t" in line for line in lines)
                print(f"{file}: {name}: {len(lines)} instructions, {len(code)} bytes, {calls} calls of the runtime")
        if not found:
            raise InputError("disassemble", f"no viper function `{words.function}`", "a name that --sizes prints")
    except InputError as error:
        sys.exit(str(error))
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()

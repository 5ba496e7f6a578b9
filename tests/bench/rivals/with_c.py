"""Build the C program of limit.c for the messages in use: cantools' generated source and a switch over them.

    python with_c.py FOLDER

FOLDER takes the source and the program `limit`. $CC, else gcc or clang, compiles with -O2.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cantools
from cantools.database.can.c_source import camel_to_snake_case, generate
from vehicle import used_dbc

FLAGS = ("-std=c11", "-O2", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra")


def compiler():
    """The compiler as a list of words. Raises OSError where there is none."""
    if told := os.environ.get("CC"):
        return shlex.split(told)
    for name in ("gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    raise OSError("no C compiler on this machine; $CC, gcc or clang was expected")


def write_source(folder):
    """vehicle.h, vehicle.c and decode.h for the messages in use."""
    database = cantools.database.load_string(used_dbc())
    header, source, _, _ = generate(database, "vehicle", "vehicle.h", "vehicle.c", "fuzzer.c")
    (folder / "vehicle.h").write_text(header)
    (folder / "vehicle.c").write_text(source)
    lines = [
        "static int decode(uint32_t id, int extended, const uint8_t *data, size_t length)",
        "{",
        "    switch (id | (uint32_t)extended << 31) {",
    ]
    for message in database.messages:
        name = f"vehicle_{camel_to_snake_case(message.name)}"
        number = message.frame_id | message.is_extended_frame << 31
        lines += [
            f"    case {number}u: {{",
            f"        struct {name}_t m;",
            f"        if ({name}_unpack(&m, data, length) < 0)",
            "            return 0;",
        ]
        for node in message.signal_tree:
            lines += take(name, node, "        ")
        lines += ["        return 1;", "    }"]
    lines += ["    }", "    return 0;", "}", ""]
    (folder / "decode.h").write_text("\n".join(lines))


def take(name, node, indent):
    """Lines that take one signal, and of a multiplexer those of the page that is there."""
    if isinstance(node, str):
        field = camel_to_snake_case(node)
        return [f"{indent}TAKE(m.{field}, {name}_{field}_decode(m.{field}));"]
    ((multiplexer, pages),) = node.items()
    lines = [*take(name, multiplexer, indent), f"{indent}switch (m.{camel_to_snake_case(multiplexer)}) {{"]
    for page, nodes in pages.items():
        lines.append(f"{indent}case {page}:")
        for inner in nodes:
            lines += take(name, inner, indent + "    ")
        lines.append(f"{indent}    break;")
    return [*lines, f"{indent}}}"]


def build(folder):
    """Path of the program. Raises OSError where it cannot be built."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_source(folder)
    program = folder / "limit"
    words = [
        *compiler(),
        *FLAGS,
        f"-I{folder}",
        Path(__file__).with_name("limit.c"),
        folder / "vehicle.c",
        "-o",
        program,
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{words[0]} refused it: {(done.stderr.strip().splitlines() or ['no reason given'])[0]}")
    return program


if __name__ == "__main__":
    try:
        print(build(sys.argv[1]))
    except OSError as error:
        sys.exit(f"with_c: {error}")

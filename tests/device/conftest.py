"""What the device tests share: the ports of MicroPython and the vehicles. A frame is (t_us, bus, can_id, data)."""

import re
from pathlib import Path

import numpy
import pytest
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines.cortex_m3 import CortexM3Engine, find_firmware, find_mpy_cross, find_qemu
from cellwarden_tools.engines.micropython import MicroPythonEngine, find_micropython
from cellwarden_tools.engines.python import PythonEngine
from cellwarden_tools.engines.wasm import Wasm32Engine, find_node, find_wasm
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers.blocks import from_frames
from cellwarden_tools.simulator import DEMO_PROFILE


class Port:
    """One way to run the core. options: of its engine; finders: of the programs it needs."""

    def __init__(self, engine, finders=(), **options):
        self.engine, self.finders, self.options = engine, finders, options

    def open(self, image, **options):
        return self.engine(image, **self.options, **options)

    def judge(self, image, frames, **options):
        """(events, state) of a stream."""
        with self.open(image, **options) as engine:
            for frame in frames:
                engine.feed(*frame)
            state = engine.finish()
            return list(engine.events), state


class Compiled(Port):
    """The core as machine code, fed by blocks of all sizes."""

    def open(self, image, locked=False, heap=None):  # nothing of it is on a heap that could be locked
        return self.engine(image)

    def judge(self, image, frames, **options):
        with self.open(image, **options) as engine:
            rest, size = list(frames), 1
            while rest:
                some, rest, size = rest[:size], rest[size:], size * 3 % 5000 + 1
                for block in from_frames((t_us, bus, can_id, data[:64]) for t_us, bus, can_id, data in some):
                    bus = numpy.array(block.channels, "i2")[block.channel]
                    engine.feed_block(block.t_us, bus, block.can_id, block.length, block.data)
            state = engine.finish()
            return list(engine.events), state


PORTS = {
    "unix-bytecode": Port(MicroPythonEngine, (find_micropython,), native=False),
    "unix-viper": Port(MicroPythonEngine, (find_micropython,), native=True),
    "wasm32": Port(Wasm32Engine, (find_node, find_wasm)),
    "cortex-m3": Port(CortexM3Engine, (find_qemu, find_firmware, find_mpy_cross)),
}
PIPED = [name for name in PORTS if name != "cortex-m3"]  # their MicroPython runs from the start


def _needs(finders):
    try:
        return [find() for find in finders]
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(params=PORTS)
def port(request):
    """Each MicroPython in turn."""
    _needs(PORTS[request.param].finders)
    return PORTS[request.param]


@pytest.fixture(params=[*PORTS, pytest.param("numba", marks=pytest.mark.numba)])
def every_port(request):
    """Each MicroPython in turn, and the compiled core."""
    if request.param == "numba":
        return Compiled(pytest.importorskip("cellwarden_tools.engines.fast").FastEngine)
    _needs(PORTS[request.param].finders)
    return PORTS[request.param]


@pytest.fixture(params=PIPED)
def piped(request):
    """Each MicroPython in turn that is fed while it runs."""
    _needs(PORTS[request.param].finders)
    return PORTS[request.param]


@pytest.fixture
def cortex_m3():
    _needs(PORTS["cortex-m3"].finders)
    return PORTS["cortex-m3"]


@pytest.fixture
def wasm32():
    _needs(PORTS["wasm32"].finders)
    return PORTS["wasm32"]


@pytest.fixture
def unix():
    _needs(PORTS["unix-viper"].finders)
    return PORTS["unix-viper"]


@pytest.fixture(scope="session")
def micropython():
    """Path of the unix port."""
    return _needs([find_micropython])[0]


@pytest.fixture(scope="session")
def cpython():
    return Port(PythonEngine)


@pytest.fixture(scope="session")
def demo():
    """The demonstration pack."""
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture(scope="session")
def trusting(tmp_path_factory):
    """The demonstration pack without counters and checksums: a frame of random bytes is believed there."""
    folder = tmp_path_factory.mktemp("trusting")
    text = re.sub(r"^(counter|checksum) .*\n", "", Path(DEMO_PROFILE).read_text(), flags=re.MULTILINE)
    (folder / "demo_pack.toml").write_text(text)
    (folder / "demo_pack.dbc").write_bytes(Path(DEMO_PROFILE).with_name("demo_pack.dbc").read_bytes())
    return compile_profile(folder / "demo_pack.toml").image


@pytest.fixture(scope="session")
def awkward():
    """What the demonstration pack lacks: two channels, CAN FD, wide and signed signals, nested multiplexers."""
    return compile_profile(Path(__file__).with_name("awkward.toml")).image

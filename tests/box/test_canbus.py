"""Each way of reading frames gives the same records of the same frames, loses none in silence, and only listens."""

import importlib
import os
import pty
import socket
import struct
import sys
from pathlib import Path

import can_controller
import mcp2515_chip
import pytest
from cellwarden.canbus import ACTIVE, ALL, OFF, PASSIVE, WARNING
from cellwarden.canbus.frames import Frames
from cellwarden.canbus.mcp2515 import Mcp2515, bit_timing
from cellwarden.canbus.replay import ReplayBus
from cellwarden.canbus.slcan import Slcan
from cellwarden.canbus.socketcan import SocketCan
from cellwarden.canbus.tty import Tty
from cellwarden.engine import Engine
from cellwarden_tools.compiler.image import compile_profile
from hypothesis import given
from hypothesis import strategies as st

RECORD = struct.Struct("=iiBB2x8s")  # layout, RECORD_...
EXT = 1 << 29
DROPPED, OFF_NOTICE = -(1 << 30) | 1, -(1 << 30) | 2
FRAMES = [(0x123, bytes(range(1, n + 1))) for n in range(9)] + [
    (0x7FF, b"\xff" * 8), (0, b"\0"), (EXT | 0x1ABCDEF0, b"12345678"), (EXT | 0x123, b"x"), (EXT | 0x1FFFFFFF, b""),
]  # fmt: skip


class SocketCanRig:
    """The kernel's struct can_frame through a socket pair; tests/hil has the kernel itself."""

    def __init__(self, engine, filters=ALL, transmit=False, fd=False):
        self.far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        self.bus = SocketCan.__new__(SocketCan)
        opened = SocketCan._open
        SocketCan._open = lambda bus: bus._use(near)
        try:
            self.bus.__init__("can0", 0, filters, transmit, fd)
        finally:
            SocketCan._open = opened

    def arrive(self, can_id, data, remote=False):
        number = can_id & 0x1FFFFFFF | (0x80000000 if can_id & EXT else 0) | (0x40000000 if remote else 0)
        self.far.send(struct.pack("=IB3x8s", number, len(data), data))

    def error(self, kind, controller=0):
        self.far.send(struct.pack("=IB3xBB6x", 0x20000000 | kind, 8, 0, controller))

    def lose(self):
        self.error(0x004, 0x01)

    def go_off(self):
        self.error(0x040)

    def come_back(self):
        self.error(0x100)

    def sent(self):
        self.far.setblocking(False)
        try:
            number, length, data = struct.unpack("=IB3x8s", self.far.recv(64))
        except BlockingIOError:
            return []
        return [(number & 0x1FFFFFFF | (EXT if number & 0x80000000 else 0), data[:length])]


class SlcanRig:
    """An adapter at the other end of a pseudo terminal."""

    def __init__(self, engine, filters=ALL, transmit=False, **options):
        self.far, near = pty.openpty()
        self.bus = Slcan(Tty(os.ttyname(near)), 0, transmit=transmit, **options)
        os.close(near)
        self.said = b""
        while not self.said.endswith((b"L\r", b"O\r")):
            self.said += os.read(self.far, 100)
        os.write(self.far, b"half a line\r")

    def text(self, text):
        os.write(self.far, text)

    def arrive(self, can_id, data, remote=False):
        kind = "tTrR"[2 * remote + bool(can_id & EXT)]
        number = f"{can_id & 0x1FFFFFFF:08X}" if can_id & EXT else f"{can_id:03X}"
        self.text(f"{kind}{number}{len(data)}{'' if remote else data.hex().upper()}\r".encode())

    def lose(self):
        self.text(b"F08\r")

    def sent(self):
        os.set_blocking(self.far, False)
        try:
            words = os.read(self.far, 100).split(b"\r")
        except BlockingIOError:
            return []
        return [
            (int(w[1:4], 16), bytes.fromhex(w[5:].decode())) if w[:1] == b"t"
            else (EXT | int(w[1:9], 16), bytes.fromhex(w[10:].decode()))
            for w in words if w[:1] in (b"t", b"T")
        ]  # fmt: skip


class MachineCanRig:
    def __init__(self, engine, filters=ALL, transmit=False, **options):
        sys.modules["machine"] = type(sys)("machine")
        sys.modules["machine"].CAN = can_controller.CAN
        module = importlib.import_module("cellwarden.canbus.machine_can")
        self.bus = module.MachineCan(1, 500_000, engine.record_bytes, 0, filters, transmit, **options)
        self.controller = can_controller.CAN.made

    def arrive(self, can_id, data, remote=False):
        self.controller.arrive(can_id & ~EXT, data, (2 if can_id & EXT else 0) | remote)

    def lose(self):
        self.controller.masked = True
        for _ in range(4):
            self.controller.arrive(0x100, b"")
        self.controller.masked = False
        self.controller.fire()

    def go_off(self):
        self.controller.state_now = can_controller.CAN.STATE_BUS_OFF
        self.controller.restart = lambda: None

    def come_back(self):
        self.controller.state_now = can_controller.CAN.STATE_ACTIVE

    def sent(self):
        return [(i | (EXT if flags & 2 else 0), data) for i, data, flags in self.controller.sent]


class Mcp2515Rig:
    def __init__(self, engine, filters=ALL, transmit=False, interrupt=True, **options):
        self.chip = mcp2515_chip.Chip()
        pin = self.chip.interrupt if interrupt else None
        self.bus = Mcp2515(
            self.chip, self.chip.select, 500_000, engine.record_bytes, 0, filters, transmit, interrupt=pin, **options
        )

    def arrive(self, can_id, data, remote=False):
        self.chip.arrive(can_id & ~EXT, data, bool(can_id & EXT), remote)

    def lose(self):
        handler, self.chip.interrupt.handler = self.chip.interrupt.handler, None
        for _ in range(3):
            self.chip.arrive(0x100, b"")
        self.chip.interrupt.handler = handler

    def go_off(self):
        self.chip.registers[0x2D] |= 0x20

    def come_back(self):
        self.chip.registers[0x2D] &= ~0x20

    def sent(self):
        return [(i | (EXT if extended else 0), data) for i, extended, data in self.chip.on_wire]


LIVE = {"socketcan": SocketCanRig, "slcan": SlcanRig, "machine_can": MachineCanRig, "mcp2515": Mcp2515Rig}


@pytest.fixture(params=LIVE)
def make(request):
    return LIVE[request.param]


def read(bus, engine, t_ms=5000, records=64):
    """Records that one call gives: (t_ms, identifier, channel, data)."""
    batch = Frames(engine, records)
    bus.recv(batch, t_ms)
    found = []
    for n in range(batch.n):
        t, can_id, channel, length, data = RECORD.unpack_from(batch.bytes, n * RECORD.size)
        assert data[length:] == bytes(8 - length), "bytes behind a frame's data"
        found.append((t, can_id, channel, data[:length]))
    return found


def ids_and_data(records):
    return [(can_id, data) for _, can_id, _, data in records]


def test_frames_come_as_they_were_sent_and_in_order(make, engine):
    rig = make(engine)
    got = []
    for frame in FRAMES:
        rig.arrive(*frame)
        got += ids_and_data(read(rig.bus, engine))
    assert got == FRAMES
    assert (rig.bus.frames, rig.bus.dropped, rig.bus.state) == (len(FRAMES), 0, ACTIVE)


def test_remote_frames_carry_no_data_and_are_none(make, engine):
    rig = make(engine)
    rig.arrive(0x123, b"", remote=True)
    rig.arrive(EXT | 0x123, b"", remote=True)
    rig.arrive(0x124, b"a")
    assert ids_and_data(read(rig.bus, engine)) == [(0x124, b"a")]


def test_what_does_not_fit_in_one_round_comes_in_the_next(make, engine):
    rig = make(engine)
    sent = [(n % 0x800, struct.pack(">I", n)) for n in range(100)]
    for frame in sent:
        rig.arrive(*frame)
    got = []
    for _ in range(100):
        some = ids_and_data(read(rig.bus, engine, records=7))
        assert len(some) <= 7
        got += some
    assert got == sent


def test_it_sends_nothing_unless_it_was_told_to(make, engine):
    rig = make(engine)
    assert not rig.bus.send(0x6F0, b"12345678") and rig.sent() == []
    rig = make(engine, transmit=True)
    assert rig.bus.send(0x6F0, b"12345678") and rig.sent() == [(0x6F0, b"12345678")]
    rig = make(engine, transmit=True)
    assert rig.bus.send(EXT | 0x18FF0001, b"ab") and rig.sent() == [(EXT | 0x18FF0001, b"ab")]


def test_lost_frames_are_counted_and_told(make, engine):
    rig = make(engine)
    read(rig.bus, engine)
    rig.lose()
    told = [record for record in read(rig.bus, engine, 7000) if record[1] == DROPPED]
    assert len(told) == 1 and rig.bus.dropped >= 1
    assert not [record for record in read(rig.bus, engine, 9000) if record[1] < 0], "told twice"


def test_can_fd_frames_of_64_bytes_and_classic_ones_between_them():
    engine = Engine(compile_profile(Path(__file__).parents[1] / "device" / "awkward.toml").image)
    assert engine.data_bytes == 64
    rig = SocketCanRig(engine, fd=True)
    sent = [(0x123, bytes(range(64))), (EXT | 0x18FF0001, bytes(range(12))), (0x124, b"classic")]
    for can_id, data in sent[:2]:
        number = can_id & 0x1FFFFFFF | (0x80000000 if can_id & EXT else 0)
        rig.far.send(struct.pack("=IBBBx64s", number, len(data), 1, 0, data))
    rig.arrive(*sent[2])
    batch = Frames(engine, 8)
    rig.bus.recv(batch, 5000)
    got = [struct.unpack_from("=iiBB2x64s", batch.bytes, n * 76) for n in range(batch.n)]
    assert [(can_id, data[:length]) for _, can_id, _, length, data in got] == sent
    assert not any(data[length:].strip(b"\0") for _, _, _, length, data in got)


@pytest.mark.parametrize("name", ["socketcan", "machine_can", "mcp2515"])
def test_a_bus_that_goes_off_and_comes_back_is_told_once_each(name, engine):
    rig = LIVE[name](engine)
    read(rig.bus, engine)
    rig.go_off()
    assert read(rig.bus, engine, 6000) == [(6000, OFF_NOTICE, 0, b"\1")] and rig.bus.state == OFF
    assert read(rig.bus, engine, 7000) == []
    rig.come_back()
    assert read(rig.bus, engine, 8000) == [(8000, OFF_NOTICE, 0, b"\0")] and rig.bus.state == ACTIVE


def test_a_controller_that_is_off_is_restarted_each_second_and_not_more_often(engine):
    rig = MachineCanRig(engine)
    rig.controller.state_now = can_controller.CAN.STATE_BUS_OFF
    restart, tries = rig.controller.restart, []
    rig.controller.restart = lambda: tries.append(1)
    for t_ms in range(10_000, 12_500, 10):
        read(rig.bus, engine, t_ms)
    assert len(tries) == 3
    rig.controller.restart = restart
    read(rig.bus, engine, 13_500)
    assert [r[1] for r in read(rig.bus, engine, 13_510)] == [OFF_NOTICE] and rig.bus.state == ACTIVE


@pytest.mark.parametrize("name", ["machine_can", "mcp2515"])
def test_a_queue_that_overflows_is_counted_frame_by_frame(name, engine):
    rig = LIVE[name](engine, queue=16)
    for n in range(20):
        rig.arrive(0x100, bytes([n]))
    got = read(rig.bus, engine)
    assert [r[3][0] for r in got if r[1] > 0] == list(range(15)), "the oldest are kept"
    assert rig.bus.dropped == 5 and sum(r[1] == DROPPED for r in got) == 1


def test_a_controller_that_does_not_count_overruns_tells_them_by_its_messages(engine, monkeypatch):
    monkeypatch.setattr(can_controller.CAN, "counts_overruns", False)
    rig = MachineCanRig(engine)
    rig.lose()
    assert DROPPED in [r[1] for r in read(rig.bus, engine)] and rig.bus.dropped == 1


def test_filters_let_all_of_the_vehicle_through_and_hold_a_flood(demo, engine):
    import json

    wanted = json.loads(demo.parts["filters.json"])[0]
    rig = MachineCanRig(engine, wanted)
    flood = [i for i in range(0x800) if [i, 0x7FF, False] not in wanted]
    for can_id in flood:
        rig.arrive(can_id, b"")
    assert read(rig.bus, engine) == []
    ids = [can_id | (EXT if extended else 0) for can_id, _, extended in wanted]
    for can_id in ids:
        rig.arrive(can_id, b"")
    assert [r[1] for r in read(rig.bus, engine)] == ids


@pytest.mark.parametrize("name", ["machine_can", "mcp2515"])
def test_what_came_before_the_box_was_ready_is_no_loss(name, engine):
    rig = LIVE[name](engine, queue=16)
    rig.lose()
    for n in range(30):
        rig.arrive(0x100, bytes([n]))
    rig.bus.begin()
    rig.arrive(0x101, b"")
    assert [r[1] for r in read(rig.bus, engine)] == [0x101] and rig.bus.dropped == 0


@pytest.mark.parametrize("name", ["machine_can", "mcp2515", "slcan"])
def test_what_came_while_the_box_slept_is_neither_read_nor_a_loss(name, engine):
    rig = LIVE[name](engine)
    rig.arrive(0x0FF, b"before")
    read(rig.bus, engine)
    for n in range(300):
        rig.arrive(0x100, bytes([n & 255]))
    rig.bus.wake()
    rig.arrive(0x101, b"after")
    assert [r[1] for r in read(rig.bus, engine)] == [0x101] and rig.bus.dropped == 0


def test_an_interface_that_is_gone_after_a_sleep_is_looked_for_until_it_is_back(engine, monkeypatch):
    """An adapter on USB comes back seconds after the gateway."""
    rig = SocketCanRig(engine)
    far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    there = []

    def opened(bus):
        if not there:
            raise OSError(19, "no such device")
        bus._use(near)

    monkeypatch.setattr(SocketCan, "_open", opened)
    with pytest.raises(OSError):
        rig.bus.wake()
    assert [r[1] for t_ms in (5000, 5010, 6000, 7000) for r in read(rig.bus, engine, t_ms)] == [OFF_NOTICE]
    there.append(True)
    rig.far = far
    rig.arrive(0x123, b"back")
    assert read(rig.bus, engine, 7500) == [], "once a second"
    assert [(r[1], r[-1][0]) for r in read(rig.bus, engine, 8000)] == [(0x123, ord("b")), (OFF_NOTICE, 0)]


def test_the_rest_of_a_line_that_was_cut_by_the_end_of_a_sleep_is_no_frame(engine):
    rig = SlcanRig(engine)
    rig.text(b"\rt1232AA")
    rig.bus.wake()
    rig.text(b"BB\rt1001CC\r")
    assert [r[1] for r in read(rig.bus, engine)] == [0x100] and rig.bus.dropped == 0


# --- MCP2515 ----------------------------------------------------------------------------------------------------------

IDENTIFIERS = st.one_of(
    st.tuples(st.integers(0, 0x7FF), st.just(0x7FF), st.just(False)),
    st.tuples(st.integers(0, 0x1FFFFFFF), st.just(0x1FFFFFFF), st.just(True)),
)


@given(st.lists(IDENTIFIERS, min_size=1, max_size=12), st.binary(max_size=8))
def test_two_filters_let_every_wanted_identifier_through_whatever_its_data(filters, data):
    engine = type("Engine", (), {"record_bytes": 20})
    rig = Mcp2515Rig(engine, filters, interrupt=False)
    for can_id, _, extended in filters:
        rig.arrive(can_id | (EXT if extended else 0), data)
        rig.chip.registers[0x2C] = 0 if rig.chip.registers[0x2C] & 3 else 0x80
        assert rig.chip.registers[0x2C] == 0, "a frame of the vehicle was held back"


def test_few_identifiers_pass_alone(engine):
    rig = Mcp2515Rig(engine, [(0x186, 0x7FF, False), (0x1A6, 0x7FF, False)])
    for can_id in range(0x800):
        rig.arrive(can_id, b"\xff\xff")
        rig.arrive(EXT | can_id << 18, b"")
    assert [r[1] for r in read(rig.bus, engine)] == [0x186, 0x1A6]


@pytest.mark.parametrize("interrupt", [True, False])
def test_frames_that_come_between_any_two_bytes_on_the_wire_keep_their_order(engine, interrupt):
    """A new frame each time so many bytes have gone over the wire, slow enough for the chip to hold them all."""
    for spacing in range(34, 90):
        rig = Mcp2515Rig(engine, interrupt=interrupt)
        chip, sent, wire = rig.chip, [], [0]

        def on_byte(chip=chip, sent=sent, wire=wire, spacing=spacing):
            wire[0] += 1
            if wire[0] % spacing == 0 and len(sent) < 60:
                sent.append(len(sent))
                chip.arrive(0x100, bytes([sent[-1]]))

        chip.before_byte = on_byte
        got = []
        for t_ms in range(0, 200_000, 100):
            got += read(rig.bus, engine, t_ms)
        assert rig.bus.dropped == 0 and [r[3][0] for r in got] == list(range(60)), spacing


def test_a_board_without_the_chip_is_told(engine):
    class Nothing(mcp2515_chip.Chip):
        def _exchange(self, byte):
            return 0xFF

    chip = Nothing()
    with pytest.raises(OSError, match="no MCP2515"):
        Mcp2515(chip, chip.select, 500_000, 20)


def test_it_is_listen_only_in_the_chip_itself(engine):
    assert Mcp2515Rig(engine).chip.mode == 3  # REQOP 011
    assert Mcp2515Rig(engine, transmit=True).chip.mode == 0


def test_bit_timings_give_the_rate_and_sample_between_70_and_85_percent():
    for oscillator_hz in (8_000_000, 16_000_000, 20_000_000):
        for bitrate in (125_000, 250_000, 500_000):
            cnf3, cnf2, cnf1 = bit_timing(oscillator_hz, bitrate)
            propagation, first, after = (cnf2 & 7) + 1, (cnf2 >> 3 & 7) + 1, (cnf3 & 7) + 1
            quanta = 1 + propagation + first + after
            assert oscillator_hz / (2 * ((cnf1 & 0x3F) + 1) * quanta) == bitrate
            assert cnf2 & 0x80 and not cnf2 & 0x40 and cnf1 >> 6 == 0
            assert after >= 2 and propagation + first >= after
            assert 0.70 <= 1 - after / quanta <= 0.85
    with pytest.raises(ValueError, match="8000000 Hz"):
        bit_timing(8_000_000, 1_000_000)


# --- SLCAN ------------------------------------------------------------------------------------------------------------


def test_an_adapter_is_opened_to_listen_or_to_talk(engine):
    assert SlcanRig(engine).said.endswith(b"C\rS6\rZ0\rL\r")
    assert SlcanRig(engine, transmit=True, kbit=250, timed=True).said.endswith(b"C\rS5\rZ1\rO\r")
    with pytest.raises(ValueError, match="no 123 kbit/s"):
        SlcanRig(engine, kbit=123)


def test_damaged_lines_are_lost_frames(engine):
    rig = SlcanRig(engine)
    read(rig.bus, engine)
    lines = (
        b"t12", b"t1232AAB", b"t1232AABBC", b"t12G1AA", b"t1239" + b"00" * 9, b"t8230", b"T200000000", b"t1231G0",
        b"t12311", b"t1230 000", b"t" * 40,
    )  # fmt: skip
    for line in lines:
        rig.text(line + b"\rt1240\r")
        got = read(rig.bus, engine)
        assert sorted(r[1] for r in got) == [DROPPED, 0x124], line
    assert rig.bus.dropped == rig.bus.errors == len(lines)


def test_what_an_adapter_answers_is_no_frame_and_no_loss(engine):
    rig = SlcanRig(engine)
    rig.text(b"\r\r\7z\rZ\rt\rT\rV1013\rN1234\rt1230\r")
    assert [r[1] for r in read(rig.bus, engine)] == [0x123]
    assert rig.bus.dropped == 0


def test_lines_may_be_cut_anywhere(engine):
    text = b"".join(b"t%03X8%016X\r" % (n, n) for n in range(12))
    for step in (1, 2, 3, 5, 7, 11, 13):
        rig = SlcanRig(engine)
        got = []
        for at in range(0, len(text), step):
            rig.text(text[at : at + step])
            got += read(rig.bus, engine)
        assert [(r[1], int(r[3].hex(), 16)) for r in got] == [(n, n) for n in range(12)]


def test_an_adapters_status_becomes_the_buss(engine):
    rig = SlcanRig(engine)
    for flags, state in ((0x04, WARNING), (0x24, PASSIVE), (0x00, ACTIVE)):
        rig.text(b"F%02X\r" % flags)
        assert read(rig.bus, engine) == [] and rig.bus.state == state
    rig.text(b"F01\r")
    assert [r[1] for r in read(rig.bus, engine)] == [DROPPED]


def test_stamps_count_on_over_the_minute(engine):
    rig = SlcanRig(engine, timed=True)
    times, t = [], 59_000
    for step in (0, 10, 990, 1, 59_999, 30_000):
        t += step
        times.append(t - 59_000)
        rig.text(b"t1230%04X\r" % (t % 60_000))
    got = [r[0] for r in read(rig.bus, engine, 1 << 29)]
    assert [t - 59_000 for t in got] == times


# --- a log ------------------------------------------------------------------------------------------------------------


def test_a_log_gives_its_frames_with_their_stamps(engine, tmp_path):
    log = tmp_path / "a.log"
    log.write_text(
        "(1436509052.249713) can0 044#2A366C2BBA\n(1436509052.250999) can1 18FF0001#01\n\n"
        "(1436509053.0) can0 044#R\n(1436509053.000000) can0 20000004#0001000000000000\n"
        "(1436509053.100000) can0 20000040#0000000000000000\n(1436509053.2) can0 20000100#0000000000000000\n"
        "(1436509053.3) can2 123#00\nnonsense\n"
    )
    bus = ReplayBus(str(log), {"can0": 0, "can1": 3})
    t = 1436509052 * 1000 & 0x3FFFFFFF
    assert read(bus, engine) == [
        (t + 249, 0x044, 0, bytes.fromhex("2A366C2BBA")), (t + 250, EXT | 0x18FF0001, 3, b"\1"),
        (t + 1000, DROPPED, 0, b"\0"), (t + 1100, OFF_NOTICE, 0, b"\1"), (t + 1200, OFF_NOTICE, 0, b"\0"),
        (t + 1200, DROPPED, 0, b"\0"),
    ]  # fmt: skip
    assert bus.done and bus.errors == 1


def test_slcan_leaves_the_round_while_noise_goes_on(engine):
    """A port on which lines that are no frames come without end: the box has other duties."""

    class Endless:
        def __init__(self):
            self.read = 0

        def readinto(self, view):
            view[:] = (b"!noise\r" * 40)[: len(view)]
            self.read += len(view)
            return len(view)

        def write(self, data):
            return len(data)

    port, batch = Endless(), Frames(engine, 64)
    Slcan(port, ask=False).recv(batch, 1000)
    assert port.read <= 8192 and batch.n == batch.frames == 0

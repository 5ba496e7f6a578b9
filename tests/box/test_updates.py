"""Updates in a running box: taken while the vehicle stands and every scan is made, confirmed by good scans alone."""

import shutil

import pytest
from boxes import Maker, small_files
from cellwarden.core import layout as L
from cellwarden.update import boot, duty, slots
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from places import Place
from supervised import Log, Rig


class Told(Log):
    """A recorder that remembers what it is told of updates."""

    def __init__(self):
        super().__init__()
        self.updates, self.secure = [], []

    def update(self, why, version, counter, sha256):
        self.updates.append((slots.WHY[why], version, counter, sha256))

    def security(self, kind, vehicle, seconds, detail):
        self.secure.append((kind, detail))


def frames_of(scenario, minutes):
    return list(simulate(scenario, DEMO_PROFILE, 1, minutes))


@pytest.fixture(scope="module")
def drive():
    return frames_of("healthy_drive", 1.5)


@pytest.fixture(scope="module")
def park():
    return frames_of("healthy_park", 1.5)


class Home:
    """A box with version 1 in its slots. images: made and signed by `maker`"""

    def __init__(self, folder):
        self.maker = Maker(folder)
        self.root = folder / "box"
        self.root.mkdir()
        (self.root / slots.IDENTITY).write_bytes(slots.identity(self.maker.box))
        self.slots = slots.Slots(str(self.root), self.maker.box)
        self.images = [self.maker.image(n, small_files(n)) for n in (1, 2)]
        with open(self.images[0], "rb") as file:
            self.slots.install(file)

    def rig(self, image, frames, address=""):
        """A box that runs from the slot that a start chooses."""
        rig = Rig(image, frames, recorder=Told())
        rig.log = rig.box.recorder
        rig.box.updates = duty.Updates(str(self.root), boot.choose(str(self.root)), address)
        rig.box.begin()
        return rig

    def offer(self, path):
        shutil.copy(path, self.root / "incoming.cwu")

    @property
    def offered(self):
        return (self.root / "incoming.cwu").exists()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Home(tmp_path)


def play(rig, seconds):
    end = rig.clock.ms + int(seconds * 1000)
    while rig.box.running and rig.clock.ms < end:
        if not rig.box.round():
            rig.box.idle()


def test_an_image_that_has_come_is_taken_while_the_vehicle_stands_and_no_scan_is_late(home, image, park):
    rig = home.rig(image, park)
    judge, pieces = rig.box.updates.slots._pause, []

    def after_a_piece():
        """Each piece of the work takes 30 ms."""
        pieces.append(rig.clock.ms)
        rig.clock.pass_time(30)
        judge()

    rig.box.updates.slots._pause = after_a_piece
    play(rig, 15)
    home.offer(home.images[1])
    play(rig, 15)
    assert not rig.box.running and rig.box.starts_anew and not home.offered, rig.box.updates.result
    assert len(pieces) > 20
    assert rig.box.most_late_ms <= 100 and not rig.box.hazards.mask
    assert boot.choose(str(home.root)) == 1, "the next start tries it"


def test_no_update_while_the_vehicle_drives(home, image, drive):
    rig = home.rig(image, drive)
    home.offer(home.images[1])
    play(rig, 40)
    assert rig.box.engine.state[L.MODE] == L.DRIVING
    assert rig.box.running and home.offered and "the vehicle drives" in rig.box.updates.result
    assert boot.choose(str(home.root)) == 0


def test_no_update_with_an_alarm_of_level_2(home, image):
    rig = home.rig(image, frames_of("healthy_park", 1))
    play(rig, 30)
    rig.box.engine.state[L.LEVEL] = 2
    assert rig.box.updates.busy() == "an alarm of level 2"


def test_what_is_refused_is_told_to_the_black_box_and_removed(home, image, park):
    rig = home.rig(image, park)
    play(rig, 15)
    data = bytearray(home.images[1].read_bytes())
    data[-1] ^= 1
    (home.root / "incoming.cwu").write_bytes(data)
    play(rig, 15)
    assert rig.box.running and not home.offered
    ((kind, detail),) = rig.log.secure
    assert kind == "update refused" and b"a file in it is not the one that was signed" in detail


def trial(home):
    with open(home.images[1], "rb") as file:
        home.slots.install(file)


def test_good_scans_confirm_an_update_and_the_black_box_is_told(home, image, drive):
    trial(home)
    rig = home.rig(image, drive)
    play(rig, 58)
    assert boot.read_record(str(home.root)).state == boot.TRIAL
    play(rig, 7)
    record = boot.read_record(str(home.root))
    assert (record.state, record.why, record.active) == (boot.STEADY, boot.CONFIRMED, 1)
    sha256 = home.slots.record.slots[1]
    assert rig.log.updates == [
        ("on trial", (0, 2, 0), 2, sha256), ("confirmed by its own good scans", (0, 2, 0), 2, sha256),
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["hears nothing", "an output fails", "the log fails"])
def test_a_box_that_does_not_do_all_of_its_work_confirms_nothing(home, image, drive, what):
    trial(home)
    rig = home.rig(image, drive)
    rig.bus.quiet = what == "hears nothing"
    if what == "an output fails":
        rig.out.fails = OSError(5)
    if what == "the log fails":
        rig.log.fails = OSError(5)
    play(rig, 85)
    assert rig.box.engine.state[L.SCANS] > 700
    assert boot.read_record(str(home.root)).state == boot.TRIAL


def test_the_one_address_is_asked_when_somebody_asks_for_it_and_never_while_the_vehicle_drives(
    home, image, drive, park
):
    with Place(home.images[1].read_bytes()) as place:
        rig = home.rig(image, drive, place.address)
        play(rig, 20)
        rig.box.updates.look()
        play(rig, 20)
        assert rig.box.engine.state[L.MODE] == L.DRIVING and not place.asked
        rig = home.rig(image, park, place.address)
        play(rig, 20)
        assert not place.asked, "the hour is not over"
        rig.box.updates.look()
        play(rig, 20)
        assert place.asked and not rig.box.running, rig.box.updates.result
        assert boot.choose(str(home.root)) == 1


def test_what_failed_here_is_not_fetched_again(home, image, park):
    trial(home)
    for _ in range(boot.TRIES + 1):
        slot = boot.choose(str(home.root))
    assert slot == 0
    with Place(home.images[1].read_bytes()) as place:
        rig = home.rig(image, park, place.address)
        rig.box.updates.look()
        play(rig, 40)
        assert place.asked and rig.box.running and rig.box.updates.result == "nothing new at the address"

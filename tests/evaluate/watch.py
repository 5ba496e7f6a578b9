"""Logs and scenarios through the core, with what the vehicle said once a second beside what the core said."""

from itertools import pairwise
from typing import NamedTuple

import numpy
from cellwarden.core import layout as L
from cellwarden_tools.compiler.profile import load_profile
from cellwarden_tools.engines.fast import FastEngine
from cellwarden_tools.readers.blocks import from_frames
from cellwarden_tools.replay import Replay
from cellwarden_tools.vehicle import Vehicle
from rivals import Samples

SAMPLE_US = 1_000_000


class Watched(NamedTuple):
    """events: as `replay --json` has them; end: its last line; samples: Samples; level: (n,) our own at each sample;
    zone: of a table's times, else None
    """

    events: list
    end: dict
    samples: Samples
    level: numpy.ndarray
    zone: str | None


class SamplingEngine(FastEngine):
    """Keeps the signals as they stand at the last frame of each second."""

    def __init__(self, image):
        super().__init__(image)
        self.seconds, self.rows = [], []
        self._second = None
        self._first, self._last = L.state_sections(image.params)["signals"]

    def feed_block(self, t_us, *columns):
        second = t_us // SAMPLE_US
        cuts = [0, *(numpy.flatnonzero(numpy.diff(second)) + 1).tolist(), len(t_us)]
        for at, end in pairwise(cuts):
            if second[at] != self._second:
                self._keep()
                self._second = second[at]
            super().feed_block(t_us[at:end], *(column[at:end] for column in columns))

    def finish(self):
        self._keep()
        return super().finish()

    def _keep(self):
        if self._second is not None:
            state = numpy.frombuffer(self.core.state, "i4")
            self.seconds.append(int(self._second))
            self.rows.append(numpy.append(state[self._first : self._last], state[L.LEVEL]))

    def samples(self, series):
        """(Samples, our own level at each). series: cells in series."""
        rows = numpy.array(self.rows)
        table = numpy.where(rows == L.NA, numpy.nan, rows)
        cells = self.image.params[L.P_CELLS]
        elements = table[:, L.SCALARS : -1]
        probes = elements[:, cells:] / 10
        extremes = table[:, [L.PROBE_MIN_DDEGC, L.PROBE_MAX_DDEGC]] / 10
        sent = [~numpy.isnan(values).all(axis=0) for values in (elements[:, :cells], probes, extremes)]
        told = Samples(
            numpy.array(self.seconds, float),
            elements[:, :cells][:, sent[0]] / 1000,
            numpy.hstack([probes[:, sent[1]], extremes[:, sent[2]]]),
            table[:, L.PACK_VOLTAGE_MV] / 1000,
            series,
        )
        return told, rows[:, -1]


class Frames:
    """Simulated frames in the place of a log."""

    class account:  # nothing is left out
        skipped, rejected, total, cut = {}, {}, 0, None

    def __init__(self, frames):
        self.path, self.format, self._frames = "simulated", "frames", frames

    def blocks(self):
        return from_frames(self._frames)


def watch(profile, log):
    """Watched, of a whole log or table: a path, or Frames. profile: path of a vehicle's."""
    vehicle = Vehicle(profile)
    image, log = (vehicle.image(), log) if isinstance(log, Frames) else vehicle.open(log)
    zone = vehicle.table["timezone"] if log.format == "table" else None
    with SamplingEngine(image) as engine:
        run = Replay(image, log, engine)
        events = list(run)
        samples = engine.samples(load_profile(profile).vehicle["cells"])
        return Watched(events, run.end, *samples, zone)

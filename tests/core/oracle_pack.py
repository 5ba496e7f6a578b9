"""Rules of the whole pack: a step at rest, SOC against the charge counted, the sum of the cells, falling insulation."""

from oracle_time import STEP_S


class PackStep:
    """scan(view, watch) -> mV by which the pack stepped at rest, 0 where it did not, None where nobody can say."""

    QUIET_MA, QUIET_S, RENEW_S, SOC_PERMILLE, SWITCHED_S = 5000, 2, 30, 50, 10

    def __init__(self, limit_mv, nominal_mv):
        self.limit_mv, self.nominal_mv = limit_mv, nominal_mv
        self.since = 0.0  # the last reference, or what keeps from taking one; it stands still while asleep
        self.reference = None  # (t, mV); t stands still while asleep
        self.switches = None  # contactors, or where they are not sent the vehicle's state, at the reference
        self.slept = False
        self.soc = None  # when the reference was taken

    def scan(self, view, watch):
        if watch.asleep:
            self.since, self.slept = view.t, True
            if self.reference:
                self.reference = (view.t, self.reference[1])
            return None
        volts, current = view["pack"], view["current"]
        switches = view["contactors"] if "contactors" in view.sent else view["on"]
        if current is not None and abs(current) > self.QUIET_MA:
            self.reference = None
        if volts is None or current is None or abs(current) > self.QUIET_MA:
            return None
        if switches != self.switches:
            self.reference, self.switches, self.since, self.slept = None, switches, view.t, False
            return 0
        if not self.reference:
            if volts * 2 < self.nominal_mv:  # not the pack's: behind open contactors
                self.since = view.t
            rested = watch.quiet_for is not None and round(watch.quiet_for, 6) >= self.QUIET_S
            if rested and round(view.t - self.since, 6) >= self.SWITCHED_S:
                self.renew(view, volts, switches)
            return 0
        since, was = self.reference
        if round(view.t - since, 6) > STEP_S:
            self.renew(view, volts, switches)
            return 0
        step = max(was - volts, 0) if self.slept else abs(volts - was)  # across a sleep only falls count
        if self.slept and (None in (self.soc, view["soc"]) or abs(view["soc"] - self.soc) >= self.SOC_PERMILLE):
            step = 0  # it was driven or charged meanwhile, or nobody knows
        step = step if step * 40 >= was else 0
        if step < self.limit_mv and not watch.waking and (self.slept or round(view.t - since, 6) >= self.RENEW_S):
            self.renew(view, volts, switches)
        return step

    def renew(self, view, volts, switches):
        self.reference, self.switches, self.slept, self.since = (view.t, volts), switches, False, view.t
        self.soc = view["soc"]


class SocJump:
    """scan(view, watch) -> (least, most) permille that SOC moved beyond what the charge explains.

    It may stand still or follow the charge, or be anywhere between. The page leaves open where its grid of a reference
    every 10 s begins.
    """

    GRID_S = 10

    def __init__(self, capacity_mah=20_000):
        self.capacity_mah = capacity_mah
        self.past = {}  # second -> [(SOC, charge drawn until then)]
        self.charge = 0.0  # drawn, permille
        self.last_t = None

    def scan(self, view, watch):
        current, soc = view["current"], view["soc"]
        if current is None or soc is None or watch.asleep:
            self.past, self.last_t = {}, view.t
            return None
        if self.last_t is not None:
            self.charge += current * (view.t - self.last_t) / 3600 * 1000 / self.capacity_mah
        self.last_t = view.t
        second = int(view.t)
        self.past = {t: told for t, told in self.past.items() if second - t <= STEP_S}
        self.past.setdefault(second, []).append((soc, self.charge))
        least, most = [0.0] * self.GRID_S, 0.0
        for t, told in self.past.items():
            beyond = [self.beyond(soc - was, drawn - self.charge) for was, drawn in told]
            least[t % self.GRID_S] = max(least[t % self.GRID_S], min(beyond))
            most = max(most, *beyond)
        return min(least), most

    @staticmethod
    def beyond(moved, explained):
        return max(moved - max(explained, 0), min(explained, 0) - moved, 0)


class PackSum:
    """scan(view, watch) -> permille of the pack voltage by which it left the sum of the cells, or None.

    What two samples in a row agree on: the lesser of both, 0 where one was over and the other under the sum.
    """

    FIRST, LEARNED, MOST_MV = 30, 300, 500_000

    def __init__(self):
        self.gaps = []  # pack - sum of the first samples
        self.value, self.last = None, 0

    def scan(self, view, watch):
        if watch.cells:
            now = self.judge(view, [v for v in watch.cells.values if v is not None])
            before, self.last = self.last, now or 0
            self.value = now
            if now is not None:
                self.value = min(abs(now), abs(before)) if now * before > 0 else 0
        return self.value

    def judge(self, view, there):
        pack = view["pack"]
        if pack is None or not there:
            return None
        total = sum(there) * len(view.cells) / len(there)  # a missing cell counts as the mean of the others
        shut = view["contactors"] != 0 if "contactors" in view.sent else pack * 2 >= total
        if not shut or pack < 1000:
            return None
        gap = max(min(pack - total, self.MOST_MV), -self.MOST_MV)
        if len(self.gaps) < self.LEARNED and len(there) == len(view.cells):
            self.gaps.append(gap)
        if len(self.gaps) < self.FIRST:
            return None
        bias = sum(self.gaps) / len(self.gaps)
        bias = max(min(bias, pack / 50), -pack / 50)
        return (gap - bias) * 1000 / pack


class InsulationTrend:
    """scan(view) -> hours until the slow mean reaches its limit; 10000 where it does not fall steadily; None before."""

    POINT_H, CAP, NEVER_H = 6, 2000, 10_000

    def __init__(self, limit=100):
        self.limit = limit
        self.readings = []
        self.points = []  # (h, mean)
        self.since_h = None

    def scan(self, view):
        hour = view.t // 3600
        if self.since_h is None:
            self.since_h = hour
        if view["insulation"] is not None:
            self.readings.append(min(view["insulation"], self.CAP))
        if self.readings and hour - self.since_h >= self.POINT_H:
            self.points.append((hour, sum(self.readings) / len(self.readings)))
            self.readings, self.since_h = [], hour
        if len(self.points) < 4:
            return None
        last = self.points[-4:]
        means = [mean for _, mean in last]
        if not means[0] > means[1] > means[2] > means[3]:
            return self.NEVER_H
        return max((means[3] - self.limit) * (last[3][0] - last[0][0]) / (means[0] - means[3]), 0)

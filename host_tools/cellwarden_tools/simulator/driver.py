"""Who draws the current: a car that drives about, cruises, is charged or is parked."""

from .values import SLOT

MASS_KG, ROLLING_N, DRAG = 2000, 196, 0.36
MOTOR_W, AUXILIARY_W = 70_000, 1_000
RAMP_MA_PER_S = 80_000
SPEEDS_KMH = (0, 30, 50, 50, 70, 80, 100, 120)
CRUISE_KMH = 110
RPM_PER_KMH, WHEEL_M, GEAR_RATIO = 90, 0.33, 9.5
DRIVE, PARK = 3, 0
AC, DC = 1, 2


class Drive:
    """Town and country: to a speed, along for a while, to the next one; or as the scenario's speed_kmh says."""

    def __init__(self, pack, scenario, rng, t_s):
        self.pack, self.rng = pack, rng
        self.told = list(scenario["speed_kmh"])
        self.speed_ms, self.aim_ms, self.until_s, self.grade_n = 0.0, 0.0, t_s + 5.0, 0.0
        self.states = {"vehicle_state": 1, "gear": DRIVE}

    def step(self, t_s, dt_s):
        rng = self.rng
        if self.told:
            while len(self.told) > 1 and self.told[1][0] <= t_s:
                self.told.pop(0)
            if self.told[0][0] <= t_s:
                self.aim_ms = self.told[0][1] / 3.6
        elif t_s >= self.until_s:
            self.aim_ms = SPEEDS_KMH[rng.randrange(len(SPEEDS_KMH))] / 3.6
            self.until_s = t_s + 15 + 30 * rng.random()
            self.grade_n = MASS_KG * 9.81 * 0.015 * (2 * rng.random() - 1)
        self.go(t_s, dt_s)

    def go(self, t_s, dt_s):
        """Move, once the contactors are closed."""
        pack = self.pack
        pack.tell(**self.states)
        if pack.contactors(True, t_s):
            self.move(dt_s)

    def move(self, dt_s):
        """Toward the aim, as far as the motor can."""
        pack, speed = self.pack, self.speed_ms
        resist_n = (ROLLING_N + self.grade_n if speed > 0.5 else 0) + DRAG * speed * speed
        wanted = min(max((self.aim_ms - speed) / 2, -1.2), 1.5)
        force_n = min(MASS_KG * wanted + resist_n, MOTOR_W / max(speed, 5))
        self.speed_ms = max(speed + (force_n - resist_n) / MASS_KG * dt_s, 0)
        if self.aim_ms == 0 and self.speed_ms < 0.3:
            self.speed_ms = force_n = 0
        power_w = force_n * self.speed_ms
        # What is regained ends where the pack is full: the rest goes into the brakes.
        room = min(max((1000 - pack.values[SLOT["soc"]]) / 100, 0), 1)
        power_w = AUXILIARY_W + (power_w / 0.9 if power_w > 0 else power_w * 0.6 * room)
        toward(pack, 1000 * power_w / pack.pack_v, dt_s)
        kmh = self.speed_ms * 3.6
        pack.tell(
            speed_kmh=kmh,
            torque_nm=force_n * WHEEL_M / GEAR_RATIO,
            accelerator_percent=max(force_n, 0) / 50,
            brake_percent=max(-force_n, 0) / 50,
            motor_rpm=kmh * RPM_PER_KMH,
        )


class Cruise(Drive):
    """A motorway at one speed: a load that hardly changes."""

    def __init__(self, pack, scenario, rng, t_s):
        super().__init__(pack, scenario, rng, t_s)
        self.speed_ms = self.aim_ms = CRUISE_KMH / 3.6

    def step(self, t_s, dt_s):
        self.go(t_s, dt_s)


class Charge:
    """A charging station: constant current, then constant voltage of the highest cell."""

    def __init__(self, pack, scenario, rng, t_s):
        self.pack, self.most_ma, self.since_s = pack, 1000 * scenario["charge_a"], t_s
        self.wanted_ma = self.most_ma

    def step(self, t_s, dt_s):
        pack = self.pack
        if not pack.scenario["charger_goes_on"]:
            room_mv = pack.full_mv - pack.highest_mv
            self.wanted_ma = min(max(self.wanted_ma + 500 * room_mv * dt_s, 0), self.most_ma)
        if pack.contactors(True, t_s):
            toward(pack, -self.wanted_ma if t_s - self.since_s >= 3 else 0, dt_s)
        pack.tell(
            charging=DC,
            charger_state=1,
            charger_v=pack.pack_v,
            charger_a=max(-pack.current_ma, 0) / 1000,
        )


class Park:
    """Off: the load is taken away, then the contactors open. The bus stays awake."""

    def __init__(self, pack, scenario, rng, t_s):
        self.pack, self.off_s = pack, t_s + 2 if pack.closed else t_s

    def step(self, t_s, dt_s):
        pack = self.pack
        if pack.closed and t_s < self.off_s:
            toward(pack, 0, dt_s)
            pack.contactors(True, t_s)
        else:
            pack.current_ma = 0.0
            pack.contactors(False, t_s)
        pack.tell(gear=PARK)


class Idle:
    """Ready to drive and at rest: contactors closed, only what heats, cools and lights."""

    def __init__(self, pack, scenario, rng, t_s):
        self.pack = pack

    def step(self, t_s, dt_s):
        pack = self.pack
        pack.tell(vehicle_state=1, gear=PARK)
        if pack.contactors(True, t_s):
            toward(pack, 1000 * AUXILIARY_W / pack.pack_v, dt_s)


def toward(pack, wanted_ma, dt_s):
    """Let the pack's current follow, no faster than a drive changes it and no further than the BMS allows."""
    most = RAMP_MA_PER_S * dt_s
    told = pack.values
    if not pack.scenario["charger_goes_on"]:
        wanted_ma = min(wanted_ma, 0.95 * told[SLOT["max_discharge_current"]])
        wanted_ma = max(wanted_ma, -0.95 * told[SLOT["max_charge_current"]])
    pack.current_ma += min(max(wanted_ma - pack.current_ma, -most), most)


DRIVERS = {"drive": Drive, "cruise": Cruise, "charge": Charge, "park": Park, "idle": Idle}

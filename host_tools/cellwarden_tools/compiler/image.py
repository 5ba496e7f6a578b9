"""The vehicle image: one file with the generated decoder, the params, the hardware filters and the names for people.

The file is a ZIP archive of stored, undated members, so the same profile and DBC give the same bytes:
manifest.json (the SHA-256 of every other part), decoder.py, params.bin (int32, little-endian), names.json and
filters.json. A decoder too long for one function of MicroPython's bytecode is there once more in several functions, as
decoder_parts.py, for boards without native code and for Numba. What the profile says of the black box is blackbox.json.
"""

import hashlib
import json
import sys
import zipfile
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from cellwarden.core import catalogue
from cellwarden.core import layout as L

from .. import __version__
from ..errors import InputError
from ..files import whole_file
from .checksums import KINDS, crc8_table
from .decoder import BYTECODE_SIGNALS, crc_tables_at, make_plan, slot_of, write_decoder
from .profile import load_profile
from .rule_table import rules_of, table_row

PARTS = ("decoder.py", "params.bin", "names.json", "filters.json")
IN_PARTS = "decoder_parts.py"
BLACKBOX = "blackbox.json"


@dataclass
class Image:
    """parts: {name: bytes}; params: array of int32; names: what names.json says; manifest: a dict."""

    parts: dict
    manifest: dict

    def __post_init__(self):
        self.params = array("i", self.parts["params.bin"])
        if sys.byteorder == "big":
            self.params.byteswap()
        self.names = json.loads(self.parts["names.json"])
        self._drain = None

    @property
    def sha256(self):
        """Hash of the manifest, which holds the hash of every part: the image's identity."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    @property
    def manifest_bytes(self):
        return _json(self.manifest)

    def decoder(self, whole=True):
        """The decoder's text, as bytes: in one function, or in several where that would be long."""
        return self.parts["decoder.py"] if whole else self.parts.get(IN_PARTS, self.parts["decoder.py"])

    @property
    def drain(self):
        """The decoder's loop, ready to run on CPython."""
        if self._drain is None:
            import cellwarden  # noqa: F401  (registers the stand-in for `micropython`)

            space = {"__name__": "cellwarden_vehicle"}
            exec(compile(self.parts["decoder.py"], "decoder.py", "exec"), space)
            self._drain = space["drain"]
        return self._drain

    def save(self, path):
        """Write the image file, whole or not at all."""
        with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in (("manifest.json", self.manifest_bytes), *self.parts.items()):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def load_image(path):
    """Read and check an image file. Raises InputError where a part is missing or does not have its hash."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            parts = {name: archive.read(name) for name in PARTS}
            parts |= {name: archive.read(name) for name in (IN_PARTS, BLACKBOX) if name in archive.namelist()}
        if not isinstance(manifest, dict):
            raise ValueError("its manifest is none")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "an image made by `cellwarden compile`") from None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError(path, f"is no vehicle image ({error})", "a file made by `cellwarden compile`") from None
    for name, data in parts.items():
        if hashlib.sha256(data).hexdigest() != manifest.get("sha256", {}).get(name):
            raise InputError(
                path, f"part {name} does not have the hash in the manifest", "an unchanged image", "compile it again"
            )
    if manifest.get("layout") != L.FORMAT:
        raise InputError(path, f"has layout {manifest.get('layout')}", f"layout {L.FORMAT}", "compile it again")
    return Image(parts, manifest)


@dataclass
class Compiled:
    """An image and what is worth telling about it. scalings: [(Binding, Scaling)]; rules: the whole catalogue."""

    image: Image
    profile: object
    plan: object
    rules: list
    scalings: list
    warnings: list[str]


def compile_profile(path, table=None):
    """Profile and DBC -> Compiled; table as for load_profile. Raises InputError."""
    profile = load_profile(path, table)
    rules = rules_of(profile)
    plan = make_plan(profile)
    decoder, scalings = write_decoder(plan)
    params = _params(profile, plan, rules)
    if sys.byteorder == "big":
        params.byteswap()
    names = _names(profile, plan, rules)
    parts = OrderedDict()
    parts["decoder.py"] = decoder.encode()
    if plan.signals > BYTECODE_SIGNALS:
        parts[IN_PARTS] = write_decoder(plan, BYTECODE_SIGNALS)[0].encode()
    parts["params.bin"] = params.tobytes()
    parts["names.json"] = _json(names)
    parts["filters.json"] = _json(_filters(profile, plan))
    if profile.blackbox:
        parts[BLACKBOX] = _json(profile.blackbox)
    manifest = {
        "vehicle": profile.name,
        "layout": L.FORMAT,
        "compiler": __version__,
        "sources": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in _sources(profile)},
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()},
        **({"transmit": profile.transmit} if profile.transmit else {}),
    }
    warnings = [
        f"{b.database.path}:{f.line}: {f.text}" for b in profile.buses for f in b.database.findings if _worth(f)
    ]
    warnings += profile.warnings
    assumed = sorted({plan.messages[g.message][1].name for g in plan.groups if g.assumed})
    if assumed:
        deadline = next(g.deadline_ms for g in plan.groups if g.assumed)
        warnings.append(
            f"{profile.path}: no period for {', '.join(assumed)}: {deadline} ms without a frame are taken for lost; "
            'give [messages."…"] period_ms'
        )
    return Compiled(
        Image(dict(parts), manifest), profile, plan, rules, list(scalings.items()), list(dict.fromkeys(warnings))
    )


def _worth(finding):
    """Findings that say something was mended or skipped; style is for `cellwarden lint`."""
    return finding.code not in ("overlap", "overrun")


def _sources(profile):
    return [profile.path, *(Path(bus.database.path) for bus in profile.buses)]


def _json(value):
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _params(profile, plan, rules):
    vehicle = profile.vehicle
    members, group_table = [], []
    owners = [0] * (L.SCALARS + profile.cells + profile.probes)
    for number, group in enumerate(plan.groups):
        slots = [slot_of(binding, profile.cells) for binding in group.bindings]
        kinds = {binding.quantity.name for binding in group.bindings}
        carries = ("cell_voltage" in kinds) + 2 * ("temperature" in kinds)
        group_table += [group.deadline_ms, len(members), len(slots), group.message, carries]
        members += slots
        for slot in slots:
            owners[slot] = number
    over = rules[catalogue.RULES.index("cell_overvoltage")].limits[0]
    capacity = vehicle.get("capacity_ah")
    header = [0] * L.HEADER_SIZE
    header[L.P_FORMAT] = L.FORMAT
    header[L.P_SCAN_MS] = vehicle.get("scan_ms", 100)
    header[L.P_MESSAGES] = len(plan.messages)
    header[L.P_GROUPS] = len(plan.groups)
    header[L.P_CELLS] = profile.cells
    header[L.P_PROBES] = profile.probes
    header[L.P_RULES] = len(rules)
    header[L.P_MEMBERS] = len(members)
    header[L.P_DATA_BYTES] = plan.data_bytes
    header[L.P_START_MS] = catalogue.START_MS
    nominal_mv = round(1000 * vehicle["nominal_v"]) if "nominal_v" in vehicle else None
    header[L.P_NOMINAL_MV] = nominal_mv or vehicle["cells"] * catalogue.NOMINAL_MV[profile.chemistry]
    # 5 A or C/20, the smaller: on a small pack 5 A is not calm.
    header[L.P_CALM_MA] = min(catalogue.CALM_MA, round(capacity * 50)) if capacity else catalogue.CALM_MA
    header[L.P_CALM_STEP_MA] = catalogue.CALM_STEP_MA
    header[L.P_CALM_MS] = catalogue.CALM_MS
    header[L.P_CALM_MAD_MV] = catalogue.CALM_MAD_MV
    header[L.P_MAX_DISCHARGE_MA] = round(1000 * vehicle.get("max_discharge_a", 0))
    header[L.P_MAX_CHARGE_MA] = round(1000 * vehicle.get("max_charge_a", 0))
    header[L.P_LIMIT_FLOOR_MA] = catalogue.LIMIT_FLOOR_MA
    header[L.P_SENT] = sum(1 << slot for slot in range(L.SCALARS) if slot in members)
    header[L.P_OVERCHARGE_MV] = over
    header[L.P_OVERCHARGE_PERMILLE] = 1000
    header[L.P_INFLOW_MA] = catalogue.INFLOW_MA
    level = {rule.name: rule.limits for rule in rules}
    header[L.P_SLEEP_MS] = profile.sleep_ms
    header[L.P_SLICE] = min(profile.cells, -(-profile.cells * header[L.P_SCAN_MS] // catalogue.SLICE_MS)) or 1
    header[L.P_CAPACITY_MAH] = round(1000 * (capacity or catalogue.CAPACITY_AH))
    header[L.P_HOT_DDEGC] = level["temperature_high"][1]
    header[L.P_CELL_FLOOR_MV] = level["cell_undervoltage"][2]
    header[L.P_INSULATION_FLOOR] = level["insulation_low"][2]
    header[L.P_MISMATCH_PERMILLE] = level["pack_sum_mismatch"][0]
    header[L.P_STEP_MV] = level["pack_step"][2]
    header[L.P_DRIFT_LOW_MV], header[L.P_DRIFT_HIGH_MV] = catalogue.DRIFT_RANGE_MV[profile.chemistry]
    header[L.P_VEHICLE_CELLS], header[L.P_VEHICLE_PROBES] = vehicle["cells"], vehicle.get("probes", 0)
    header[L.P_WATCH_MS], header[L.P_WAKE_FIRST_MS], header[L.P_WAKE_MS] = (
        60_000 * profile.parked.get(name, minutes) for name, minutes in catalogue.PARKED_MIN.items()
    )
    _, *columns = L.memory_columns(header)
    header[L.P_SHORTS_AT : L.P_RINGS_AT + 1] = columns
    at = L.state_sections(header)
    header[L.P_MEMORY_AT], header[L.P_GROUPS_AT], header[L.P_MESSAGES_AT], header[L.P_RULES_AT] = (
        at[name][0] for name in ("memory", "groups", "messages", "rules")
    )
    at = L.params_sections(header, 0)
    header[L.P_GROUP_TABLE_AT], header[L.P_MEMBERS_AT], header[L.P_OWNERS_AT] = (
        at[name][0] for name in ("group_table", "members", "owners")
    )
    table = [value for rule in rules for value in table_row(rule)]
    params = header + table + group_table + members + owners
    params += [0] * (crc_tables_at(len(params)) - len(params))
    for kind in plan.crc_kinds:
        first = len(params)
        params += [first + value for value in crc8_table(KINDS[kind][0])]
    return array("i", params)


def _names(profile, plan, rules):
    """What people and programs need to read events and state."""
    return {
        "vehicle": profile.name,
        "rules": [
            {
                "name": r.name,
                "unit": r.unit,
                "gb_bit": max(r.flags, default=None),
                "active": r.active,
                "lacks": list(r.lacks),
            }
            for r in rules
        ],
        "buses": [bus.channel for bus in profile.buses],
        "messages": [[bus.number, message.name, message.can_id] for bus, message, _ in plan.messages],
        "groups": [
            plan.messages[g.message][1].name + "".join(f" {n}={min(ids)}" for n, ids in g.pages) for g in plan.groups
        ],
        **({"table": profile.table, "probe_numbers": profile.probe_numbers} if profile.is_table else {}),
    }  # fmt: skip


def _filters(profile, plan):
    """Per bus the identifiers the decoder knows, as (id, mask, extended): what a controller's filters let through."""
    filters = [[] for _ in profile.buses]
    for bus, message, _ in plan.messages:
        extended = bool(message.can_id & L.EXT)
        filters[bus.number].append([message.can_id & ~L.EXT, 0x1FFFFFFF if extended else 0x7FF, extended])
    return filters


def open_image(path, table=None):
    """(Image, warnings) of a profile, compiled now, or of an image file. Raises InputError.

    table: of a profile, as for load_profile
    """
    if is_image(path):
        return load_image(path), []
    made = compile_profile(path, table)
    return made.image, made.warnings


def is_image(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a vehicle profile or image") from None

"""What is exported of an alarm replays to the very alarm, says what proves it, and is the same bytes anywhere."""

import csv
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys

import forge
import pyarrow.parquet
import pytest
import small
from cellwarden.core import layout as L
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.cli import run
from cellwarden_tools.compiler.image import load_image
from cellwarden_tools.readers import open_log
from recorded import Box
from story import FIRST_KEY

OPEN = (70, 72)
COMMAND = [sys.executable, "-c", "from cellwarden_tools.cli import main; main()"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with small.toml, small.cwi, first.key and log/: two boots, each with an alarm."""
    place = tmp_path_factory.mktemp("place")
    image = small.vehicle(place)
    image.save(place / "small.cwi")
    (place / "first.key").write_text(FIRST_KEY.hex())
    (place / "log").mkdir()
    told = []
    for boot in (1, 2):
        start_ms = 300_000 * boot
        box = Box(place / "log", image, start_ms=start_ms, restore=True)
        if boot == 2:
            box.recorder.clock(1_795_432_800, 250, 1)
        box.feed(small.frames(200, start_ms, interlock=[OPEN]))
        assert box.shutdown()
        told.append(box.told)
    (place / "told.json").write_text(json.dumps(told))
    return place


@pytest.fixture
def say(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("small.toml", "small.dbc", "small.cwi", "first.key"):
        shutil.copy(place / name, tmp_path)
    shutil.copytree(place / "log", tmp_path / "log")

    def command(*words):
        capsys.readouterr()
        status = run(list(words))
        return status, *capsys.readouterr()

    return command


MAKE = ("incident", "log", "-o", "out", "--key", "first.key", "-p", "small.cwi")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_frames_of_an_incident_replay_to_the_recorded_events(say, place, tmp_path):
    status, _, err = say(*MAKE)
    assert (status, err) == (0, "")
    told = json.loads((place / "told.json").read_text())
    events = rows(tmp_path / "out" / "events.csv")
    assert [(row["boot"], row["rule"], row["event"]) for row in events] == [
        ("1", "hvil_open", "raise"), ("1", "hvil_open", "clear"),
        ("2", "hvil_open", "raise"), ("2", "hvil_open", "clear"),
    ]  # fmt: skip
    assert [int(row["clock_ms"]) for row in events] == [event[L.EVENT_T_MS] for boot in told for event in boot]
    for number, boot in enumerate(told, 1):
        for suffix in ("log", "parquet"):
            stem = f"out/incident_{number}/frames_1"
            words = ("replay", f"{stem}.{suffix}", "-p", "small.cwi", "--state-in", f"{stem}.state", "--json")
            status, out, err = say(*words, "--engine", "python")
            assert (status, err) == (0, "")
            *given, end = map(json.loads, out.splitlines())
            assert [(round(1000 * event["t"]), event["before"], event["level"]) for event in given] == [
                (event[L.EVENT_T_MS], event[L.EVENT_BEFORE], event[L.EVENT_LEVEL]) for event in boot
            ], suffix
            assert end["time_backward"] == 0


def test_the_frames_are_those_that_were_on_the_bus(say, tmp_path):
    say(*MAKE)
    for number in (1, 2):
        start_ms = 300_000 * number
        sent = {}
        for t_us, _, can_id, data in small.frames(200, start_ms, interlock=[OPEN]):
            sent.setdefault(t_us // 1000, []).append((can_id, data))
        for suffix in ("log", "parquet"):
            found = {}
            with open_log(tmp_path / "out" / f"incident_{number}" / f"frames_1.{suffix}") as log:
                for t_us, name, can_id, data in log:
                    assert name == "can0"
                    if can_id >> 30 == 0:
                        found.setdefault(t_us // 1000, []).append((can_id, data))
            known = {t_ms: [frame for frame in some if frame[0] != small.STRANGE] for t_ms, some in sent.items()}
            first, last = min(found), max(found)
            for t_ms in range(first, last + 1):
                got = [frame for frame in found.get(t_ms, []) if frame[0] != small.STRANGE]
                assert got == known.get(t_ms, []), (suffix, t_ms)
            assert first <= start_ms + 10_100 and last >= start_ms + 190_000, "60 s before to 120 s after"


def test_the_tables_say_what_stood_on_the_bus(say, tmp_path):
    say(*MAKE)
    folder = tmp_path / "out" / "incident_2"
    signals, cells = rows(folder / "signals.csv"), rows(folder / "cells.csv")
    assert len(signals) == len(cells) > 150
    for row in signals:
        assert row["pack_voltage_mv"] == "7400" and row["soc_permille"] == "500"
    assert {row["cell_1_mv"] for row in cells} == {"3700", "3701", "3702"}
    assert {row["cell_2_mv"] for row in cells} == {"3700", "3701"}
    # 1,795,432,800 s after 1970 are 2026-11-23 11:20 UTC
    journal = [json.loads(line) for line in (tmp_path / "out" / "journal.jsonl").read_text().splitlines()]
    (clock,) = [row for row in journal if row["type"] == "clock"]
    assert (clock["seconds"], clock["ms"], clock["utc"]) == (1_795_432_800, 250, "2026-11-23T11:20:00.250Z")
    for row in signals:
        seconds, ms = divmod(int(row["box_ms"]) - clock["box_ms"] + 250, 1000)
        minutes, seconds = divmod(seconds, 60)
        assert row["utc"] == f"2026-11-23T11:{20 + minutes}:{seconds:02}.{ms:03}Z"
    assert {row["utc"] for row in rows(tmp_path / "out" / "incident_1" / "signals.csv")} == {""}
    for name in ("features", "signals", "cells"):
        table = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()
        told = [["" if cell is None else str(cell) for cell in row.values()] for row in table]
        assert told == [list(row.values()) for row in rows(folder / f"{name}.csv")], name
    hvil = [row["hvil_open"] for row in rows(folder / "features.csv")]
    assert hvil[0] == "0" and "1" in hvil and hvil[-1] == "0"


def test_the_proof_is_in_it(say, place, tmp_path):
    say(*MAKE)
    out = tmp_path / "out"
    found = Verification(place / "log", FIRST_KEY)
    seals = rows(out / "proof" / "seals.csv")
    assert {int(row["index"]): row["tag"] for row in seals} == {n: tag.hex() for n, tag in found.tags.items()}
    assert {row["proven"] for row in seals} == {"true"}
    files = {row["file"]: row["sha256"] for row in rows(out / "proof" / "files.csv")}
    assert files == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (place / "log").iterdir()
        if path.suffix in (".cwb", ".cwf") and path.name != "end.cwb"
    }
    manifest = json.loads((out / "manifest.json").read_text())
    commitment = hashlib.sha256(b"cellwarden first key 1" + FIRST_KEY).hexdigest()
    assert manifest["commitment"] == commitment and commitment in (out / "README.txt").read_text()
    verdict = json.loads((out / "proof" / "verdict.json").read_text())
    assert [verdict[-1][word] for word in ("intact", "complete", "consistent")] == [True, True, True]
    anchor = json.loads((out / "proof" / "anchor.json").read_text())
    assert anchor["tag"] == found.last.tag.hex()
    texts = [
        path.read_bytes() for path in out.rglob("*") if path.suffix in (".csv", ".json", ".jsonl", ".txt", ".state")
    ]
    assert len(texts) > 10
    assert not [text for text in texts if FIRST_KEY in text or FIRST_KEY.hex().encode() in text], (
        "the key is given away"
    )


def test_frames_that_are_missing_part_the_incident_and_nothing_is_left_out_unsaid(say, place, tmp_path):
    """The storage does not answer for a while; a notice comes that candump has no word for."""
    (tmp_path / "gap").mkdir()
    box = Box(tmp_path / "gap", load_image(place / "small.cwi"))
    frames = list(small.frames(150, 0, interlock=[(30, 32)]))
    behind = next(n for n, frame in enumerate(frames) if frame[0] >= 90_000_000)
    box.feed(frames[:behind])
    box.recorder.notice(90_000, L.NOTICE_SLEEP)
    work, box.work = box.work, lambda: None
    box.feed(frames[behind : behind + 900])
    box.work = work
    box.feed(frames[behind + 900 :])
    lost = box.recorder.lost_frames
    assert lost > 100 and box.shutdown()
    status, _, err = say("incident", "gap", "-o", "out", "--key", "first.key", "-p", "small.cwi")
    assert (status, err) == (0, "")
    incident = json.loads((tmp_path / "out" / "manifest.json").read_text())["incidents"][0]
    assert len(incident["frames"]) >= 2 and "state" in incident["frames"][0]
    assert incident["frames"][0]["candump_lacks"] == {"notices that candump has no record for": 1}
    found = []
    for number in range(1, len(incident["frames"]) + 1):
        with open_log(tmp_path / "out" / "incident_1" / f"frames_{number}.log") as log:
            found += [(t_us // 1000, can_id, data) for t_us, _, can_id, data in log]
    assert len(found) == sum(one["frames"] for one in incident["frames"])
    # while the storage was slow, frames that the image does not know were counted and not kept
    assert len(found) + sum(one["counted_only"] for one in incident["frames"]) == len(frames) - lost
    sent = [(t_us // 1000, can_id, data) for t_us, _, can_id, data in frames]
    assert set(found) <= set(sent) and found == sorted(found, key=lambda frame: frame[0])
    parquet = "out/incident_1/frames_1"
    words = ("replay", f"{parquet}.parquet", "-p", "small.cwi", "--state-in", f"{parquet}.state", "--json")
    status, out, _ = say(*words)
    assert status == 0 and json.loads(out.splitlines()[-1])["notices"] >= 1


def test_the_manifest_holds_the_hash_of_every_file(say, tmp_path):
    say(*MAKE)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    found = {
        str(path.relative_to(tmp_path / "out")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert {name: told["sha256"] for name, told in manifest["files"].items()} == found and len(found) > 15


def test_the_same_log_gives_the_same_bytes_at_another_place_day_and_zone(say, tmp_path):
    """In processes of their own: another time zone, language, hash seed, other file dates, another path."""
    trees = []
    for number, (zone, seed) in enumerate((("UTC", "0"), ("Pacific/Kiritimati", "77"))):
        place = tmp_path / ("a" * (1 + 20 * number))
        place.mkdir()
        for name in ("small.cwi", "first.key"):
            shutil.copy(tmp_path / name, place)
        shutil.copytree(tmp_path / "log", place / "log", copy_function=shutil.copyfile)
        for path in (place / "log").iterdir():
            os.utime(path, (1e9 * number, 1e9 * number))
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": ("C", "C.UTF-8")[number]}
        done = subprocess.run([*COMMAND, *MAKE], cwd=place, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        out = place / "out"
        trees.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert trees[0].keys() == trees[1].keys() and len(trees[0]) > 15
    assert [name for name in trees[0] if trees[0][name] != trees[1][name]] == []


def test_one_alarm_can_be_chosen(say, tmp_path):
    status, out, _ = say(*MAKE, "--alarm", "2", "--before", "5", "--after", "10", "--json")
    incident, end = map(json.loads, out.splitlines())
    assert status == 0 and incident["boot"] == 2 and [one["alarm"] for one in incident["alarms"]] == [2]
    assert incident["alarms"][0]["rule"] == "hvil_open" and incident["alarms"][0]["level"] == 3
    assert incident["last_box_ms"] - incident["first_box_ms"] == 15_000 and end["event"] == "end"
    frames = rows(tmp_path / "out" / "incident_1" / "signals.csv")
    assert 10 <= len(frames) <= 18
    assert not (tmp_path / "out" / "incident_2").exists()


def test_without_the_key_it_says_that_nothing_is_proven(say, tmp_path):
    status, _, err = say("incident", "log", "-o", "out")
    assert status == 0 and "nothing in out is proven" in err
    assert "NOTHING IN HERE IS PROVEN" in (tmp_path / "out" / "README.txt").read_text()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["proven"] is False
    assert {row["proven"] for row in rows(tmp_path / "out" / "events.csv")} == {"false"}
    assert (tmp_path / "out" / "incident_1" / "frames_1.log").stat().st_size > 10_000
    assert (tmp_path / "out" / "incident_1" / "words.csv").exists(), "cells have no names without the image"


def test_a_log_that_does_not_hold_is_exported_with_the_verdict_and_exit_1(say, tmp_path):
    segment = tmp_path / "log" / "00000001.cwb"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    status, _, err = say(*MAKE)
    assert status == 1 and "does not hold" in err
    verdict = json.loads((tmp_path / "out" / "proof" / "verdict.json").read_text())
    assert verdict[-1]["intact"] is False and verdict[0]["file"] == "00000001.cwb"
    found = Verification(tmp_path / "log", FIRST_KEY)
    seals = rows(tmp_path / "out" / "proof" / "seals.csv")
    assert {int(row["index"]) for row in seals if row["proven"] == "true"} == set(found.tags)


@pytest.mark.parametrize(
    "words, said",
    [
        (("incident", "none", "-o", "out"), "none: does not exist"),
        (("incident", "log", "-o", "log"), "log: is there already"),
        ((*MAKE, "--alarm", "3"), "--alarm: the log has no alarm 3; expected 1 to 2"),
        (("incident", "log", "-o", "out", "--anchor", "x"), "--anchor: proves nothing without the key"),
        (("incident", "log", "-o", "out", "--key", "small.dbc"), "small.dbc: is no key"),
        ((*MAKE, "--engine", "micropython"), "--engine: `micropython` replays no box's log"),
        (("incident", "log", "-o", "no/out"), "no/out: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(say, tmp_path, words, said):
    before = sorted(tmp_path.iterdir())
    status, out, err = say(*words)
    assert (status, out) == (2, "") and err.startswith(f"cellwarden: {said}") and err.count("\n") == 1, err
    assert sorted(tmp_path.iterdir()) == before


def test_a_log_without_an_alarm_is_one_line(say, place, tmp_path):
    (tmp_path / "calm").mkdir()
    box = Box(tmp_path / "calm", load_image(place / "small.cwi"))
    box.feed(small.frames(5))
    assert box.shutdown()
    status, _, err = say("incident", "calm", "-o", "out", "--key", "first.key")
    assert status == 2 and "calm: holds no alarm; expected" in err and not (tmp_path / "out").exists()


# --- salvage ---------------------------------------------------------------------------------------------------------


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_that_can_be_read_is_salvaged_and_what_is_not_proven_is_marked(say, tmp_path):
    """A hole of 100 bytes in a segment, and an annex that was cut and goes on with bytes of somebody else."""
    whole = Verification(tmp_path / "log", FIRST_KEY)
    everything = whole.records
    segment = tmp_path / "log" / "00000001.cwb"
    data = segment.read_bytes()
    at = len(data) // 2
    segment.write_bytes(data[:at] + bytes(100) + data[at + 100 :])
    annex = sorted((tmp_path / "log").glob("*.cwf"))[0]
    annex_data = bytearray(annex.read_bytes())
    annex_data[len(annex_data) * 3 // 4] ^= 1
    annex.write_bytes(annex_data)
    status, _, err = say("verify", "log", "--key", "first.key", "--salvage", "saved")
    assert status == 1 and "that nothing proves" in err
    saved = tmp_path / "saved"
    records = lines(saved / "records.jsonl")
    chain = [row for row in records if row["file"].endswith(".cwb")]
    lost = everything - len(chain)
    assert 1 <= lost <= 100 // 16, "more was given up than what was damaged"
    seen = Verification(tmp_path / "log", FIRST_KEY)
    assert sum(row["proven"] for row in chain) == seen.records < len(chain)
    for row in chain:  # each line says where its bytes stand
        assert row["at"] < row["end"] and (tmp_path / "log" / row["file"]).stat().st_size >= row["end"]
        if row["file"] == segment.name:
            assert not (row["proven"] and row["at"] < at + 100 and row["end"] > at)
    damage = lines(saved / "damage.jsonl")
    assert {row["file"] for row in damage} == {segment.name, annex.name}
    assert any(row["file"] == segment.name and row["at"] <= at and row["end"] >= at + 100 for row in damage)
    of_annex = [row["proven"] for row in records if row["file"] == annex.name]
    assert True in of_annex and False in of_annex
    assert of_annex == sorted(of_annex, reverse=True), "behind the damage nothing is proven"
    number = annex.name[:8]
    assert (saved / f"frames_{number}_proven.log").exists()
    assert {fault["kind"] for fault in lines(saved / "faults.jsonl")} >= {"altered"}
    assert json.loads((saved / "manifest.json").read_text())["intact"] is False
    events = [row for row in records if row["type"] == "event"]
    assert len(events) == 4 and events[0]["says"]["rule"] == 14


def test_a_whole_log_is_salvaged_whole(say, tmp_path):
    assert say("verify", "log", "--key", "first.key", "--salvage", "saved", "-p", "small.cwi")[0] == 0
    records = lines(tmp_path / "saved" / "records.jsonl")
    assert all(row["proven"] for row in records) and not lines(tmp_path / "saved" / "damage.jsonl")
    features = [row for row in records if row["type"] == "features"]
    assert features[-1]["says"]["cell_1_mv"] in (3700, 3701, 3702)
    assert not list((tmp_path / "saved").glob("*_unproven.log"))


# --- verify -p -------------------------------------------------------------------------------------------------------


def test_verify_says_three_things(say):
    status, out, _ = say("verify", "log", "--key", "first.key", "-p", "small.cwi", "--json")
    *stretches, end = map(json.loads, out.splitlines())
    assert status == 0 and [end[word] for word in ("intact", "complete", "consistent")] == [True, True, True]
    assert end["events"] == 4 and end["events_not_checkable"] == 0 and end["frames"] > 5000
    assert {stretch["event"] for stretch in stretches} == {"stretch"}
    status, out, _ = say("verify", "log", "--key", "first.key", "-p", "small.cwi")
    assert "intact: yes" in out and "complete: yes" in out and "consistent: yes; " in out
    assert "not checkable" in out or end["not_checkable_ms"] == 0


def test_verify_with_another_image_is_one_line(say, tmp_path):
    other = small.vehicle(tmp_path, **{'name = "small"': 'name = "other"'})
    other.save(tmp_path / "other.cwi")
    status, out, err = say("verify", "log", "--key", "first.key", "-p", "other.cwi")
    assert (status, out) == (2, "") and err.count("\n") == 1 and f"is image {other.sha256[:16]}" in err


def test_a_profile_serves_where_it_makes_the_very_image(say):
    assert say("verify", "log", "--key", "first.key", "-p", "small.toml")[0] == 0


# --- any bytes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [False, True], ids=["damaged", "sealed by who has the key"])
def test_no_log_makes_the_verbs_fall_over(say, place, tmp_path, sealed):
    """Bytes changed, cut and put in; or bodies changed and sealed: a verdict or one line, and a folder or none."""
    plain = {path.name: path.read_bytes() for path in (place / "log").iterdir()}
    statuses = []
    for seed in range(6):
        rng = random.Random(seed)
        files = dict(plain)
        if sealed:
            forgery = forge.Forgery(plain, FIRST_KEY)
            everything = [one for some in (*forgery.chain.values(), *forgery.annexes.values()) for one in some]
            for record in rng.sample([one for one in everything if one.kind not in (forge.SEAL, forge.ANNEX)], 5):
                record.body = spoiled(rng, record.body)
            files = forgery.sealed()
        else:
            for name in rng.sample(sorted(files), 2):
                files[name] = spoiled(rng, files[name])
        shutil.rmtree(tmp_path / "log")
        (tmp_path / "log").mkdir()
        for name, data in files.items():
            (tmp_path / "log" / name).write_bytes(data)
        for words in (
            ("verify", "log", "--key", "first.key", "-p", "small.cwi", "--salvage", "out", "--engine", "python"),
            ("incident", "log", "-o", "out", "--key", "first.key", "-p", "small.cwi", "--engine", "python"),
            ("incident", "log", "-o", "out"),
        ):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            status, _, err = say(*words)
            assert status in (0, 1, 2), (seed, words)
            assert (tmp_path / "out" / "manifest.json").exists() is (status != 2), (seed, words, err)
            assert status != 2 or err.count("\n") == 1
            statuses.append(status)
    assert statuses.count(1) >= 6 and not list(tmp_path.glob(".out*"))
    print(f"{len(statuses)} runs: {[statuses.count(status) for status in (0, 1, 2)]} ended with 0, 1, 2")


def spoiled(rng, data):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        if not data:
            break
        at = rng.randrange(len(data))
        what = rng.randrange(4)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del data[at : at + rng.randrange(200)]
        elif what == 2:
            data[at:at] = rng.randbytes(rng.randrange(200))
        else:
            data[at : at + 4] = rng.choice((bytes(4), b"\xff" * 4, rng.randbytes(4)))
    return bytes(data)

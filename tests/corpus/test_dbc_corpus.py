"""Every DBC of the corpus loads or is refused in one line, and means to us what it means to cantools."""

import io
import lzma
import os
import tarfile
from pathlib import Path

import cantools
import pytest
from cellwarden_tools.compiler.dbc import EXTENDED, loads
from cellwarden_tools.compiler.dbc_lint import check
from cellwarden_tools.errors import InputError

CORPUS = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
ENCODINGS = ("utf-8-sig", "cp1252", "gb18030")


def files():
    """{name: bytes} of all DBC files of the corpus, those inside its archives too."""
    found = {}
    for path in sorted(CORPUS.glob("*/*.dbc")):
        found[str(path.relative_to(CORPUS))] = path.read_bytes()
    for path in sorted(CORPUS.glob("*/*.dbc.xz")):
        found[str(path.relative_to(CORPUS))] = lzma.decompress(path.read_bytes())
    for path in sorted(CORPUS.glob("corpora/*.tar.xz")):
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes()))) as archive:
            for member in archive:
                if member.isfile() and member.name.lower().endswith(".dbc"):
                    found[f"{path.name.split('.')[0]}/{member.name}"] = archive.extractfile(member).read()
    return found


FILES = files()
NO_CORPUS = f"no DBC under {CORPUS}: set CELLWARDEN_CORPUS to the folder of the corpus"
pytestmark = pytest.mark.skipif(not FILES, reason=NO_CORPUS)
each = pytest.mark.parametrize("name", FILES or ["none"])


def by_cantools(data, strict):
    """cantools' Database of the same text, or None where it refuses; its signals in the order of the file."""
    for encoding in ENCODINGS:
        try:
            text = data.decode(encoding).replace("\r\n", "\n")
            break
        except UnicodeDecodeError:
            continue
    try:
        return cantools.database.load_string(text, "dbc", strict=strict, sort_signals=None)
    except Exception:
        return None


def load(name):
    """Our Database, or None where it was refused in one line that names the file."""
    try:
        return loads(FILES[name], name)
    except InputError as error:
        assert str(error).startswith(name) and "\n" not in str(error)
        return None


def network_bits(message, signal):
    """(bits as (byte, bit) pairs, whether all are inside), walked one by one in the direction of its byte order."""
    byte, bit = divmod(signal.start, 8)
    walked = set()
    for _ in range(signal.length):
        walked.add((byte, bit))
        if signal.byte_order == "big_endian":
            byte, bit = (byte + 1, 7) if bit == 0 else (byte, bit - 1)
        else:
            byte, bit = (byte + 1, 0) if bit == 7 else (byte, bit + 1)
    return walked, all(byte < message.length for byte, _ in walked)


def pages(message, signal):
    """{multiplexer: ids} that must hold for a cantools signal to be present."""
    held = {}
    while signal.multiplexer_ids:
        held[signal.multiplexer_signal] = set(signal.multiplexer_ids)
        signal = message.get_signal_by_name(signal.multiplexer_signal)
    return held


@each
def test_a_dbc_means_what_it_means_to_cantools(name):
    db, theirs = load(name), by_cantools(FILES[name], strict=True)
    if theirs is None:
        return
    assert db is not None, "cantools loads what we refuse"
    assert [m.name for m in db.messages] == [m.name for m in theirs.messages]
    for ours, message in zip(db.messages, theirs.messages, strict=True):
        assert ours.can_id == message.frame_id | message.is_extended_frame * EXTENDED
        assert (ours.extended, ours.length) == (message.is_extended_frame, message.length)
        assert (ours.cycle_ms, ours.comment) == (message.cycle_time, message.comment)
        assert ours.fd or not message.is_fd
        for signal, other in zip(ours.signals, message.signals, strict=True):
            where = f"{ours.name}.{signal.name}"
            assert (signal.name, signal.start, signal.length) == (other.name, other.start, other.length), where
            assert signal.big_endian == (other.byte_order == "big_endian"), where
            assert (signal.signed, signal.is_float) == (other.is_signed, other.conversion.is_float), where
            assert (float(signal.scale), float(signal.offset)) == (other.scale, other.offset), where
            assert (signal.unit or None, signal.comment) == (other.unit, other.comment), where
            assert signal.choices == {raw: str(text) for raw, text in (other.choices or {}).items()}, where
            assert signal.multiplexer == other.is_multiplexer, where
            assert {by: set(ids) for by, ids in signal.mux} == pages(message, other), where
            low, high = (None if bound is None else float(bound) for bound in (signal.minimum, signal.maximum))
            if (low, high) != (None, None):  # cantools takes [0.0|0.0] for a range, we for none
                assert (low, high) == (float(other.minimum), float(other.maximum)), where


@each
def test_overlaps_and_overruns_are_those_of_a_walk_bit_by_bit(name):
    db, theirs = load(name), by_cantools(FILES[name], strict=False)
    if db is None or theirs is None:
        return
    for ours, message in zip(db.messages, theirs.messages, strict=True):
        walks = [network_bits(message, signal) for signal in message.signals]
        held = [pages(message, signal) for signal in message.signals]
        for index, (signal, (bits, inside)) in enumerate(zip(ours.signals, walks, strict=True)):
            overlaps = {
                other.name
                for place, other in enumerate(message.signals)
                if place != index
                and bits & walks[place][0]
                and all(ids & held[place][by] for by, ids in held[index].items() if by in held[place])
            }
            assert set(signal.overlaps) == overlaps, f"{ours.name}.{signal.name}"
            assert ("runs past the end" in (signal.defect or "")) != inside, f"{ours.name}.{signal.name}"


@each
def test_whatever_loads_can_be_linted_and_given_to_cantools(name):
    db = load(name)
    if db is None:
        return
    assert all(issue.mend and issue.line for issue in check(db))
    sound = [message.name for message in db.messages]
    assert [message.name for message in db.cantools.messages] == sound
    for ours, message in zip(db.messages, db.cantools.messages, strict=True):
        for signal in ours.signals:
            if signal.defect is None:
                other = message.get_signal_by_name(signal.name)
                assert (other.start, other.length, other.scale) == (signal.start, signal.length, float(signal.scale))
                assert set(other.multiplexer_ids or ()) == set(signal.mux[-1][1] if signal.mux else ())


def test_more_of_the_corpus_loads_than_in_cantools():
    mine = {name for name in FILES if load(name)}
    strict = {name for name, data in FILES.items() if by_cantools(data, strict=True)}
    loose = {name for name, data in FILES.items() if by_cantools(data, strict=False)}
    print(f"\n{len(FILES)} DBC files: {len(mine)} load here, {len(strict)} in strict cantools, {len(loose)} in loose")
    for name in FILES.keys() - mine:
        print(f"refused: {name}")
    assert strict <= loose <= mine


@pytest.mark.skipif("foxbms/overlapping-signals.dbc" not in FILES, reason=NO_CORPUS)
def test_the_negative_case_of_foxbms_is_found_and_named():
    db = load("foxbms/overlapping-signals.dbc")
    assert [(finding.line, finding.code, finding.text) for finding in db.findings] == [
        (32, "overlap", "`foxBMS_Error_Insulation` and `foxBMS_AuxiliaryFuseBlown` overlap (byte 2 bit 7)"),
        (33, "overlap", "`foxBMS_Error_CanTiming` and `foxBMS_chargingFuseBlown` overlap (byte 3 bit 0)"),
    ]

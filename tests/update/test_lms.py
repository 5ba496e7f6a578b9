"""Only the holder of the key can make a signature that a box takes: RFC 8554's own examples and those of pyhsslms."""

import io
import itertools

import pytest
from cellwarden.update.lms import MOST_LEVELS, signature_bytes, verify
from vectors import RFC_LEAVES, foreign, rfc_8554, signed

MESSAGE = b"what was signed, in a few chunks of the wrong size"


def leaves(key, message, signature):
    return verify(key, io.BytesIO(signature), (message,))


@pytest.mark.parametrize("case", RFC_LEAVES)
def test_the_examples_of_rfc_8554_are_good(case):
    assert leaves(*rfc_8554(case)) == RFC_LEAVES[case]


@pytest.mark.parametrize("levels, height, width", [(1, 5, 1), (1, 5, 2), (1, 5, 4), (1, 5, 8), (2, 5, 4), (3, 5, 2)])
def test_signatures_of_pyhsslms_are_good(levels, height, width):
    private = foreign(levels, height, width)
    key = private.publicKey().serialize()
    for n in range(3):
        message = bytes([n]) * n
        signature = private.sign(message)
        assert leaves(key, message, signature) == (0,) * (levels - 1) + (n,)
        assert leaves(key, message + b"\0", signature) is None


def test_trees_of_another_height():
    assert leaves(*signed(2, 10, 2, MESSAGE)) == (0, 0)


def test_the_last_leaf_of_a_tree_and_the_first_of_the_next():
    private = foreign(2, 5, 4)
    key = private.publicKey().serialize()
    made = [leaves(key, MESSAGE, private.sign(MESSAGE)) for _ in range(34)]
    assert made == [(0, n) for n in range(32)] + [(1, 0), (1, 1)]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_message_may_come_in_chunks_of_any_size(size):
    key, message, signature = rfc_8554(2)
    chunks = (memoryview(message)[at : at + size] for at in range(0, len(message), size))
    assert verify(key, io.BytesIO(signature), chunks) == RFC_LEAVES[2]


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def test_a_bit_flipped_anywhere_in_the_signature_makes_it_bad():
    key, message, signature = signed(2, 5, 4, MESSAGE)
    assert leaves(key, message, signature)
    for byte in range(len(signature)):
        assert leaves(key, message, flipped(signature, 8 * byte + byte % 8)) is None, f"byte {byte}"


def test_any_bit_flipped_in_the_key_or_the_message_makes_it_bad():
    key, message, signature = signed(1, 5, 4, MESSAGE)
    for bit in range(8 * len(key)):
        assert leaves(flipped(key, bit), message, signature) is None, f"bit {bit} of the key"
    for bit in range(8 * len(message)):
        assert leaves(key, flipped(message, bit), signature) is None, f"bit {bit} of the message"


def test_a_signature_cut_anywhere_or_with_more_behind_it_is_bad():
    key, message, signature = signed(2, 5, 4, MESSAGE)
    for size in range(len(signature)):
        assert leaves(key, message, signature[:size]) is None, size
    assert leaves(key, message, signature + b"\0") is None


def test_one_level_alone_of_a_signature_of_two_is_bad():
    key, message, signature = signed(2, 5, 4, MESSAGE)
    length = signature_bytes(key[4:])
    inner_key, inner = signature[4 + length : 60 + length], signature[60 + length :]
    assert leaves(b"\0\0\0\1" + inner_key, message, b"\0\0\0\0" + inner) == (0,)
    assert leaves(b"\0\0\0\1" + key[4:], message, b"\0\0\0\0" + inner) is None
    assert leaves(key, message, b"\0\0\0\0" + inner) is None


def test_types_that_are_not_known_are_bad():
    key, message, signature = signed(1, 5, 8, MESSAGE)
    known = {(5, 4)}
    for lms, ots in itertools.product(range(12), range(7)):
        other = key[:4] + bytes((0, 0, 0, lms, 0, 0, 0, ots)) + key[12:]
        assert (leaves(other, message, signature) is not None) == ((lms, ots) in known)
        assert (signature_bytes(other[4:]) > 0) == (5 <= lms <= 9 and 1 <= ots <= 4)


def test_a_key_of_another_length_or_of_too_many_levels_is_bad():
    key, message, signature = signed(1, 5, 8, MESSAGE)
    for other in (b"", key[:-1], key + b"\0", b"\0" * 4 + key[4:], (MOST_LEVELS + 1).to_bytes(4, "big") + key[4:]):
        assert leaves(other, message, signature) is None


def test_a_signature_of_another_key_of_the_same_kind_is_bad():
    key, message, _ = signed(2, 5, 4, MESSAGE)
    assert leaves(key, message, signed(2, 5, 4, message)[2]) is None

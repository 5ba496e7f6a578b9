"""The key slot on raw NOR flash: whatever the moment of a power cut, one slot is whole and no older key is left."""

import disk
import pytest
import second_reader
import story
from cellwarden.blackbox import keys as K
from cellwarden.blackbox.chain import Chain
from cellwarden.blackbox.keys import FlashKeys, Slot


class PowerCut(BaseException):
    pass


class Nor:
    """Bits go from 1 to 0 alone, until their block is erased. cut: the operation that is done in part, share of it."""

    def __init__(self, blocks=3, block_bytes=1024, image=None, cut=None, share=0.5):
        self.blocks, self.block_bytes, self.cut, self.share = blocks, block_bytes, cut, share
        self.image = bytearray(b"\xff" * (blocks * block_bytes)) if image is None else bytearray(image)
        self.operations, self.erases = 0, [0] * blocks

    def readblocks(self, block, data, offset):
        at = block * self.block_bytes + offset
        data[:] = self.image[at : at + len(data)]

    def writeblocks(self, block, data, offset):
        at = block * self.block_bytes + offset
        for i in range(self._part(len(data))):
            self.image[at + i] &= data[i]
        self._done()

    def ioctl(self, request, block):
        if request == 6:
            size, at = self._part(self.block_bytes), block * self.block_bytes
            self.image[at : at + size] = b"\xff" * size
            self.erases[block] += 1
            self._done()
        return {4: self.blocks, 5: self.block_bytes}.get(request, 0)

    def _part(self, size):
        return int(size * self.share) if self.operations == self.cut else size

    def _done(self):
        if self.operations == self.cut:
            raise PowerCut
        self.operations += 1


def slot(n):
    """The n-th slot that a box stores: not stored and stored by turns."""
    index, stored = (n + 1) // 2, (n + 1) % 2
    key = second_reader.sha256(b"key", bytes([n]))
    after = second_reader.sha256(b"after", bytes([n])) if stored else bytes(32)
    return Slot(index, 1, n, 1, K.NONE, stored, key, after, bytes([n]) * 32, bytes(32), bytes(32))


def keys_in(image, upto):
    """Numbers of the slots any of whose keys stands in the flash."""
    secrets = {n: [key for key in (slot(n).key, slot(n).after) if any(key)] for n in range(upto)}
    return [n for n, some in secrets.items() if any(key in image for key in some)]


def provisioned(**options):
    flash = Nor(**options)
    FlashKeys(flash).provision(story.FIRST_KEY)
    flash.operations = 0
    return flash


def test_what_is_stored_is_loaded_and_nothing_older_is_there():
    flash = provisioned()
    keys = FlashKeys(flash)
    assert keys.load().key == story.FIRST_KEY
    for n in range(200):
        keys.store(slot(n))
        assert story.FIRST_KEY not in flash.image
        assert keys_in(flash.image, n + 1) == [n], "an older key is still there"
        assert FlashKeys(flash).load() == slot(n)
    assert max(flash.erases) - min(flash.erases) <= 1 and sum(flash.erases) <= 3 + 200 // 4 + 1


@pytest.mark.long(but=["0.5"])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.5, 0.99, 1])
def test_the_power_goes_at_any_operation(share):
    whole, count, points = provisioned(), 40, 0
    keys = FlashKeys(whole)
    keys.load()
    for n in range(count):
        keys.store(slot(n))
    for cut in range(whole.operations):
        flash, stored = provisioned(), -1
        flash.cut, flash.share = cut, share
        keys = FlashKeys(flash)
        keys.load()
        with pytest.raises(PowerCut):
            for n in range(count):
                keys.store(slot(n))
                stored = n
        for cut_again in (None, 0, 1):  # the start that clears up may be cut, too
            again = Nor(image=flash.image, cut=cut_again, share=share)
            try:
                FlashKeys(again).load()
            except PowerCut:
                pass
            keys = FlashKeys(Nor(image=again.image))
            found = keys.load()
            known = [story.FIRST_KEY] if stored < 0 else [slot(stored).key]
            assert found.key in [*known, slot(stored + 1).key], "the key is gone, or an old one is back"
            n = stored if found.key in known else stored + 1
            assert keys_in(keys._flash.image, count) == ([n] if n >= 0 else [])
            for later in range(n + 1, n + 12):
                keys.store(slot(later))
                assert keys_in(keys._flash.image, count + 12) == [later]
            points += 1
    print(f"\n{points} cuts")


def test_a_new_box_is_provisioned_once_and_a_flash_without_a_key_is_told():
    flash = Nor()
    with pytest.raises(ValueError, match="no key"):
        FlashKeys(flash).load()
    with pytest.raises(ValueError, match="31 bytes"):
        FlashKeys(flash).provision(bytes(31))
    FlashKeys(flash).provision(story.FIRST_KEY)
    with pytest.raises(ValueError, match="already"):
        FlashKeys(flash).provision(story.FIRST_KEY)


def test_a_flash_that_does_not_take_what_is_written_fails():
    flash = provisioned()
    keys = FlashKeys(flash)
    keys.load()
    flash.writeblocks = lambda block, data, offset: None
    with pytest.raises(OSError):
        keys.store(slot(0))
    assert FlashKeys(flash).load().key == story.FIRST_KEY


def test_a_box_with_its_key_on_flash_forgets_what_sealed_its_past(on, verified):
    there, flash = disk.Disk(), Nor(4, 4096)
    FlashKeys(flash).provision(story.FIRST_KEY)
    for boot in range(3):
        chain = Chain(on(there), FlashKeys(flash), story.VEHICLE, story.IMAGE, boot, 1 << 20, 2000)
        story.live(chain, 9, shutdown=boot == 2)
        old = [second_reader.chain_key(story.FIRST_KEY, n) for n in range(chain.index + 1)]
        old += [second_reader.sha256(b"cellwarden seal key 1", key) for key in old[:-1]]
        assert not [key for key in old if key in flash.image]
    files = {name: bytes(file.data) for name, file in there.names.items()}
    assert not [name for name in files if name.startswith("key")]
    seen = verified(files)
    assert seen.intact and seen.complete and "shutdown" in seen.tail

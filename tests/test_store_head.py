import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.faults import StoreIOError
from gateway.store.head import SLOT_BYTES, Head, HeadFile, decode_slot, encode_slot

OLDER = Head("0011223344556677", {"urgent": 3, "live": 600})
NEWER = Head("0011223344556677", {"urgent": 4, "live": 640}, 12, "AB" * 32)


def remembered(path: Path) -> Head | None:
    file = HeadFile(path)
    file.close()
    return file.remembered


def write(path: Path, *heads: Head) -> None:
    file = HeadFile(path)
    for head in heads:
        file.write(head)
    file.close()


def test_what_was_written_last_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "head"

    assert remembered(path) is None
    write(path, NEWER, OLDER)
    assert remembered(path) == OLDER
    write(path, NEWER)
    assert remembered(path) == NEWER


def test_a_head_of_the_time_before_the_journal_is_understood() -> None:
    text = b'{"counter": 3, "epoch": "0011223344556677", "last": {"live": 600, "urgent": 3}}'
    slot = b"%08x %s\n" % (zlib.crc32(text), text)

    assert decode_slot(slot.ljust(SLOT_BYTES, b" ")) == (3, OLDER)


@pytest.mark.parametrize("length", [0, 1, 40, 90, SLOT_BYTES])
@pytest.mark.parametrize("slot", [0, 1])
def test_a_torn_slot_leaves_the_other(tmp_path: Path, slot: int, length: int) -> None:
    """A cut while one slot is overwritten: its beginning is new, its end is rubbish."""
    path = tmp_path / "head"
    write(path, OLDER, NEWER)  # counter 1 in slot 1, counter 2 in slot 0
    content = bytearray(path.read_bytes())
    content[slot * SLOT_BYTES : slot * SLOT_BYTES + length] = b"\xff" * length
    path.write_bytes(content)

    untouched = NEWER if slot == 1 else OLDER
    assert remembered(path) == (NEWER if length == 0 else untouched)


def test_the_file_never_grows_so_a_full_disk_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "head"
    write(path)
    size = path.stat().st_blocks

    write(path, *[OLDER, NEWER] * 5)

    assert path.stat().st_size == 2 * SLOT_BYTES
    assert path.stat().st_blocks == size


def test_a_head_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreIOError, match="nowhere/head: No such file or directory; check"):
        HeadFile(tmp_path / "nowhere" / "head")


@given(st.binary(max_size=200))
def test_rubbish_is_no_head(rubbish: bytes) -> None:
    assert decode_slot(rubbish.ljust(SLOT_BYTES, b" ")) is None


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_never_passes_for_the_truth(position: int, flip: int) -> None:
    slot = bytearray(encode_slot(NEWER, 7))
    slot[position % len(bytes(slot).rstrip())] ^= flip

    assert decode_slot(bytes(slot)) in (None, (7, NEWER))

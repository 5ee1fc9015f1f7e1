"""A disk that is full: what goes forward is refused, the ways back to safety are recorded from the reserve and go out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.release_parts import FRAUD, Bench, bench
from tests.unit.test_audit_log import need_root

from mlrelease_tui.audit.verify import verify
from mlrelease_tui.domain.intents import HoldRollout, PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.plan import OutcomeKind, Refusal
from mlrelease_tui.domain.rollout import weights_of

RESERVE_BYTES = 64 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    need_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as filler, pytest.raises(OSError, match="space"):
        while True:
            filler.write(b"x" * 512)


async def seated(disk: Path, seed: int = 1, seat: Bench | None = None) -> Bench:
    """An operator at the start of a session, before the world of `seat`."""
    made = bench(
        disk / "audit", reserve_bytes=RESERVE_BYTES, armed=False, seed=seed, backend=seat.backend if seat else None
    )
    await made.desk.ready()
    return made


async def test_a_way_back_goes_out_on_a_full_disk_and_all_of_it_is_recorded(disk: Path) -> None:
    seat = await seated(disk)
    fill(disk)
    assert await seat.desk.arm(5) is None
    outcome = await seat.submitted(await seat.planned(RollBack(FRAUD, "2")), why="errors doubled")
    assert outcome.kind is OutcomeKind.APPLIED
    assert "could not be recorded" not in outcome.message
    assert weights_of(seat.endpoint) == {"v2": 10_000}
    assert seat.kinds() == ["intent", *["sent", "step"] * 3, "outcome"]
    assert verify(disk / "audit").ok


@pytest.mark.parametrize("intent", [SetWeight(FRAUD, 2500), PromoteVersion(FRAUD)], ids=lambda intent: intent.verb)
async def test_what_goes_forward_is_refused_and_leaves_the_way_back_open(
    disk: Path, intent: SetWeight | PromoteVersion
) -> None:
    seat = await seated(disk)
    fill(disk)
    assert await seat.desk.arm(5) is None
    refusal = await seat.desk.submit(await seat.planned(intent), why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "not_durable"
    assert seat.backend.written == []
    fill(disk)  # whoever filled it takes whatever was let go
    again = await seated(disk, 2, seat)
    assert again.store.state.access.locked == ""
    assert await again.desk.arm(5) is None
    assert (await again.submitted(await again.planned(SetWeight(FRAUD, 500)), why="less")).kind is OutcomeKind.APPLIED
    assert (await again.submitted(await again.planned(HoldRollout(FRAUD)), why="stay")).kind is OutcomeKind.APPLIED
    assert verify(disk / "audit").ok


async def test_with_room_again_the_whole_reserve_is_back_before_anything_goes_forward(disk: Path) -> None:
    seat = await seated(disk)
    fill(disk)
    assert await seat.desk.arm(5) is None
    (reserve,) = (disk / "audit").rglob("reserve")
    assert 0 < reserve.stat().st_size < RESERVE_BYTES
    (disk / "filler").unlink()
    assert (await seat.submitted(await seat.planned(SetWeight(FRAUD, 2500)))).kind is OutcomeKind.APPLIED
    assert reserve.stat().st_size == RESERVE_BYTES

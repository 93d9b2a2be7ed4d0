"""Groups of items: one leads, all end together, and a failure has a successor."""

from __future__ import annotations

import pytest
import trio

from imagen._system.groups import Groups


async def test_items_that_come_meanwhile_are_one_group(autojump_clock):
    seen: list[list[int]] = []
    ended: list[float] = []

    async def process(items):
        seen.append(list(items))
        await trio.sleep(1)

    groups = Groups(process, seconds=30)

    async def join(number, after):
        await trio.sleep(after)
        assert await groups.join(number)
        ended.append(trio.current_time() - began)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number, after in enumerate([0, 0.1, 0.5, 0.9, 1.5]):
            nursery.start_soon(join, number, after)
    assert seen == [[0], [1, 2, 3], [4]]
    assert [round(moment, 3) for moment in ended] == [1, 2, 2, 2, 3]


async def test_a_full_group_does_not_wait_for_what_comes_after_it(autojump_clock):
    seen: list[list[int]] = []
    ended: dict[int, float] = {}

    async def process(items):
        seen.append(list(items))
        await trio.sleep(1)

    groups = Groups(process, seconds=30, most=2)

    async def join(number):
        await trio.sleep(number / 10)
        assert await groups.join(number)
        ended[number] = trio.current_time() - began

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(join, number)
    assert seen == [[0], [1, 2], [3, 4], [5]]
    assert [round(ended[number]) for number in range(6)] == [1, 2, 2, 3, 3, 4]


async def test_a_cancellation_waits_for_the_group(autojump_clock):
    done: list[int] = []

    async def process(items):
        await trio.sleep(1)
        done.extend(items)

    groups = Groups(process, seconds=30)

    async def join(number):
        with trio.move_on_after(0.5) as scope:
            assert await groups.join(number)
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert number in done

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(join, number)
    assert sorted(done) == [0, 1, 2]


async def test_a_group_whose_turn_does_not_come_is_never_processed(autojump_clock):
    seen: list[str] = []

    async def process(items):
        seen.extend(items)
        if "stuck" in items:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)

    groups = Groups(process, seconds=3)
    ended: dict[str, tuple[bool, float]] = {}
    began = trio.current_time()

    async def join(name, after):
        await trio.sleep(after)
        done = await groups.join(name)
        ended[name] = (done, round(trio.current_time() - began, 3))

    async with trio.open_nursery() as nursery:
        for name, after in [("stuck", 0), ("late", 1), ("later", 2), ("next", 8)]:
            nursery.start_soon(join, name, after)
    assert ended["late"] == ended["later"] == (False, 4)
    assert ended["next"] == (True, 10)
    assert seen == ["stuck", "next"]


async def test_a_failure_ends_its_group_and_the_next_one_goes_on(autojump_clock):
    async def process(items):
        await trio.sleep(1)
        if "bad" in items:
            raise ValueError("bad")

    groups = Groups(process, seconds=30)
    ended: dict[str, bool] = {}

    async def lead():
        with pytest.raises(ValueError, match="bad"):
            await groups.join("bad")

    async def join(name, after):
        await trio.sleep(after)
        ended[name] = await groups.join(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, "before", 0)
        await trio.sleep(0.1)
        nursery.start_soon(lead)
        nursery.start_soon(join, "beside", 0.2)
        nursery.start_soon(join, "after", 1.5)
    assert ended == {"before": True, "beside": False, "after": True}

"""A process that spends money is killed at each step of its journal; `python -m
benchmarks.crash` does it hundreds of times.
"""

from __future__ import annotations

import pytest

from benchmarks.crash import Plan, between_images, one_of_each, run_once

PLANS = [*one_of_each(seed=1), *between_images()]


@pytest.mark.parametrize(
    "plan", PLANS, ids=[f"{plan.death}, then {plan.second_death}" for plan in PLANS]
)
async def test_a_kill_loses_nothing_and_pays_nothing_twice(plan: Plan):
    report = await run_once(plan)
    assert report.wrong == []
    assert report.killed == 1
    assert report.billed_twice == 0

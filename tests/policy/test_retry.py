"""What is sent again: never what may have been billed, and no more than the
policy says.
"""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._policy.retry import RetryAllowance, retry_attempts, retry_steps
from tests.support.scripted_client import FakeProvider, error_reply, images_reply, open_test_client

POLICY = imagen.RetryPolicy(attempts=3, total_seconds=60.0)
FREE = imagen.ProviderError("Try later.", retryable=True)


async def tries(attempts, errors: list[Exception | None]) -> int:
    """How many tries were made; the n-th one raises the n-th error."""
    made = 0
    async for attempt in attempts:
        with attempt:
            error = errors[made]
            made += 1
            if error is not None:
                raise error
            return made
    raise AssertionError("the loop ended without a result")


async def test_a_first_success_is_the_only_try(autojump_clock):
    assert await tries(retry_attempts(POLICY), [None]) == 1
    assert trio.current_time() == 0


async def test_what_costs_nothing_is_tried_again_up_to_the_bound(autojump_clock):
    assert await tries(retry_attempts(POLICY), [FREE, FREE, None]) == 3
    assert trio.current_time() > 0.5
    with pytest.raises(imagen.ProviderError) as caught:
        await tries(retry_attempts(POLICY), [FREE] * 4)
    assert caught.value is FREE


@pytest.mark.parametrize(
    "error",
    [
        imagen.OutcomeUnknownError("Lost."),
        imagen.ProviderError("Down, and who knows.", retryable=True, billed="unknown"),
        imagen.ContentFilterError("No."),
        imagen.QuotaExceededError("No money."),
        ValueError("a bug"),
    ],
)
async def test_what_may_be_billed_or_will_not_change_is_not_tried_again(autojump_clock, error):
    with pytest.raises(type(error)) as caught:
        await tries(retry_attempts(POLICY), [error, None])
    assert caught.value is error
    assert trio.current_time() == 0


async def test_a_wait_that_was_asked_for_is_kept_to_the_second(autojump_clock):
    busy = imagen.RateLimitError("Busy.", retry_after_seconds=7.0)
    assert await tries(retry_attempts(POLICY), [busy, busy, None]) == 3
    assert trio.current_time() == 14


async def test_a_wait_beyond_all_patience_is_not_begun(autojump_clock):
    with pytest.raises(imagen.RateLimitError):
        await tries(
            retry_attempts(POLICY), [imagen.RateLimitError("Busy.", retry_after_seconds=3600.0)]
        )
    assert trio.current_time() == 0


async def test_a_repeatable_step_is_tried_again_when_its_answer_is_lost(autojump_clock):
    assert await tries(retry_steps(POLICY), [imagen.OutcomeUnknownError("Lost."), None]) == 2


async def test_every_try_is_an_attempt_in_the_ledger(autojump_clock):
    replies = iter(
        [error_reply(429, {"error": {"message": "Please try again in 2s."}}), images_reply()]
    )
    async with open_test_client(lambda request: next(replies)) as (client, _):
        await client.generate("a cat")
        attempts = (await client.spending()).attempts
        assert (attempts.failed, attempts.succeeded) == (1, 1)
    assert trio.current_time() == 2


async def test_a_cancelled_wait_sends_nothing_more(autojump_clock):
    async with open_test_client(FakeProvider(faults=("busy",) * 50)) as (client, transport):
        with trio.move_on_after(1):
            await client.generate("a cat")
        sent = len(transport.requests)
        await trio.sleep(100)
        assert len(transport.requests) == sent


async def test_an_empty_allowance_ends_the_loop_at_once_with_the_error_itself(autojump_clock):
    allowance = RetryAllowance(most=1.0, per_request=0.0)
    assert await tries(retry_attempts(POLICY, allowance), [FREE, None]) == 2
    waited = trio.current_time()
    with pytest.raises(imagen.ProviderError) as caught:
        await tries(retry_attempts(POLICY, allowance), [FREE, None])
    assert caught.value is FREE
    assert trio.current_time() == waited


async def test_an_allowance_that_runs_out_in_the_middle_ends_the_loop_there(autojump_clock):
    allowance = RetryAllowance(most=1.0, per_request=0.0)
    last = imagen.ProviderError("Still down.", retryable=True)
    with pytest.raises(imagen.ProviderError) as caught:
        await tries(retry_attempts(POLICY, allowance), [FREE, last, None])
    assert caught.value is last


async def test_only_retries_are_taken_from_the_allowance(autojump_clock):
    allowance = RetryAllowance(most=3.0, per_request=0.0)
    with pytest.raises(imagen.ProviderError):
        await tries(retry_attempts(POLICY, allowance), [FREE] * 3)
    assert [allowance.withdraw(), allowance.withdraw()] == [True, False]


async def test_errors_that_are_not_tried_again_take_nothing(autojump_clock):
    allowance = RetryAllowance(most=1.0, per_request=0.0)
    for error in (
        imagen.OutcomeUnknownError("Lost."),
        imagen.RateLimitError("Busy.", retry_after_seconds=3600.0),
    ):
        with pytest.raises(imagen.ImagenError):
            await tries(retry_attempts(POLICY, allowance), [error])
    assert allowance.withdraw()


async def test_a_storm_of_failures_is_no_storm_of_retries(autojump_clock):
    allowance = RetryAllowance()
    made = 0

    async def one() -> None:
        nonlocal made
        with pytest.raises(imagen.ProviderError):
            async for attempt in retry_attempts(POLICY, allowance):
                with attempt:
                    made += 1
                    raise FREE

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(one)
    assert 110 <= made <= 120


@given(most=st.integers(1, 20), moves=st.lists(st.booleans(), max_size=200))
@settings(deadline=None)
def test_an_allowance_gives_a_tenth_of_what_comes_in_and_never_more_than_it_holds(most, moves):
    allowance = RetryAllowance(most=most, per_request=0.1)
    tenths = 10 * most
    for deposit in moves:
        if deposit:
            allowance.deposit()
            tenths = min(10 * most, tenths + 1)
        else:
            assert allowance.withdraw() is (tenths >= 10)
            tenths -= 10 if tenths >= 10 else 0

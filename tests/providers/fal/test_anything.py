"""Whatever fal.ai answers, it ends in images or in an error of ours."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.providers import HttpResponse, LostImage, WithheldImage
from tests.support.exchanges import Walk
from tests.support.lengths import examples
from tests.support.providers.fal import (
    COMPLETED,
    FAILED,
    RESULT,
    SUBMITTED,
    model_error,
    platform_error,
    walk,
)
from tests.support.reply_strategies import headers, mutated, statuses, wrong_fields

SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(SUBMITTED.body),
    {"status": "IN_PROGRESS", "logs": [{"message": "12%"}]},
    json.loads(FAILED.body),
    json.loads(RESULT.body),
    model_error("content_policy_violation"),
    platform_error("runner_server_error"),
)
bodies = st.one_of(
    st.binary(max_size=100),
    wrong_fields(SAMPLES),
    mutated(tuple(json.dumps(sample).encode() for sample in SAMPLES)),
    st.sampled_from([json.dumps(sample).encode() for sample in SAMPLES]),
    st.integers(1, 100_000).map(lambda depth: b'{"detail":' + b"[" * depth),
)
units = st.text(max_size=10).map(lambda text: {"x-fal-billable-units": text})
answers = st.builds(
    lambda status, body, more, counted: HttpResponse(
        status=status, headers={**more, **counted}, body=body
    ),
    statuses,
    bodies,
    headers,
    units,
)


def ends_well(walked: Walk) -> None:
    """Images or an ImagenError: another exception comes out of here."""
    try:
        result = walked.run()
    except imagen.ImagenError as error:
        assert error.message
        assert all(isinstance(value, str) for value in error.details.values())
        return
    assert result.images
    assert all(
        isinstance(image, WithheldImage | LostImage) or isinstance(image.data, bytes)
        for image in result.images
    )
    assert result.units is None or 0 <= result.units <= 10**6


@given(given_answers=st.lists(answers, min_size=1, max_size=6))
@settings(max_examples=examples(500), deadline=None)
def test_any_answers_end_in_an_image_or_an_error_of_ours(given_answers):
    ends_well(walk(*given_answers, *[given_answers[-1]] * 40, settings={"poll_seconds": 600.0}))


@given(given_answers=st.lists(answers, min_size=1, max_size=6))
@settings(max_examples=examples(500), deadline=None)
def test_any_answers_to_a_job_that_was_taken_end_well_too(given_answers):
    ends_well(
        walk(SUBMITTED, *given_answers, *[given_answers[-1]] * 40, settings={"poll_seconds": 600.0})
    )


@given(result=answers)
@settings(max_examples=examples(500), deadline=None)
def test_any_result_ends_well_too(result):
    ends_well(walk(SUBMITTED, COMPLETED, *[result] * 40))

"""What a Midjourney server is sent: prompts with their flags, orders, buttons,
and what is refused before anything is sent.
"""

from __future__ import annotations

from typing import Any

import pytest

import imagen
from imagen import Adjustment
from imagen.providers import Cancellable, HttpRequest, JobAccepted, Wait
from imagen.providers.midjourney import _adapter as midjourney
from tests.support.exchanges import IMAGE, Walk, call, mask_image, reply
from tests.support.providers.midjourney import BUTTONS, DONE, FILE, IMAGE_INPUT, TAKEN, TASK

DATA_URL = "data:image/png;base64,"


def generated(
    prompt: str = "a cat", **fields: Any
) -> tuple[Walk, imagen.providers.GeneratedImages]:
    walk = Walk(midjourney.generate(call("midjourney", prompt=prompt, **fields)), TAKEN, DONE, FILE)
    return walk, walk.run()


@pytest.mark.parametrize(
    ("prompt", "fields", "sent"),
    [
        ("a cat", {}, "a cat"),
        ("a\ncat ", {"seed": 0}, "a cat --seed 0"),
        ("a cat", {"aspect_ratio": "2:3", "quality": "low"}, "a cat --ar 2:3 --q 0.5"),
        ("a cat", {"negative_prompt": "dogs, hats"}, "a cat --no dogs, hats"),
        (
            "a cat",
            {"options": {"chaos": 10, "tile": True, "raw": False, "style": None}},
            "a cat --chaos 10 --tile",
        ),
        ("a cat --seed 9", {"seed": 5}, "a cat --seed 9"),
        ("a well-known cat -- really", {"seed": 5}, "a well-known cat -- really --seed 5"),
    ],
)
def test_parameters_are_flags_of_the_prompt(prompt, fields, sent):
    walk, result = generated(prompt, **fields)
    assert walk.body == {"prompt": sent}
    assert not result.adjustments


@pytest.mark.parametrize(
    ("prompt", "fields", "sent", "field"),
    [
        ("x --aspect 1:1", {"aspect_ratio": "16:9"}, "x --aspect 1:1", "aspect_ratio"),
        ("x --no hats", {"negative_prompt": "dogs"}, "x --no hats", "negative_prompt"),
        ("x —ar 1:1", {"aspect_ratio": "16:9"}, "x —ar 1:1", "aspect_ratio"),
        ("x --quality 1", {"quality": "high"}, "x --quality 1", "quality"),
        ("x --s 5", {"options": {"stylize": 10}}, "x --s 5", "options.stylize"),
    ],
)
def test_what_the_caller_wrote_counts_and_is_not_written_again(prompt, fields, sent, field):
    walk, result = generated(prompt, **fields)
    assert walk.body == {"prompt": sent}
    assert [made.field for made in result.adjustments] == [field]
    with pytest.raises(imagen.InvalidRequestError, match="one thing"):
        generated(prompt, strict=True, **fields)


@pytest.mark.parametrize(
    ("prompt", "seed", "told"), [("x", 7, 7), ("x --seed 9", 7, 9), ("x", None, None)]
)
def test_the_image_says_the_seed_that_counted(prompt, seed, told):
    _, result = generated(prompt, seed=seed)
    assert [image.seed for image in result.images] == [told]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt": "x --repeat 4"}, "--repeat"),
        ({"prompt": "x --r 4"}, "--repeat"),
        ({"options": {"repeat": 4}}, "--repeat"),
        ({"seed": 2**32}, "between 0 and 4294967295"),
        ({"seed": -1}, "between 0 and"),
        ({"negative_prompt": "dogs --repeat 9"}, "without flags"),
        ({"options": {"style": "--raw"}}, "without flags"),
        ({"options": {"stylize": [1]}}, "without flags"),
        ({"options": {"prompt": "y"}}, "options may not hold prompt"),
        ({"options": {"ar": "1:1"}}, "options may not hold ar"),
        ({"options": {"taskId": "1"}}, "options may not hold taskId"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(fields, sentence):
    walk = Walk(midjourney.generate(call("midjourney", **fields)))
    error = walk.fail()
    assert isinstance(error, imagen.InvalidRequestError)
    assert sentence in error.message
    assert not walk.requests


def test_a_task_is_announced_before_it_is_asked_for_and_can_be_cancelled():
    walk, result = generated()
    url = f"mj/task/{TASK}"
    order, accepted, cancellable, wait, poll, download = (
        step for step in walk.steps if not isinstance(step, imagen.providers.Compute)
    )
    assert isinstance(order, HttpRequest)
    assert (order.method, order.url, order.repeatable) == ("POST", "mj/submit/imagine", False)
    assert accepted == JobAccepted(job_id=TASK, poll_url=f"{url}/fetch")
    assert cancellable == Cancellable(
        request=HttpRequest(method="POST", url=f"{url}/cancel"), stops_bill=False
    )
    assert wait == Wait(seconds=3.0, job_id=TASK)
    assert poll == HttpRequest(method="GET", url=f"{url}/fetch", repeatable=True)
    assert download == HttpRequest(
        method="GET", url="https://cdn.example/a.png", repeatable=True, collects=True
    )
    # These bytes are no grid, so they are handed over as they came.
    assert result.images == (imagen.providers.GeneratedImage(data=IMAGE, provider_id=TASK),)
    assert result.reported_cost_usd is None


def test_an_id_is_no_part_of_the_path_that_it_stands_in():
    taken = reply({"code": 22, "description": "queued behind 3", "result": "../../a b?c"})
    walk = Walk(midjourney.generate(call("midjourney")), taken, DONE, FILE)
    walk.run()
    assert walk.requests[1].url == "mj/task/..%2F..%2Fa%20b%3Fc/fetch"
    assert imagen.providers.Progress(note="queued behind 3") in walk.steps


def test_references_go_along_as_data_urls():
    walk = Walk(
        midjourney.generate(call("midjourney", references=(IMAGE_INPUT,) * 2)), TAKEN, DONE, FILE
    )
    walk.run()
    assert [text.startswith(DATA_URL) for text in walk.body["base64Array"]] == [True, True]


def test_a_variation_of_any_image():
    request = imagen.Vary(image=b"", prompt="bluer", strength=0.25)
    walk = Walk(
        midjourney.vary(call("midjourney", request=request, images=(IMAGE_INPUT,))),
        TAKEN,
        DONE,
        FILE,
    )
    walk.run()
    assert walk.body["prompt"] == "bluer --iw 2.25"
    assert len(walk.body["base64Array"]) == 1


@pytest.mark.parametrize(
    ("buttons", "route", "body"),
    [
        (
            BUTTONS,
            "action",
            {"taskId": "5", "customId": "MJ::JOB::variation::2::uuid", "state": "s"},
        ),
        (BUTTONS[:3], "change", {"taskId": "5", "action": "VARIATION", "index": 2, "state": "s"}),
        ({"odd": 1}, "change", {"taskId": "5", "action": "VARIATION", "index": 2, "state": "s"}),
    ],
)
def test_a_variation_of_a_grid(buttons, route, body):
    parent = reply({"status": "SUCCESS", "buttons": buttons})
    request = imagen.Vary(
        image=b"",
        aspect_ratio="1:1",
        options={"task_id": "5", "index": 2, "state": "s"},
        strength=0.5,
    )
    walk = Walk(
        midjourney.vary(call("midjourney", request=request, images=(IMAGE_INPUT,))),
        parent,
        TAKEN,
        DONE,
        FILE,
    )
    result = walk.run()
    assert [walk.requests[0].url, walk.requests[1].url] == ["mj/task/5/fetch", f"mj/submit/{route}"]
    assert walk.body == body
    assert {made.field for made in result.adjustments} == {"aspect_ratio", "strength"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "task_id"),
        ({"index": 1}, "task_id"),
        ({"task_id": 5, "index": 1}, "as a text"),
        ({"task_id": "5", "index": 5}, "1, 2, 3 or 4"),
        ({"task_id": "5", "index": True}, "1, 2, 3 or 4"),
        ({"task_id": "5"}, "or a mode"),
    ],
)
def test_an_enhancement_needs_to_know_of_what(options, sentence):
    request = imagen.Enhance(image=b"", options=options)
    walk = Walk(midjourney.enhance(call("midjourney", request=request, images=(IMAGE_INPUT,))))
    assert sentence in walk.fail().message
    assert not walk.requests


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(b"", 204), imagen.InvalidRequestError),
        (reply(b"null"), imagen.InvalidRequestError),
        (reply({"status": "FAILURE"}), imagen.InvalidRequestError),
        (reply({"status": "IN_PROGRESS"}), imagen.InvalidRequestError),
        (reply({}, 401), imagen.AuthenticationError),
        (reply({}, 404), imagen.InvalidRequestError),
    ],
)
def test_an_earlier_task_must_be_there_and_have_ended(answer, kind):
    request = imagen.Enhance(image=b"", options={"task_id": "5", "index": 1})
    walk = Walk(
        midjourney.enhance(call("midjourney", request=request, images=(IMAGE_INPUT,))), answer
    )
    error = walk.fail()
    assert type(error) is kind
    assert error.billed == "no"
    assert len(walk.requests) == 1


def test_an_edit_sends_its_mask_when_the_editor_asks_for_it():
    waits = reply({"status": "MODAL"})
    again = reply({"code": 1, "result": "6"})
    request = imagen.Edit(prompt="a hat", images=(b"",), mask=b"")
    walk = Walk(
        midjourney.edit(
            call("midjourney", request=request, images=(IMAGE_INPUT,), mask=mask_image())
        ),
        *(TAKEN, waits, again, waits, DONE, FILE),
    )
    result = walk.run()
    first, second = (request for request in walk.requests if request.method == "POST")
    assert (first.url, second.url) == ("mj/submit/edits", "mj/submit/modal")
    assert walk.body["taskId"] == TASK
    assert walk.body["prompt"] == "a hat"
    assert walk.body["maskBase64"].startswith(DATA_URL)
    assert walk.requests[-2].url == "mj/task/6/fetch"
    assert [step.job_id for step in walk.steps if isinstance(step, JobAccepted)] == [TASK, "6"]
    assert not result.adjustments


def test_an_edit_that_was_made_without_its_mask_says_so():
    request = imagen.Edit(prompt="a hat", images=(b"",), mask=b"")
    walk = Walk(
        midjourney.edit(
            call("midjourney", request=request, images=(IMAGE_INPUT,), mask=mask_image())
        ),
        *(TAKEN, DONE, FILE),
    )
    (made,) = walk.run().adjustments
    assert isinstance(made, Adjustment)
    assert (made.field, made.sent) == ("mask", None)


def test_a_restyling_with_a_style_of_its_own_is_refused():
    request = imagen.Restyle(image=b"", reference=b"", prompt="x --sref 123")
    walk = Walk(
        midjourney.restyle(
            call("midjourney", request=request, images=(IMAGE_INPUT,), references=(IMAGE_INPUT,))
        )
    )
    assert "--sref" in walk.fail().message
    assert not walk.requests


@pytest.mark.parametrize("result", [None, [], [5], "", "data:x", {"url": "x"}, ["https://a b"]])
def test_a_reference_that_lies_nowhere_costs_nothing(result):
    request = imagen.Restyle(image=b"", reference=b"")
    walk = Walk(
        midjourney.restyle(
            call("midjourney", request=request, images=(IMAGE_INPUT,), references=(IMAGE_INPUT,))
        ),
        reply({"code": 1, "result": result}),
    )
    assert walk.fail().billed == "no"
    assert walk.requests[0].repeatable


def test_a_variation_of_a_grid_needs_its_place():
    request = imagen.Vary(image=b"", options={"task_id": "5"})
    walk = Walk(midjourney.vary(call("midjourney", request=request, images=(IMAGE_INPUT,))))
    assert "`index`" in walk.fail().message
    assert not walk.requests


def test_a_variation_without_a_strength_leaves_the_weight_to_midjourney():
    request = imagen.Vary(image=b"", prompt="bluer")
    walk = Walk(
        midjourney.vary(call("midjourney", request=request, images=(IMAGE_INPUT,))),
        TAKEN,
        DONE,
        FILE,
    )
    walk.run()
    assert walk.body["prompt"] == "bluer"


def test_an_edit_without_a_mask_answers_the_editor_with_the_words_alone():
    request = imagen.Edit(prompt="a hat", images=(b"",))
    walk = Walk(
        midjourney.edit(call("midjourney", request=request, images=(IMAGE_INPUT,))),
        *(TAKEN, reply({"status": "MODAL"}), TAKEN, DONE, FILE),
    )
    walk.run()
    assert walk.body == {"taskId": TASK, "prompt": "a hat"}


@pytest.mark.parametrize(
    ("way", "sent", "lost"), [("imagine", " --iw 0.75", []), ("retexture", "", ["strength"])]
)
def test_how_far_a_restyling_may_go(way, sent, lost):
    request = imagen.Restyle(image=b"", reference=b"", prompt="x", strength=0.75)
    asked = call(
        "midjourney",
        request=request,
        images=(IMAGE_INPUT,),
        references=(IMAGE_INPUT,),
        settings={"restyle": way},
    )
    uploaded = reply({"code": 1, "result": ["https://cdn.example/r.png"]})
    walk = Walk(midjourney.restyle(asked), uploaded, TAKEN, DONE, FILE)
    result = walk.run()
    assert walk.body["prompt"] == f"x{sent} --sref https://cdn.example/r.png"
    assert [made.field for made in result.adjustments] == lost


def test_a_server_that_is_down_when_it_is_asked_for_an_earlier_task():
    request = imagen.Enhance(image=b"", options={"task_id": "5", "index": 1})
    walk = Walk(
        midjourney.enhance(call("midjourney", request=request, images=(IMAGE_INPUT,))),
        reply({}, 503),
    )
    error = walk.fail()
    assert (error.billed, error.retryable) == ("no", True)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(404, None, imagen.ProviderError), (200, 24, imagen.ContentFilterError)],
)
def test_a_server_that_takes_no_references(status, code, kind):
    request = imagen.Restyle(image=b"", reference=b"")
    asked = call("midjourney", request=request, images=(IMAGE_INPUT,), references=(IMAGE_INPUT,))
    error = Walk(midjourney.restyle(asked), reply({"code": code}, status)).fail()
    assert type(error) is kind
    assert error.billed == "no"

"""The sheet of a batch: cells, buttons and plain outputs, without a kernel."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

import imagen
from imagen.notebook import _display, _sheet
from imagen.testing import ScriptedTransport
from tests.support.images import PNG
from tests.support.scripted_client import REFUSED, error_reply, images_reply, make_settings


class Recorded:
    """A front end that keeps what it was given."""

    def __init__(self):
        self.states = []
        self.sentences = []

    def update(self, cell):
        if cell is not None:
            self.states.append((cell.index, cell.state))

    def say(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture
def front(monkeypatch):
    recorded = Recorded()
    monkeypatch.setattr(_sheet, "open_front", lambda sheet: recorded)
    return recorded


def open_client(home, answer):
    transport = ScriptedTransport(answer)
    return imagen.blocking.open_client(make_settings(home), transport=lambda access: transport)


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 10 s")


def test_every_request_has_a_cell_that_fills_in(front, tmp_path):
    replies = iter([images_reply(after_seconds=0.5), error_reply(400, REFUSED), images_reply()])
    with open_client(tmp_path, lambda request: next(replies)) as client:
        batch = client.open_batch("a cat", n=3, max_at_once=1, budget=imagen.Budget("1"))
        sheet = imagen.notebook.sheet(batch)
        assert [outcome.index for outcome in sheet] == [0, 1, 2]
        assert sheet.wait(10)
        assert [cell.state for cell in sheet.cells] == ["done", "failed", "done"]
        assert (0, "sent") in front.states
        status = sheet.status()
        assert (status["succeeded"], status["failed"], status["over"]) == (2, 1, True)
        assert (status["cost"], status["limit"]) == ("$0.08", "$1")
        assert len(sheet.images) == 2
        assert "No." in sheet.cells[1].sentence
        assert list(sheet) == []
        shown = sheet.html()
        assert shown.count("data:image/webp;base64,") == 2
        assert "CONTENT_FILTER" in shown


def test_texts_of_providers_are_escaped(front, tmp_path):
    refused = {"error": {"message": "<script>bad()</script>", "code": "moderation_blocked"}}
    with open_client(tmp_path, lambda request: error_reply(400, refused)) as client:
        sheet = imagen.notebook.sheet(client.open_batch("<img src=x onerror=bad()>"))
        sheet.wait(10)
        assert "<script" not in sheet.html()
        assert "<img" not in sheet.html()


def test_previews_are_shown_as_they_come(front, tmp_path):
    with open_client(tmp_path, lambda request: images_reply()) as client:
        sheet = imagen.notebook.Sheet(client.open_batch("a cat", n=1))
        request = imagen.Generate(prompt="a cat")
        about = {"attempt_id": "x", "indexes": (0,), "request": request}
        about |= {"model": "m", "provider": "p"}
        sheet._notice(imagen.AttemptSent(**about), 0)
        sheet._notice(imagen.PreviewReceived(**about, data=PNG, number=0), 0)
        (cell,) = sheet.cells
        assert cell.state == "preview"
        assert cell.thumbnail.startswith(b"RIFF")


def test_stop_keeps_what_was_sent(front, tmp_path):
    with open_client(tmp_path, lambda request: images_reply(after_seconds=0.3)) as client:
        sheet = imagen.notebook.sheet(client.open_batch("a cat", n=9, max_at_once=2))
        wait_until(lambda: len([state for _, state in front.states if state == "sent"]) == 2)
        sheet.press("stop", 0)
        assert sheet.wait(10)
        wait_until(lambda: not client.in_flight)
        assert len(client.library.list()) == 2
        assert front.sentences == [
            "Stopped: what was sent is kept in the library, the rest was not sent."
        ]
        assert client.spending().settled_usd == Decimal("0.08")


def test_one_is_dropped_and_the_others_go_on(front, tmp_path):
    with open_client(tmp_path, lambda request: images_reply(after_seconds=0.2)) as client:
        sheet = imagen.notebook.sheet(client.open_batch("a cat", n=3, max_at_once=1))
        sheet.press("drop", 2)
        assert sheet.wait(10)
        assert [cell.caption for cell in sheet.cells][2] == "DROPPED"
        assert len(sheet.images) == 2


def test_buttons_make_more_images_within_the_same_budget(front, tmp_path):
    budget = imagen.Budget("0.08")
    with open_client(tmp_path, lambda request: images_reply()) as client:
        sheet = imagen.notebook.sheet(client.open_batch("a cat", n=1, budget=budget))
        sheet.wait(10)
        sheet.press("again", 0)
        wait_until(lambda: len(sheet.outcomes) == 2)
        sheet.press("again", 0)
        wait_until(lambda: len(sheet.outcomes) == 3)
        assert [cell.state for cell in sheet.cells] == ["done", "done", "failed"]
        assert sheet.cells[2].caption == "BUDGET"
        assert budget.spent_usd == Decimal("0.08")
        assert sheet.status()["requested"] == 3


def test_stars_are_kept_in_the_library(front, tmp_path):
    with open_client(tmp_path, lambda request: images_reply()) as client:
        sheet = imagen.notebook.sheet(client.open_batch("a cat"))
        sheet.wait(10)
        sheet.press("rate", 0, 4)
        wait_until(lambda: sheet.cells[0].stars == 4)
        assert client.library.get(sheet.images[0].id).rating == 4
        assert "★★★★" in sheet.html()


def test_a_refusal_of_a_button_is_a_sentence(front, tmp_path):
    with open_client(tmp_path, lambda request: images_reply()) as client:
        sheet = imagen.notebook.sheet(client.open_batch("a cat"))
        sheet.wait(10)
        sheet.press("vary", 0)
        wait_until(lambda: len(sheet.outcomes) == 2 or front.sentences)
        sheet.press("no such button", 0)
        sheet.press("again", 99)


def test_without_widgets_each_image_is_an_output_of_its_own(monkeypatch, tmp_path):
    shown = []

    class Handle:
        def update(self, output):
            shown.append(("line", repr(output)))

    def display(output, with_id=False):
        shown.append(("new", repr(output)))
        return Handle()

    monkeypatch.setattr(_display, "_display", display)
    with open_client(tmp_path, lambda request: images_reply()) as client:
        sheet = imagen.notebook.sheet(client.open_batch("a cat", n=2))
        sheet.wait(10)
        wait_until(lambda: shown[-1] == ("line", "2 of 2, $0.08"))
    images = [text for kind, text in shown if kind == "new"][1:]
    assert sorted(text[:7] for text in images) == ["image 1", "image 2"]


def test_a_batch_of_another_kind_is_refused_with_a_sentence():
    with pytest.raises(imagen.InvalidRequestError, match=r"imagen\.blocking"):
        imagen.notebook.sheet(object())

"""The record itself: nothing of it is lost, nothing foreign gets in."""

from __future__ import annotations

import datetime
from decimal import Decimal

import msgspec
import pytest

import imagen
from imagen.metadata._record import decode_record, encode_record, request_of
from tests.support.metadata_files import make_record

INPUT = {"sha256": "cd" * 32, "media_type": "image/png", "width": 4, "height": 4}


def test_a_record_comes_back_as_it_was():
    record = make_record(
        'all of "it"\n\x00\ud7ff\ufffe 🦊',
        revised_prompt="more of it",
        seed=2**63,
        adjustments=(imagen.Adjustment(field="size", asked="1x1", sent=None, reason="too small"),),
        cost_usd=Decimal("0.0400000001"),
        cost_source="reported",
        tags=("sea", "night"),
        rating=5,
        notes="for the cover",
    )
    assert decode_record(encode_record(record)) == record


def test_a_record_of_a_later_version_is_read_without_what_it_adds():
    later = {**msgspec.to_builtins(make_record()), "format": 7, "aura": {"colour": "blue"}}
    assert decode_record(msgspec.json.encode(later)).format == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "\ud800",
        "[" * 100_000,
        '{"id": 7}',
        msgspec.json.encode({**msgspec.to_builtins(make_record()), "rating": "5"}),
        msgspec.json.encode({**msgspec.to_builtins(make_record()), "created_at": "yesterday"}),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_record_is_refused_in_a_sentence(text):
    with pytest.raises(imagen.InvalidRequestError, match="record"):
        decode_record(text)


def test_a_record_of_more_than_a_mebibyte_is_neither_written_nor_read():
    with pytest.raises(imagen.StorageError, match="1 MiB"):
        encode_record(make_record("x" * (1 << 20)))
    with pytest.raises(imagen.InvalidRequestError, match="1 MiB"):
        decode_record(b" " * (1 << 20) + msgspec.json.encode(make_record()))


def test_half_a_surrogate_is_refused_and_not_written():
    with pytest.raises(imagen.StorageError, match="invalid text"):
        encode_record(make_record(notes="\ud800"))


def test_a_request_comes_back_with_the_images_that_it_worked_on():
    edit = imagen.Edit(
        prompt="at night",
        images=(msgspec.convert(INPUT, imagen.InputImage),),
        assume_usd=Decimal("0.05"),
    )
    record = make_record(request=msgspec.to_builtins(edit), operation="edit")
    assert request_of(decode_record(encode_record(record))) == edit


@pytest.mark.parametrize(
    "request_fields",
    [
        {"operation": "vary", "image": "/etc/passwd"},
        {"operation": "edit", "images": [INPUT, "https://169.254.169.254/"]},
        {"operation": "edit", "images": [INPUT], "mask": "0123"},
        {"operation": "generate", "references": ["~/.ssh/id_rsa"]},
        {"operation": "restyle", "image": INPUT, "reference": "secret.png"},
    ],
)
def test_an_untrusted_record_uploads_no_local_files(request_fields):
    with pytest.raises(imagen.InvalidRequestError, match="names a file or a link"):
        request_of(make_record(request=request_fields))


@pytest.mark.parametrize(
    "request_fields", [{}, {"operation": "dance"}, {"operation": "generate", "steps": "many"}]
)
def test_a_request_that_this_version_does_not_know_is_refused(request_fields):
    with pytest.raises(imagen.InvalidRequestError, match="does not support"):
        request_of(make_record(request=request_fields))


def test_times_keep_their_zone():
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    record = make_record(created_at=datetime.datetime(2026, 1, 1, tzinfo=zone))
    assert decode_record(encode_record(record)).created_at == record.created_at

"""Type checkers see of the bridges what is there."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import imagen
from imagen._bridges.mirror import MIRRORED, public_members
from tests.support.bridge_stubs import stub
from tests.support.bridged_client import BRIDGES


@pytest.mark.parametrize("kind", BRIDGES)
def test_the_stub_is_current(kind):
    path = Path(imagen.__file__).with_name(f"{kind}.pyi")
    assert path.read_text("utf-8") == stub(kind), "run python -m tests.support.bridge_stubs"


@pytest.mark.parametrize("kind", BRIDGES)
@pytest.mark.parametrize("original", MIRRORED, ids=lambda one: one.__name__)
def test_every_member_is_mirrored_with_its_signature_and_document(kind, original):
    mirror = getattr(getattr(imagen, kind), original.__name__)
    for name, member in public_members(original):
        mirrored = inspect.getattr_static(mirror, name)
        if isinstance(member, property):
            assert isinstance(mirrored, property)
            assert mirrored.__doc__ == member.__doc__
            continue
        assert inspect.getdoc(mirrored) == inspect.getdoc(member)
        assert inspect.signature(mirrored) == inspect.signature(member)
        waits = inspect.iscoroutinefunction(member)
        assert inspect.iscoroutinefunction(mirrored) == (waits and kind == "aio")

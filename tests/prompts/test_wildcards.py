"""Wildcards are files of one folder, and of no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagen import InvalidRequestError
from imagen.prompts import Template, read_wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "wildcards"
    (folder / "beasts").mkdir(parents=True)
    (folder / "animals.txt").write_bytes(
        "\ufeff# what runs\r\ncat\r\n\r\n  big __beasts/dogs__ \r\n".encode()
    )
    (folder / "beasts" / "dogs.txt").write_text("poodle\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    return folder


def test_lines_of_files_are_put_in_also_those_of_files_within(folder):
    template = Template.parse("a __animals__")
    wildcards = read_wildcards(folder, template)
    assert wildcards == {"animals": ("cat", "big __beasts/dogs__"), "beasts/dogs": ("poodle",)}
    assert list(template.expand({}, wildcards)) == ["a cat", "a big poodle"]


def test_only_the_files_that_are_asked_for_are_read(folder):
    (folder / "broken.txt").write_bytes(b"\xff")
    assert read_wildcards(folder, Template.parse("a cat")) == {}
    assert read_wildcards(folder, Template.parse("__beasts/dogs__")) == {"beasts/dogs": ("poodle",)}


def test_files_that_hold_each_other_end_the_reading(folder):
    (folder / "a.txt").write_text("__b__\n")
    (folder / "b.txt").write_text("__a__\n")
    template = Template.parse("__a__")
    with pytest.raises(InvalidRequestError, match="is recursive"):
        template.count(read_wildcards(folder, template))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "beasts/../../secret", "a\x07b", "~", "beasts/"]
)
def test_a_name_cannot_lead_out_of_the_folder(folder, name):
    with pytest.raises(InvalidRequestError, match="Invalid wildcard"):
        read_wildcards(folder, Template.parse(f"__{name}__"))


def test_a_name_cannot_lead_out_from_within_a_file(folder):
    (folder / "sly.txt").write_text("__../secret__\n")
    with pytest.raises(InvalidRequestError, match="Invalid wildcard"):
        read_wildcards(folder, Template.parse("__sly__"))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links here")
def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_not(folder):
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "elsewhere").symlink_to(folder.parent)
    (folder / "pets.txt").symlink_to(folder / "beasts" / "dogs.txt")
    for name in ("out", "elsewhere/secret"):
        with pytest.raises(InvalidRequestError, match="is a link to a file outside"):
            read_wildcards(folder, Template.parse(f"__{name}__"))
    assert read_wildcards(folder, Template.parse("__pets__")) == {"pets": ("poodle",)}


def test_what_cannot_be_read_is_one_sentence(folder):
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "large.txt").write_bytes(b"x\n" * (1 << 20))
    (folder / "dir.txt").mkdir()
    (folder / "circle.txt").symlink_to(folder / "circle.txt")
    for name, sentence in {
        "latin": "not UTF-8",
        "large": "larger than 1 MiB",
        "dir": "cannot be read",
        "gone": "Unknown wildcard gone",
        "circle": "cannot be read",
    }.items():
        with pytest.raises(InvalidRequestError, match=sentence):
            read_wildcards(folder, Template.parse(f"__{name}__"))


def test_a_template_cannot_make_the_whole_disk_be_read(folder):
    names = [f"w{number}" for number in range(1001)]
    for name in names:
        (folder / f"{name}.txt").write_text("x\n")
    (folder / "all.txt").write_text("\n".join(f"__{name}__" for name in names))
    with pytest.raises(InvalidRequestError, match="more than 1,000 wildcards"):
        read_wildcards(folder, Template.parse("__all__"))

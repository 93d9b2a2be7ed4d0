"""The package is imported without what it uses; every public name is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import imagen

HEAVY = ("trio", "httpx2", "msgspec", "PIL", "sqlite3", "imagen._client", "imagen.providers")


def python(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(imagen.__file__).parents[1],
    )
    return done.stdout.strip()


def test_an_import_loads_nothing_heavy():
    code = f"import imagen, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code) == "[]"


def test_a_light_name_loads_no_network():
    code = "import imagen, sys; imagen.version; print('httpx2' in sys.modules)"
    assert python(code) == "False"


def test_every_public_name_is_there():
    code = "from imagen import *; import imagen; print(all(n in globals() for n in imagen.__all__))"
    assert python(code) == "True"
    assert set(imagen.__all__) <= set(dir(imagen))


def test_the_stub_lists_what_it_imports():
    stub = ast.parse(Path(imagen.__file__).with_name("__init__.pyi").read_text())
    imported = [
        name.asname or name.name
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    ]
    (listed,) = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]
    assert sorted(imported) == sorted(listed) == sorted(imagen.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        imagen.nothing_like_it  # noqa: B018

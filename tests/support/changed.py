"""Tests of the modules that differ from the last commit on main, for `make quick`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

DEFAULT = ("tests/policy", "tests/requests", "tests/engine/test_cache.py")
# Whole folders that take longer than a minute.
LONG = {"cli", "client", "engine", "mcp", "providers", "transport"}


def changed() -> list[Path]:
    commands = (
        ("diff", "--name-only", "main"),
        ("ls-files", "--others", "--exclude-standard"),
    )
    lines: list[str] = []
    for command in commands:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
        lines += done.stdout.splitlines()
    return [Path(line) for line in lines if line.endswith(".py")]


def tests_of(path: Path) -> Iterator[Path]:
    """The test files named after a module, or the tests of its folder."""
    package, *folders, _ = path.parts
    if package == "tests":
        if path.name.startswith("test_"):
            yield path
        return
    names = ["mcp", *folders] if package == "imagen_mcp" else folders
    name = names[0].removeprefix("_") if names else path.stem
    found = sorted((ROOT / "tests" / name).rglob(f"test_{path.stem.removeprefix('_')}*.py"))
    provider = (names[1] if len(names) > 1 else path.stem) if name == "providers" else ""
    if provider and (ROOT / "tests" / "providers" / provider).is_dir():
        found = [ROOT / "tests" / "providers" / provider]
    if not found and name not in LONG and (ROOT / "tests" / name).is_dir():
        found = [ROOT / "tests" / name]
    yield from (each.relative_to(ROOT) for each in found)


def main() -> None:
    tests = {str(test) for path in changed() for test in tests_of(path) if (ROOT / test).exists()}
    print(*sorted(tests) or DEFAULT)


if __name__ == "__main__":
    main()

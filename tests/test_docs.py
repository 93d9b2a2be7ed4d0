"""What the documents show is true: their Python runs, their commands exist,
their TOML is read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import imagen
from imagen.providers import PROVIDERS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, text in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        ):
            found.append((f"{page.name}-{number}", text))
    return found


# The programs of that page are started and called by `tests/bridges/test_services.py`.
PYTHON = [(name, code) for name, code in blocks("python") if not name.startswith("services.md")]


@pytest.mark.parametrize(("name", "code"), PYTHON, ids=lambda value: value[:20])
def test_every_python_example_runs(name, code, tmp_path):
    environ = {
        "PATH": os.environ["PATH"],
        "IMAGEN_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.parametrize(("name", "text"), blocks("toml"), ids=lambda value: value[:20])
def test_every_toml_example_is_read(name, text, tmp_path):
    if "mcp_servers" in tomllib.loads(text):
        return  # the settings of a host of MCP servers
    (tmp_path / "imagen.toml").write_text(text)
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    assert len(imagen.providers.load_catalog(settings.models)) >= len(
        imagen.providers.load_catalog()
    )


def test_every_option_of_generate_stands_on_the_page_of_the_command():
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "200"}
    help_text = subprocess.run(
        [sys.executable, "-m", "imagen", "generate", "--help"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    page = (ROOT / "docs" / "command.md").read_text("utf-8")
    for option in set(re.findall(r"--[a-z-]+", help_text)) - {"--help"}:
        assert option in page, option


def test_every_provider_stands_on_its_page_with_its_variables_and_settings():
    page = (ROOT / "docs" / "providers.md").read_text("utf-8")
    for provider in PROVIDERS.values():
        words = [provider.name, *provider.key_variables, *provider.settings]
        words += [provider.base_url_variable] if provider.base_url_variable else []
        for word in words:
            assert f"`{word}`" in page, f"{provider.name}: {word}"


def test_links_between_documents_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "page", [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "design.md"], ids=lambda page: page.name
)
def test_paths_in_the_prose_exist(page):
    for target in re.findall(r"`(\w+/[\w./]*)`", page.read_text("utf-8")):
        if target not in ("pictures/", "site/"):
            places = [ROOT / target, ROOT / "imagen" / target, ROOT / "imagen" / f"{target}.py"]
            assert any(place.exists() for place in places), target

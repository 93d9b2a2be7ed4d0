"""Words and forms that the prose of the project does without."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("imagen", "imagen_mcp")
# A sentence needs an actor, and a docstring a verb or a noun phrase.
FORBIDDEN = re.compile(
    r"\b(nobody|somebody|anybody|whoever|strangers?|is told|at the most|so many|pictures?)\b",
    re.IGNORECASE,
)
QUESTION = re.compile(r"(What|Whether|How|Which|Who|Whom|Whose|Whoever|Where)\b")
# The folder of images in an archive, a stored form.
STORED = ("pictures/",)


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def docstrings() -> Iterator[tuple[Path, str]]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield path, text


def comments_and_strings() -> Iterator[tuple[Path, int, str]]:
    for path in sources():
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                yield path, token.start[0], token.string


def test_no_sentence_lacks_its_actor():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path, line, text in comments_and_strings()
        for match in FORBIDDEN.finditer(text)
        if not text[match.start() :].startswith(STORED)
    ]
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found += [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in documents
        for text in [path.read_text("utf-8")]
        for match in FORBIDDEN.finditer(text)
        if not text[match.start() :].startswith(STORED)
    ]
    assert found == []


def test_hardly_a_docstring_begins_with_a_question_word():
    texts = list(docstrings())
    questions = [
        f"{path.relative_to(ROOT)}: {text[:60]}" for path, text in texts if QUESTION.match(text)
    ]
    assert len(questions) < 0.01 * len(texts), questions

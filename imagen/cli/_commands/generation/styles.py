"""`imagen style`: the looks that `--apply-style` takes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial

import msgspec
import trio

from .... import load_settings
from ....prompts import (
    Style,
    add_styles,
    choose_styles,
    load_styles,
    read_styles_csv,
    write_styles_csv,
)
from ..._arguments.options import add_command, user_path
from ..._console import Console, ExitStatus

__all__ = ["add_style_command"]


def add_style_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Define `imagen style` and its actions."""
    parser = commands.add_parser("style", help="list styles, and import those of other tools")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    add_command(
        actions.add_parser("list", help="list the built-in styles and those of styles.toml"),
        _list,
    )
    show = add_command(actions.add_parser("show", help="show a style"), _show)
    show.add_argument("name", metavar="NAME")
    for name, run, words in (
        (
            "import",
            _import,
            "add the styles of a styles.csv of the Stable Diffusion web UI to styles.toml",
        ),
        ("export", _export, "write all styles into such a styles.csv"),
    ):
        file = add_command(actions.add_parser(name, help=words), run)
        file.add_argument("file", type=user_path, metavar="FILE")


async def _list(options: argparse.Namespace, console: Console) -> ExitStatus:
    styles = (await _load()).values()
    if console.json:
        for style in styles:
            console.emit(_record(style))
    else:
        console.table([(style.name, _summary(style)) for style in styles], ("STYLE", "LOOK"))
    return ExitStatus.DONE


async def _show(options: argparse.Namespace, console: Console) -> ExitStatus:
    (style,) = choose_styles(await _load(), [options.name])
    if console.json:
        console.emit(_record(style))
        return ExitStatus.DONE
    console.say(style.name + (f": {style.description}" if style.description else ""))
    for name, value in (
        ("before", style.prefix),
        ("after", style.suffix),
        ("not", style.negative_prompt),
        ("references", ", ".join(style.references)),
        ("parameters", ", ".join(f"{key}={value}" for key, value in style.parameters.items())),
    ):
        if value:
            console.say(f"{name}: {value}")
    return ExitStatus.DONE


async def _import(options: argparse.Namespace, console: Console) -> ExitStatus:
    styles = await trio.to_thread.run_sync(read_styles_csv, options.file)
    new, old = await trio.to_thread.run_sync(add_styles, load_settings().home, styles)
    if console.json:
        console.emit({"kind": "styles_imported", "added": new, "kept": old})
        return ExitStatus.DONE
    console.say(f"{len(new)} added" + (f": {', '.join(new)}" if new else ""))
    if old:
        console.note(f"imagen: Left as they are in styles.toml: {', '.join(old)}.")
    return ExitStatus.DONE


async def _export(options: argparse.Namespace, console: Console) -> ExitStatus:
    styles = list((await _load()).values())
    await trio.to_thread.run_sync(partial(write_styles_csv, options.file, styles))
    if console.json:
        console.emit({"kind": "styles_exported", "styles": len(styles), "path": str(options.file)})
    else:
        console.say(f"{len(styles)} styles are in {options.file}")
    return ExitStatus.DONE


async def _load() -> Mapping[str, Style]:
    return await trio.to_thread.run_sync(load_styles, load_settings().home)


def _summary(style: Style) -> str:
    return style.description or " ".join(f"{style.prefix} {style.suffix}".split())[:80]


def _record(style: Style) -> Mapping[str, object]:
    record: dict[str, object] = msgspec.structs.asdict(style)
    return {"kind": "style", **record}

"""`imagen prompt`: prompts that are kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from .... import InvalidRequestError, load_settings
from ....prompts import Prompt, Template, Variable, open_prompts
from ..._arguments.options import add_command, user_path, whole
from ..._arguments.template_options import (
    add_values,
    choose,
    expand,
    find_prompt,
    not_there,
    read_words,
)
from ..._console import Console, ExitStatus

__all__ = ["add_prompt_command"]

_MOST_SHOWN = 60


def add_prompt_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Define `imagen prompt` and its actions."""
    parser = commands.add_parser(
        "prompt",
        help="save prompts and reuse them",
        description="`imagen generate @NAME --set name=value` makes an image of a saved prompt.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    save = add_command(
        actions.add_parser("save", help="save a prompt, or a new version of one"), _save
    )
    save.add_argument("name", metavar="NAME")
    save.add_argument("text", metavar="TEXT", help="prompt or template; - reads standard input")
    save.add_argument(
        "--negative", dest="negative_prompt", metavar="WORDS", help="what images should not show"
    )
    save.add_argument(
        "--tag",
        action="append",
        metavar="WORD",
        help="word to find it by; repeatable",
    )
    save.add_argument("--notes", metavar="TEXT", help="notes about it")
    save.add_argument(
        "--apply-style",
        action="append",
        default=[],
        metavar="STYLE",
        help="style that is applied to it",
    )
    _add_list(actions)
    show = _add_named(actions, "show", _show, "everything known about one prompt")
    use = _add_named(actions, "use", _use, "print a prompt with its variables filled in")
    for one in (show, use):
        one.add_argument(
            "--version",
            type=whole(1, 1_000_000),
            metavar="N",
            help="version, instead of the newest",
        )
    add_values(use)
    use.add_argument(
        "--sample",
        type=whole(1, 10_000),
        metavar="N",
        help="this many of its expansions, at random",
    )
    use.add_argument(
        "--seed", type=whole(0, 2**63 - 1), default=0, help="another seed makes another sample"
    )
    favourite = _add_named(actions, "favourite", _favour, "mark a prompt as a favourite")
    favourite.add_argument("--remove", action="store_true", help="remove the mark")
    _add_named(actions, "rename", _rename, "give a prompt another name").add_argument(
        "new_name", metavar="NEW"
    )
    delete = _add_named(actions, "delete", _delete, "remove a prompt")
    delete.add_argument(
        "--all-versions", action="store_true", help="even if it has several versions"
    )
    for name, run, words in (
        (
            "import",
            _import,
            (
                "keep the prompts of a .csv (name, prompt, negative_prompt, tags), or of a text"
                " line by line"
            ),
        ),
        ("export", _export, "write all prompts into a .csv"),
    ):
        file = add_command(actions.add_parser(name, help=words), run)
        file.add_argument("file", type=user_path, metavar="FILE")


def _add_list(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        actions.add_parser("list", help="list prompts by name, or those with these words"),
        _list,
    )
    parser.add_argument(
        "query",
        nargs="?",
        default="",
        metavar="WORDS",
        help='e.g. harbour "at dusk" -boat sun*',
    )
    parser.add_argument("--tag", metavar="WORD", help="only prompts with this tag")
    parser.add_argument("--favourites", action="store_true", help="only favourites")
    parser.add_argument(
        "--limit",
        type=whole(1, 100_000),
        default=50,
        help="number of results (default: %(default)s)",
    )
    parser.add_argument("--after", metavar="NAME", help="results after this one")


def _add_named(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[..., Awaitable[ExitStatus]],
    words: str,
) -> argparse.ArgumentParser:
    parser = add_command(actions.add_parser(name, help=words), run)
    parser.add_argument("name", metavar="NAME")
    return parser


async def _save(options: argparse.Namespace, console: Console) -> ExitStatus:
    text = await read_words(options.text)
    await choose(options.apply_style)
    async with open_prompts(load_settings()) as prompts:
        saved = await prompts.save(
            options.name,
            text,
            negative_prompt=options.negative_prompt,
            tags=options.tag,
            notes=options.notes,
            styles=options.apply_style,
        )
    if console.json:
        console.emit(_record(saved))
    else:
        console.say(f"{saved.name}: version {saved.version}")
    try:
        Template.parse(saved.text)
    except InvalidRequestError as error:
        console.note(f"imagen: The prompt is saved, but is not a valid template: {error.message}")
    return ExitStatus.DONE


async def _list(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_prompts(load_settings()) as prompts:
        found = await prompts.list(
            options.query,
            tag=options.tag,
            favourites=options.favourites,
            limit=options.limit,
            after=options.after,
        )
    if console.json:
        for prompt in found:
            console.emit(_record(prompt))
    elif found:
        console.table(map(_row, found), ("", "NAME", "VERSION", "TAGS", "PROMPT"), right=(2,))
    else:
        console.say("There is no such prompt: `imagen prompt save NAME TEXT` keeps one.")
    return ExitStatus.DONE


async def _show(options: argparse.Namespace, console: Console) -> ExitStatus:
    prompt = await find_prompt(options.name, options.version)
    async with open_prompts(load_settings()) as prompts:
        history = await prompts.history(prompt.name)
    if console.json:
        console.emit(_record(prompt))
        return ExitStatus.DONE
    console.say(f"{prompt.name}, version {prompt.version} of {prompt.versions}{_mark(prompt)}")
    for line in prompt.text.splitlines():
        console.say(f"  {line}")
    for name, value in (
        ("not", prompt.negative_prompt),
        ("styles", ", ".join(prompt.styles)),
        ("parameters", ", ".join(f"{key}={value}" for key, value in prompt.parameters.items())),
        ("variables", ", ".join(map(_variable_text, _variables_of(prompt)))),
        ("tags", ", ".join(prompt.tags)),
        ("notes", prompt.notes),
    ):
        if value:
            console.say(f"{name}: {value}")
    for one in history:
        console.say(
            f"version {one.version}, {one.created_at.astimezone():%Y-%m-%d %H:%M}:"
            f" {_short(one.text)}"
        )
    return ExitStatus.DONE


async def _use(options: argparse.Namespace, console: Console) -> ExitStatus:
    prompt = await find_prompt(options.name, options.version)
    prompts = await expand(prompt.text, options.set)
    if options.sample is None and prompts.total != 1:
        raise InvalidRequestError(
            "The prompt stands for more than one: --sample N takes some at random, `imagen grid`"
            " makes them all."
        )
    texts = prompts[:1] if options.sample is None else prompts.sample(options.sample, options.seed)
    for text in texts:
        if console.json:
            console.emit(
                {
                    "kind": "prompt_text",
                    "name": prompt.name,
                    "version": prompt.version,
                    "text": text,
                }
            )
        elif sys.stdout.isatty():
            for line in text.split("\n"):
                console.say(line)
        else:
            # Unchanged: a program sends the text it gets.
            print(text, flush=True)
    return ExitStatus.DONE


async def _favour(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_prompts(load_settings()) as prompts:
        found = await prompts.favour(options.name, not options.remove)
    words = "is not a favourite any more" if options.remove else "is a favourite"
    return _tell(console, found, options.name, words, {"favourite": not options.remove})


async def _rename(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_prompts(load_settings()) as prompts:
        found = await prompts.rename(options.name, options.new_name)
    return _tell(
        console, found, options.name, f"is {options.new_name} now", {"new_name": options.new_name}
    )


async def _delete(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_prompts(load_settings()) as prompts:
        kept = await prompts.get(options.name)
        if kept is not None and kept.versions > 1 and not options.all_versions:
            raise InvalidRequestError(
                f"{kept.name} has {kept.versions} versions: --all-versions deletes them all."
            )
        found = await prompts.delete(options.name, all_versions=options.all_versions)
    return _tell(console, found, options.name, "is deleted", {"deleted": True})


async def _import(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_prompts(load_settings()) as prompts:
        done = await prompts.import_file(options.file)
    if console.json:
        console.emit({"kind": "prompts_imported", **msgspec.to_builtins(done)})
    else:
        console.say(
            f"{done.added} added, {done.changed} have a new version, {done.unchanged} were there"
            " already"
        )
    return ExitStatus.DONE


async def _export(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_prompts(load_settings()) as prompts:
        count = await prompts.export_csv(options.file)
    if console.json:
        console.emit({"kind": "prompts_exported", "prompts": count, "path": str(options.file)})
    else:
        console.say(f"{count} prompts are in {options.file}")
    return ExitStatus.DONE


def _tell(
    console: Console, found: bool, name: str, words: str, facts: Mapping[str, object]
) -> ExitStatus:
    if not found:
        raise not_there(name)
    if console.json:
        console.emit({"kind": "prompt_changed", "name": name, **facts})
    else:
        console.say(f"{name} {words}")
    return ExitStatus.DONE


def _row(prompt: Prompt) -> tuple[str, ...]:
    return (
        _mark(prompt).strip(),
        prompt.name,
        str(prompt.version),
        " ".join(prompt.tags),
        _short(prompt.text),
    )


def _mark(prompt: Prompt) -> str:
    return " *" if prompt.favourite else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN - 3]}..."


def _variables_of(prompt: Prompt) -> Sequence[Variable]:
    try:
        return Template.parse(prompt.text).variables
    except InvalidRequestError:
        return ()


def _variable_text(variable: Variable) -> str:
    kind = f"choice({','.join(variable.options)})" if variable.options else variable.type
    return f"{variable.name}: {kind}" + (
        "" if variable.default is None else f" = {variable.default}"
    )


def _record(prompt: Prompt) -> Mapping[str, object]:
    record: dict[str, object] = msgspec.to_builtins(prompt)
    return {"kind": "prompt", **record, "variables": msgspec.to_builtins(_variables_of(prompt))}

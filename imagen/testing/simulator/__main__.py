"""The simulator as a process, for demos, hand tests, benchmarks and crash
tests.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal

import trio

from ._core.faults import NAMED, Fault, FaultPlan
from ._core.latency import Latency
from ._core.messages import Answered, Received
from ._core.server import open_simulator
from ._core.simulator import Simulator

Say = Callable[[dict[str, object], str], None]


def command_line(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments. Raises SystemExit if they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m imagen.testing.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--latency", type=_latency, default=0.0, help="seconds, as 0.2 or 0.2-2.0")
    parser.add_argument(
        "--usd-per-image", type=Decimal, help="a fixed price; replies then carry no usage"
    )
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="NAME[:EVERY]",
        help=f"every EVERY-th creating request meets this; may be repeated. {', '.join(NAMED)}",
    )
    parser.add_argument(
        "--image-bytes", type=int, help="length of each PNG; real ones have about 1500000"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", default="test-key")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace) -> None:
    """Simulate until SIGINT or SIGTERM arrives, then sum up."""
    say = _say_json if options.json else _say_text
    # The signals are caught before the first line is printed: its reader may
    # send one at once.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_simulator(
            latency=options.latency,
            faults=_plan(options.fault),
            seed=options.seed,
            image_bytes=options.image_bytes,
            usd_per_image=options.usd_per_image,
            key=options.key,
            port=options.port,
            on_answered=lambda answered: _tell(say, answered),
        ) as simulator:
            _introduce(say, simulator)
            async for _ in signals:
                break
    summary = simulator.summary()
    text = "{requests} requests, {images} images, ${billed_usd} billed".format_map(summary)
    say({"kind": "summary", **summary}, text)


def _introduce(say: Say, simulator: Simulator) -> None:
    variables = {
        "OPENAI_BASE_URL": simulator.base_url("openai"),
        "OPENAI_API_KEY": simulator.key,
        "NEXOS_API_BASE_URL": simulator.base_url("nexos"),
        "NEXOS_API_KEY": simulator.key,
    }
    text = "\n".join(f"export {name}={value}" for name, value in variables.items())
    say(
        {
            "kind": "ready",
            "url": simulator.url,
            "elsewhere_url": simulator.elsewhere_url,
            "env": variables,
        },
        text,
    )


def _tell(say: Say, answered: Answered) -> None:
    received, bill = answered.received, answered.bill
    model = _asked_model(received)
    facts: dict[str, object] = {
        "kind": "request",
        "number": received.number,
        "method": received.method,
        "path": received.path,
        "model": model,
        "status": answered.status,
        "fault": answered.fault,
        "images": bill.images if bill else 0,
        "billed_usd": str(bill.usd) if bill else "0",
        "delivered": bill.delivered if bill else None,
    }
    words = [received.method, received.path, model or "-", str(answered.status or "-")]
    words.append(f"${bill.usd}{'' if bill.delivered else ' undelivered'}" if bill else "not billed")
    if answered.fault:
        words.append(answered.fault)
    say(facts, "  ".join(words))


def _asked_model(received: Received) -> str | None:
    try:
        model = json.loads(received.body)["model"]
    except (ValueError, LookupError, TypeError):
        return None
    return model if isinstance(model, str) else None


def _say_json(facts: dict[str, object], text: str) -> None:
    _print(json.dumps(facts))


def _say_text(facts: dict[str, object], text: str) -> None:
    _print(text)


def _print(line: str) -> None:
    try:
        # In one write, newline included, even where Python runs unbuffered:
        # readers take lines as they come.
        print(f"{line}\n", end="", flush=True)
    except BrokenPipeError:  # pragma: no cover (tested in a process of its own)
        # The reader is gone (`| head`). Go on, and do not fail again when
        # Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _latency(text: str) -> Latency:
    low, dash, high = text.partition("-")
    return (float(low), float(high)) if dash else float(low)


def _fault(text: str) -> tuple[Fault, int]:
    name, _, every = text.partition(":")
    if name not in NAMED or not (every or "1").isdigit() or every == "0":
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME or NAME:EVERY with a name out of {', '.join(NAMED)}"
        )
    return NAMED[name], int(every or "1")


def _plan(named: list[tuple[Fault, int]]) -> FaultPlan:
    """The k-th, 2k-th, ... creating request meets the fault; of several the
    first that is due.
    """
    created = 0

    def plan(received: Received) -> Fault | None:
        nonlocal created
        created += 1
        return next((fault for fault, every in named if created % every == 0), None)

    return plan


if __name__ == "__main__":  # pragma: no cover (tests start it as a process)
    trio.run(run, command_line())

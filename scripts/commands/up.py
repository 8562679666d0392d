"""`docmill up`: the stack in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse

from config.settings import load_settings
from scripts.commands.shared.options import add_simulator, positive, simulator_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="worker processes (default: 1)")
    parser.add_argument("--port", type=positive, metavar="PORT", help="of Flower (default: 5555, or any free one)")
    add_simulator(parser)
    parser.epilog = (
        "Starts the broker (unless DOCMILL_REDIS_URL names one), the simulator (unless there is a key), workers, beat\n"
        "and Flower, and stops them in order: Ctrl-C once lets calls finish, twice ends them at once."
    )


def run(args: argparse.Namespace) -> int:
    """Keep the stack running."""
    settings = load_settings()
    simulator = simulator_arguments(args, settings)

    from scripts.stack.running import in_foreground
    from scripts.stack.services import Parts

    parts = Parts(workers=args.workers, beat=True, flower=True, flower_port=args.port, simulator=simulator)
    return in_foreground(settings, parts)

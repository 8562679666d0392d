"""The `docmill` command line: finds the command that was asked for and runs it.

Only that command's module is imported, so `docmill --help` and `docmill status` need not load what a worker needs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from scripts.commands.shared.mistakes import tell_bug, told

OK, DEAD_DOCUMENTS, MISTAKE, BUG, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 70, 130, 141

EXIT_CODES = """exit codes:
  0    everything asked for was done
  1    some documents are dead, cancelled or unreadable (doctor: something needed is missing;
       costs reconcile: the ledger and the export differ)
  2    wrong usage or configuration, or a server that cannot be reached
  70   a bug in docmill
  130  interrupted"""

EXAMPLES = """examples:
  docmill run letters/ 'mail/*.html'                    documents in, answers and their cost out
  docmill run report.pdf --question 'Who signed it?'
  docmill up                                            keep the stack running; then, in another terminal:
  docmill submit archive/ --recipe classify
  docmill watch
  docmill results -o answers.jsonl"""

COMMANDS = {
    "run": "run documents and print their answers and cost",
    "up": "keep the stack running in the foreground",
    "submit": "hand documents to a running stack",
    "estimate": "what documents are likely to cost, before they are submitted",
    "status": "submissions, and what waits in the lanes",
    "watch": "follow a submission until it is finished",
    "results": "a submission's answers, as JSON lines",
    "show": "one job's story; its prompt or its answer",
    "dead": "what was given up, and why; run it again, changed if need be, or discard it",
    "uncertain": "what may have been paid for without an answer; the same verbs as for dead",
    "lanes": "the lanes, with what waits in them; pause and resume them",
    "quarantine": "messages that no worker could read, and why; put them back or drop them",
    "budget": "what may be spent, by day, recipe and submission; set it and take it away",
    "cancel": "stop jobs or whole submissions",
    "costs": "what calls cost, by whatever you like; what was saved; and the provider's bill against it",
    "alerts": "what people were told, through which channels; test the channels",
    "recipes": "what can be asked of a document",
    "doctor": "what is configured, reachable or missing, and how to mend it",
    "simulate": "a Claude API on this machine whose every answer is synthetic",
}
PASSED_ON = "simulate"
"""Has a parser of its own, which gets its arguments as they are."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code; argparse exits by itself for `--help` and wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last place that can tell a person in their own terms
        line = told(error)
        if line is None:
            tell_bug(error, sys.stderr)
            return BUG
        print(f"docmill: {line}", file=sys.stderr)
        return MISTAKE


def _run(words: list[str]) -> int:
    if words[:1] == [PASSED_ON]:
        passed_on: int = import_module("scripts.simulator.command").main(words[1:])
        return passed_on
    args = _parser(words).parse_args(words)
    if args.home is not None:
        os.environ["DOCMILL_HOME"] = str(Path(args.home).expanduser().absolute())  # for what we start, too
    code: int = _module(args.command).run(args)
    sys.stdout.flush()  # a reader that went away shows here, and not in the interpreter's last moments
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The whole parser, with the options of those commands that `words` names: usually one."""
    parser = argparse.ArgumentParser(
        prog="docmill",
        description="Runs documents through Claude: nothing is lost, and every cent is accounted for.",
        epilog=f"{EXAMPLES}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    parser.add_argument("--home", metavar="FOLDER", help="data folder (default: DOCMILL_HOME, or ~/.docmill)")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Suppressed where it is not given, so that it does not hide a --home before the command.
        command.add_argument("--home", metavar="FOLDER", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name in words and name != PASSED_ON:
            _module(name).configure(command)
    return parser


def _module(command: str) -> ModuleType:
    return import_module(f"scripts.commands.{command}")


class _Version(argparse.Action):
    """Reads pyproject.toml, the one place that has the version, when it is asked for and not before."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        project = Path(__file__).resolve().parent.parent / "pyproject.toml"
        version = tomllib.loads(project.read_text("utf-8"))["project"]["version"]
        print(f"docmill {version}")
        parser.exit()


def _discard_stdout() -> None:
    """Send what is still buffered nowhere: the interpreter would complain about the closed pipe when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

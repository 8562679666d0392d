"""`docmill costs reconcile FILE`: the provider's own export against the ledger.

What formats there are is in `tasks.rules.billing`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from scripts.commands.shared import terminal
from scripts.commands.shared.figures import counted, exact_dollars
from scripts.commands.shared.mistakes import Mistake
from scripts.commands.shared.options import add_json, money
from tasks.rules.billing import BillLine, Unreadable, read_bill
from tasks.rules.pricing import dollars
from tasks.rules.reconciling import Comparison, Requests, compare, compare_requests
from workers.ledger import Database
from workers.ledger.billing import answered_calls, booked
from workers.ledger.prices import Miscounted, recompute

DIFFERENT = 1
SHOWN = 20
"""Calls that are listed one by one; `--json` has as many of each kind."""

DESCRIPTION = """Compare the ledger with the provider's own usage or cost export: by day (UTC) and model, tokens by kind
and dollars. FILE is the console's usage or cost CSV; JSON of the Admin API's usage_report/messages or cost_report,
grouped by model; or the simulator's bill (GET /_sim/bill). Always, and without FILE only, every cost is reckoned anew
from its call's tokens and its price. Exit code 0 where tokens and dollars agree, as far as FILE has them, 1 where
either does not."""


def configure(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """The verb's options."""
    parser = verbs.add_parser(
        "reconcile", help="compare the ledger with the provider's usage or cost export", description=DESCRIPTION
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="CSV or JSON export")
    parser.add_argument(
        "--tolerance",
        type=money,
        default=0,
        metavar="USD",
        help="dollars that a day and model may differ by, on top of the export's own rounding (default: 0)",
    )
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="count calls that the simulator answered (default: only where FILE is its own bill)",
    )
    add_json(parser)


def run(database: Database, args: argparse.Namespace) -> int:
    """Compare and tell. Raises `Mistake` for a file that is no export."""
    wrong = list(islice(recompute(database), SHOWN))
    if args.file is None:
        return _tell_recomputed(wrong, as_json=args.json)
    bill = _read(args.file)
    days = {
        "since": min((line.day for line in bill), default=None),
        "until": max((line.day for line in bill), default=None),
    }
    names_requests = any(line.request_id for line in bill)
    synthetic = args.synthetic or names_requests
    compared = compare(bill, booked(database, **days, synthetic=synthetic), args.tolerance)
    requests = compare_requests(bill, answered_calls(database, **days)) if names_requests else None
    agrees = all(each.agrees for each in compared) and not wrong and not (requests and requests.different)
    if args.json:
        told = {"tolerance_nanousd": args.tolerance, **_fields(compared, requests), "miscounted": wrong}
        terminal.print_json({"agrees": agrees, **told})
    else:
        _print(compared)
        _tell_requests(requests)
        _tell_wrong(wrong)
        _tell_verdict(compared, agrees=agrees, tolerance_nanousd=args.tolerance, synthetic=synthetic)
    return 0 if agrees else DIFFERENT


def _tell_recomputed(wrong: Sequence[Miscounted], *, as_json: bool) -> int:
    if as_json:
        terminal.print_json({"agrees": not wrong, "miscounted": wrong})
    else:
        _tell_wrong(wrong)
        terminal.note("some costs do not follow from their prices" if wrong else "every cost follows from its price")
    return DIFFERENT if wrong else 0


def _read(path: Path) -> list[BillLine]:
    try:
        return read_bill(path.read_text("utf-8-sig"))
    except Unreadable as error:
        raise Mistake(f"{path}: {error}; `docmill costs reconcile --help` names the formats") from None
    except UnicodeDecodeError:
        raise Mistake(f"{path}: no text in UTF-8; `docmill costs reconcile --help` names the formats") from None


def _print(compared: Sequence[Comparison]) -> None:
    columns = ["calls", "booked", "billed", "difference", "tokens"]
    shown = terminal.table("day (UTC)", "model", *columns, right=columns[:-1], fold=["model", "tokens"])
    for each in compared:
        tokens = ", ".join(f"{kind} {count:+,}" for kind, count in each.token_difference.items())
        shown.add_row(
            each.day,
            terminal.cell(each.model),
            f"{each.booked.calls:,}",
            dollars(each.booked.cost_nanousd),
            "not told" if each.billed_nanousd is None else dollars(each.billed_nanousd),
            _signed(each.difference_nanousd),
            tokens or ("equal" if each.billed_usage is not None else "not told"),
            style="" if each.agrees else "bold",
        )
    terminal.out().show(shown)


def _signed(nanousd: int | None) -> str:
    if nanousd is None:
        return "not told"
    return f"{'+' if nanousd > 0 else ''}{dollars(nanousd)}" if nanousd else "0"


def _tell_requests(requests: Requests | None) -> None:
    if requests is None:
        return
    out = terminal.out()
    out.print(f"{counted(requests.equal, 'request')} billed exactly as booked")
    for line, call in requests.different[:SHOWN]:
        booked_cost = "unknown" if call.cost_nanousd is None else dollars(call.cost_nanousd)
        name, billed_cost = terminal.printable(call.request_id), dollars(line.cost_nanousd or 0)
        out.print(f"{name}: billed {billed_cost}, booked {booked_cost} as {call.id}")
    if requests.unbooked:
        cost = dollars(sum(line.cost_nanousd or 0 for line in requests.unbooked))
        out.print(f"{counted(len(requests.unbooked), 'request')} billed {cost}, whose answers never came to the ledger")
    if requests.unbilled:
        cost = dollars(sum(call.cost_nanousd or 0 for call in requests.unbilled))
        out.print(f"{counted(len(requests.unbilled), 'call')} booked {cost} that this bill does not name")


def _tell_wrong(wrong: Sequence[Miscounted]) -> None:
    for each in wrong:
        reckoned = "nothing" if each.reckoned_nanousd is None else dollars(each.reckoned_nanousd)
        cost = "unknown" if each.cost_nanousd is None else dollars(each.cost_nanousd)
        terminal.out().print(f"call {each.call_id}: {each.why}: booked {cost}, reckoned {reckoned}")


def _tell_verdict(compared: Sequence[Comparison], *, agrees: bool, tolerance_nanousd: int, synthetic: bool) -> None:
    rounding = sum(each.tolerance_nanousd - tolerance_nanousd for each in compared)
    allowed = f"tolerance: {dollars(tolerance_nanousd)} for each day and model"
    if rounding:
        allowed += f", and {dollars(rounding)} in all for the export's rounding"
    terminal.note(f"{_verdict(compared, agrees=agrees)} ({allowed})", "" if agrees else "bold")
    if agrees:
        return
    unknown = [each for each in compared if each.booked.unknown_calls]
    if unknown:
        calls = sum(each.booked.unknown_calls for each in unknown)
        most = sum(each.booked.unknown_estimate_nanousd for each in unknown)
        explained = sum(each.unknown_may_explain for each in compared)
        terminal.note(
            f"may explain it: {counted(calls, 'call')} of unknown cost, at most {dollars(most)}, "
            f"enough for {explained} of {counted(sum(not each.agrees for each in compared), 'difference')}"
        )
    if not synthetic:
        terminal.note("may explain it: calls that the simulator answered are left out here (--synthetic counts them)")
    terminal.note("may explain it: other keys, tools or people on the same account; calls at midnight of UTC's days")


def _verdict(compared: Sequence[Comparison], *, agrees: bool) -> str:
    """In a sentence. Each day may agree where single calls, or their reckoning, do not."""
    found = {
        "costs": [each.costs_agree for each in compared if each.billed_nanousd is not None],
        "tokens": [each.tokens_agree for each in compared if each.billed_usage is not None],
    }
    same = " and ".join(what for what, of_days in found.items() if of_days and all(of_days))
    other = " and ".join(what for what, of_days in found.items() if not all(of_days))
    if agrees:
        return "the ledger and the export agree" + (f" in {same}" if same else "")
    return f"they differ in {other or 'single calls'}" + (f", and agree in {same}" if same else "")


def _fields(compared: Sequence[Comparison], requests: Requests | None) -> dict[str, Any]:
    return {
        "lines": [
            {
                "day": each.day,
                "model": each.model,
                "agrees": each.agrees,
                "calls": each.booked.calls,
                "booked_nanousd": each.booked.cost_nanousd,
                "booked_tokens": each.booked.usage,
                "billed_nanousd": each.billed_nanousd,
                "billed_tokens": each.billed_usage,
                "difference_nanousd": each.difference_nanousd,
                "difference_usd": exact_dollars(each.difference_nanousd),
                "token_difference": dict(each.token_difference),
                "tolerance_nanousd": each.tolerance_nanousd,
                "unknown_calls": each.booked.unknown_calls,
                "unknown_estimate_nanousd": each.booked.unknown_estimate_nanousd,
                "unknown_may_explain": each.unknown_may_explain,
            }
            for each in compared
        ],
        "requests": requests
        and {
            "equal": requests.equal,
            "different": [{"call": call, "billed": line} for line, call in requests.different[:SHOWN]],
            "unbooked": len(requests.unbooked),
            "unbooked_nanousd": sum(line.cost_nanousd or 0 for line in requests.unbooked),
            "unbilled": len(requests.unbilled),
            "unbilled_nanousd": sum(call.cost_nanousd or 0 for call in requests.unbilled),
        },
    }

"""What documents are likely to cost: told by `docmill estimate`, asked about by `submit` and `run`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from config.settings import Settings
from config.stack import NotConfigured, claude_address
from scripts.commands.shared import terminal
from scripts.commands.shared.asking import asked
from scripts.commands.shared.estimates import from_to
from scripts.commands.shared.figures import counted, exact_dollars, span
from scripts.commands.shared.progress import documents
from scripts.commands.shared.settings import broker
from tasks.rules.estimating import Estimate, Range, minutes
from tasks.rules.limiting import Amounts, Pace
from tasks.rules.pricing import NANO, dollars

if TYPE_CHECKING:
    from tasks.model.call import Prompt, Route
    from workers.estimating import Count
    from workers.producer import Producer, Receipt


@dataclass(frozen=True, slots=True)
class Time:
    """How long the documents take."""

    seconds: float | None
    """None while neither limits nor a recent rate are known."""
    by: str
    """What it goes by, in words."""


def print_estimate(args: argparse.Namespace, receipt: Receipt, time: Time) -> None:
    """The whole of it, on stdout."""
    estimate = receipt.estimate or Estimate()
    if args.json:
        terminal.print_json(_fields(estimate, receipt, time))
        return
    if estimate.documents:
        _print_routes(estimate)
        terminal.out().print()
    grid = terminal.grid()
    for name, said in _lines(estimate, receipt, time):
        grid.add_row(name, terminal.cell(said))
    terminal.out().show(grid)


def is_confirmed(settings: Settings, estimate: Estimate) -> bool:
    """Whether to go ahead: asked of a person where the likely cost is above the bound, or is not known.

    Raises `Mistake` where there is nobody to ask.
    """
    likely = estimate.cost_nanousd.likely
    if likely <= settings.confirm_above_usd * NANO and not estimate.unpriced:
        return True
    about = f"about {dollars(likely)}{' and an unknown cost' if estimate.unpriced else ''}"
    return asked(f"submit {documents(estimate.documents)} for {about} ({from_to(estimate.cost_nanousd)})?")


@contextmanager
def counting(settings: Settings) -> Iterator[Count]:
    """Claude's own counts, where Claude can be asked. What it takes is loaded when the first prompt needs one."""
    with ExitStack() as stack:
        opened: list[Count] = []

        def count(prompts: Sequence[tuple[Prompt, Route]]) -> Sequence[int | None]:
            if not opened:
                from workers.claude.counts import TokenCounts  # a second of imports

                try:
                    opened.append(stack.enter_context(TokenCounts(settings)))
                except NotConfigured:
                    opened.append(lambda some: [None] * len(some))
            return opened[0](prompts)

        yield count


def time_of(estimate: Estimate, producer: Producer) -> Time:
    """By the rate limits where they are known, else by how fast the models answered within the last hour."""
    routes = estimate.routes.values()
    classes = {model: producer.catalogue.limit_class(model) for model in producer.catalogue.models}
    past = producer.past()
    at_limits = minutes(routes, _limits(producer.settings), classes)
    if at_limits is not None:
        lanes = producer.catalogue.lanes
        in_slots_s = (  # no limit is of use to a worker that waits for its answers
            route.documents * past.call_s.get(route.model, 0) / lanes[route.complexity].concurrency for route in routes
        )
        return Time(max([at_limits * 60, *in_slots_s]), "with one worker, at the current rate limits")
    at_rate = minutes(routes, past.rates, {})
    if at_rate is not None:
        return Time(at_rate * 60, "at the rate of the last hour")
    return Time(None, "unknown: no rate limits are known yet, and there are no recent calls to go by")


def _limits(settings: Settings) -> dict[str, Amounts]:
    """Per minute, by class of models; nothing where no broker is there to tell."""
    import redis

    from workers.limiter import fingerprint, read_limits

    try:
        client = broker(settings)
        base_url, api_key = claude_address(settings)
        if client is None:
            return {}
        with client:
            found = read_limits(client)
    except (NotConfigured, redis.RedisError):
        return {}
    ours = fingerprint(api_key, base_url)
    return {
        status.limit_class: Amounts(*(amount * Pace().share for amount in status.limits))
        for status in found
        if status.fingerprint == ours
    }


def _fields(estimate: Estimate, receipt: Receipt, time: Time) -> dict[str, Any]:
    fields = estimate.fields()
    cost = fields["cost_nanousd"]
    return {
        **fields,
        "cost_usd": cost and {name: exact_dollars(amount) for name, amount in cost.items()},
        "unreadable": len(receipt.unreadable),
        "skipped": len(receipt.skipped),
        "time_s": None if time.seconds is None else round(time.seconds, 1),
        "time_by": time.by,
    }


def _print_routes(estimate: Estimate) -> None:
    numbers = ["documents", "tokens in", "tokens out", "low", "likely", "high"]
    shown = terminal.table("route", *numbers, right=numbers)
    for route in estimate.routes.values():
        costs = [dollars(amount) for amount in route.cost_nanousd] if route.price is not None else ["unknown"] * 3
        shown.add_row(
            terminal.cell(f"{route.complexity.value}: {route.model}"),
            *_figures(route.documents, route.prompt, route.output),
            *costs,
        )
    if len(estimate.routes) > 1:
        figures = _figures(estimate.documents, estimate.prompt, estimate.output)
        shown.add_row("total", *figures, *(dollars(amount) for amount in estimate.cost_nanousd), style="bold")
    terminal.out().show(shown)


def _figures(number: int, prompt: Range, output: Range) -> list[str]:
    return [f"{number:,}", f"{prompt.likely:,}", f"{output.likely:,}"]


def _lines(estimate: Estimate, receipt: Receipt, time: Time) -> Iterator[tuple[str, str]]:
    yield "documents", f"{estimate.documents:,} to run"
    if estimate.known:
        yield "known", f"{estimate.known:,} submitted before, or twice: not run or paid for again"
    if estimate.too_long:
        yield "too long", f"{estimate.too_long:,} that their model does not take: dead letters, unpaid"
    for word, left_out in (("unreadable", receipt.unreadable), ("skipped", receipt.skipped)):
        if left_out:
            yield word, f"{len(left_out):,}"
    if not estimate.documents:
        return
    if estimate.unpriced:
        yield "unknown", f"{documents(estimate.unpriced)} of a model without a price, not in the sum"
    prices = {(route.price.source, route.price.version) for route in estimate.routes.values() if route.price}
    yield "prices", ", ".join(" ".join(each) for each in sorted(prices)) or "none"
    yield "goes by", _basis(estimate)
    yield "time", f"{span(time.seconds)} {time.by}" if time.seconds is not None else time.by


def _basis(estimate: Estimate) -> str:
    routes = estimate.routes.values()
    calibrated, told = sum(route.calibrated for route in routes), sum(route.counted for route in routes)
    if calibrated == estimate.documents:
        said = "what calls of the same recipe and model were billed"
    elif calibrated:
        said = f"what such calls were billed for {documents(calibrated)}, a rule of thumb for the others"
    else:
        said = "a rule of thumb: too few such calls have been billed, so the range is wide"
    return f"{said}; {counted(told, 'prompt')} counted by Claude" if told else said

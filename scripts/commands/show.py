"""`docmill show`: one job's story; its prompt as it was sent, or its answer as it came."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import cost, counted, exact_dollars, milliseconds, moment, span, tokens
from scripts.commands.shared.ids import find_job
from scripts.commands.shared.mistakes import Mistake
from scripts.commands.shared.options import add_json
from tasks.model.call import CallState
from tasks.model.priority import Priority
from tasks.rules.pricing import dollars
from workers.ledger import CallLine, EventLine, Spent, Story, open_database, prompt, story


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("job", metavar="JOB", help="job, or the beginning of its id; `docmill results` lists them")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--prompt", action="store_true", help="print the prompt of its last call, exactly as sent")
    what.add_argument("--answer", action="store_true", help="print the answer of its last call, exactly as it came")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Tell the story, or print one of the two."""
    with open_database(load_settings().ledger_url) as database:
        found = story(database, find_job(database, args.job))
        if found is None:
            raise Mistake(f"no job {args.job!r}: `docmill results` lists them")
        if args.prompt:
            sent = prompt(database, _last_call(found).id)
            _print_value(sent if args.json else _readable(sent or {}), args)
        elif args.answer:
            _print_value(_answer(found), args)
        elif args.json:
            terminal.print_json(_fields(found))
        else:
            _print(found)
    return 0


def _last_call(found: Story) -> CallLine:
    if not found.calls:
        raise Mistake(f"job {found.job.id} is {found.job.state.value} and has sent no call yet")
    return found.calls[-1]


def _answer(found: Story) -> str:
    answers = [call.text for call in found.calls if call.text is not None]
    if not answers:
        raise Mistake(f"job {found.job.id} is {found.job.state.value} and has no answer")
    return answers[-1]


def _print_value(value: object, args: argparse.Namespace) -> None:
    """Exactly, but for a terminal that a document might try to drive."""
    if args.json:
        terminal.print_json(value)
    elif isinstance(value, str):
        print(terminal.printable(value) if sys.stdout.isatty() else value)


def _readable(sent: Mapping[str, Any]) -> str:
    """System prompt, messages and schema one below the other; a PDF is told by its size."""
    parts = [f"--- system ---\n{sent['system']}"]
    for message in sent["messages"]:
        parts += [f"--- {message['role']} ---\n{_block(block)}" for block in message["content"]]
    if sent["output_schema"] is not None:
        parts.append(f"--- output schema ---\n{terminal.json_text(sent['output_schema'])}")
    return "\n".join(parts)


def _block(block: Mapping[str, Any]) -> str:
    if block["type"] == "text":
        return str(block["text"])
    source = block["source"]
    return f"({source['media_type']}, {len(source['data']):,} characters of base64; --json prints them)"


def _fields(found: Story) -> dict[str, Any]:
    return {
        "job": found.job,
        "calls": [{**_plain(call), "cost_usd": exact_dollars(call.cost_nanousd)} for call in found.calls],
        "events": found.events,
    }


def _plain(call: CallLine) -> dict[str, Any]:
    plain = {each.name: getattr(call, each.name) for each in dataclasses.fields(call)}
    return {**plain, "price": call.price and call.price.model_dump(mode="json")}


def _print(found: Story) -> None:
    out = terminal.out()
    grid = terminal.grid()
    for name, value in _facts(found):
        grid.add_row(name, terminal.cell(value))
    out.show(grid)
    out.print()
    shown = terminal.table("when", "after", "what", "cost", right=["after", "cost"], fold=["what"])
    for moment_of, said, cost_of, style in sorted(_timeline(found), key=lambda line: line[0]):
        after = span((moment_of - found.job.created_at).total_seconds())
        shown.add_row(moment(moment_of), after, terminal.cell(said, style), cost_of)
    out.show(shown)
    if any(call.synthetic for call in found.calls):
        terminal.note("synthetic: the simulator answered, no model was asked, nothing was paid", "yellow")


def _facts(found: Story) -> Iterator[tuple[str, str]]:
    job = found.job
    yield "job", job.id
    yield "document", job.name
    yield "state", job.state.value
    yield "submission", job.submission_id
    yield "recipe", job.recipe + "".join(f", {name}: {value}" for name, value in job.values.items())
    urgency = "" if job.priority is Priority.NORMAL else f", {job.priority.value} priority"
    yield "complexity", f"{job.complexity} (lane {job.lane}{urgency})"
    if job.route_model:
        yield "model", f"{job.route_model}, {job.route_reason}"
    if job.fault:
        yield "fault", f"{job.fault.kind}: {job.fault.message}"
    if job.replay_of:
        yield "replay of", job.replay_of
    if job.replayed_as:
        yield "replayed as", job.replayed_as
    if found.calls:
        yield "cost", f"{cost(_spent(found.calls))}, {counted(len(found.calls), 'call')}"


def _spent(calls: tuple[CallLine, ...]) -> Spent:
    unknown = [call for call in calls if call.cost_nanousd is None and call.state is not CallState.SENT]
    return Spent(
        calls=len(calls),
        cost_nanousd=sum(call.cost_nanousd or 0 for call in calls),
        unknown_calls=len(unknown),
        unknown_estimate_nanousd=sum(call.estimate_nanousd or 0 for call in unknown),
    )


def _timeline(found: Story) -> Iterator[tuple[datetime, str, str, str]]:
    """Moment, what happened, what it cost, and its style."""
    for call in found.calls:
        yield call.sent_at, f"call {call.id} sent to {call.model}", "", "dim"
        if call.finished_at is not None:
            yield call.finished_at, f"call {call.id} {_ending(call)}", _cost(call), "dim"
    # After the calls: a call's end and what follows from it are one transaction, at one moment.
    for event in found.events:
        yield event.at, _event(event), "", _EVENT_STYLES.get(event.kind, "")


_EVENT_STYLES = {
    "done": "green",
    **dict.fromkeys(("buried", "cancelled", "discarded", "letter_expired"), "red"),
    **dict.fromkeys(("delayed", "parked", "worker_lost", "uncertain", "replayed_as"), "yellow"),
}


def _event(event: EventLine) -> str:
    told = event.detail
    match event.kind:
        case "claimed":
            return f"claimed by {told.get('owner', 'a worker')}, attempt {event.attempt + 1}"
        case "delayed":
            counted = "a try" if told.get("counts") else "not a try"
            return f"waits {span(told.get('seconds', 0))} ({counted}): {_fault(told)}"
        case "buried":
            return f"dead: {_fault(told)}"
        case "worker_lost":
            return "its worker was lost; another one takes it"
        case "created" if told.get("replay_of"):
            return f"created, as a replay of {told['replay_of']}"
        case "parked":
            return f"waits for better times (not a try): {_fault(told)}"
        case "uncertain":
            return f"uncertain: {_fault(told)}"
        case "replayed":
            return "replayed: its attempts start anew"
        case "replayed_as":
            return f"replayed as {told.get('job')}, which answers in its place"
        case "letter_expired":
            return "discarded: nobody decided about it for too long"
        case "let_go":
            return f"submission {told.get('submission')} was cancelled; another one waits for it"
        case "handed_back":
            return "handed back to its lane by a stopping worker"
        case kind:
            return kind


def _fault(told: Mapping[str, Any]) -> str:
    status = f" [{told['fault_status']}]" if told.get("fault_status") else ""
    return f"{told.get('fault')}{status}: {told.get('fault_message')}"


def _ending(call: CallLine) -> str:
    parts = [call.state.value]
    if call.fault:
        parts.append(f"{call.fault}{f' [{call.status}]' if call.status else ''}")
    if call.usage is not None:
        parts.append(tokens(call.usage))
    if call.total_ms is not None:
        parts.append(f"first byte {milliseconds(call.first_byte_ms)}, total {milliseconds(call.total_ms)}")
    if call.request_id:
        parts.append(call.request_id)
    return "; ".join(parts)


def _cost(call: CallLine) -> str:
    if call.cost_nanousd is not None:
        return dollars(call.cost_nanousd)
    return f"unknown, at most {dollars(call.estimate_nanousd)}" if call.estimate_nanousd else "unknown"

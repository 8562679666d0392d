"""`docmill budget`: what may be spent, and what of it is used; sets budgets and takes them away."""

from __future__ import annotations

import argparse
import time
from decimal import Decimal
from typing import Any

import redis
from rich.text import Text

from config.recipe import load_recipes
from config.settings import Settings, load_settings
from config.stack import NotConfigured
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import ago, exact_dollars
from scripts.commands.shared.ids import find_submission
from scripts.commands.shared.lanes import read_pauses
from scripts.commands.shared.mistakes import Mistake, one_line
from scripts.commands.shared.options import add_json, money
from scripts.commands.shared.settings import broker
from scripts.commands.shared.user import user_name
from tasks.model.budget import BudgetNow, Scope
from tasks.model.fault import OverBudget
from tasks.rules.budget import LOOK_AGAIN_S, is_exhausted, named
from tasks.rules.days import day_of
from tasks.rules.pricing import dollars
from workers.ledger import OBEYED_AFTER_S, Database, budgets_now, open_database, remove_budget, set_budget

NONE = "none"
FIGURES = ("spent", "held", "hard", "soft", "used")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_json(parser)
    parser.epilog = (
        "A hard budget keeps calls back that could overrun it: their jobs wait, and lose nothing. A soft one only\n"
        "tells. A recipe's is for each day, a submission's for all its new jobs. A day is one of DOCMILL_TIME_ZONE.\n\n"
        "examples:\n"
        "  docmill budget set day --hard 50 --soft 40\n"
        "  docmill budget set recipe summarize --hard 5\n"
        "  docmill budget set submission latest --hard none"
    )
    verbs = parser.add_subparsers(metavar="VERB", dest="verb")
    setting = verbs.add_parser("set", help="set a budget, or change it; a limit that is not given stays")
    removing = verbs.add_parser("remove", help="take a budget away; what waits for it goes on")
    for verb in (setting, removing):
        verb.add_argument("scope", type=Scope, choices=list(Scope), metavar="{" + ",".join(Scope) + "}")
        verb.add_argument("name", nargs="?", metavar="NAME", help="of the recipe; id of the submission, or latest")
    for limit, what in (("hard", "never spend more than this"), ("soft", "tell when so much is spent")):
        setting.add_argument(f"--{limit}", type=_limit, metavar="DOLLARS", help=f"{what}; {NONE} takes the limit away")


def run(args: argparse.Namespace) -> int:
    """List, set or remove. Workers obey within a second."""
    settings = load_settings()
    with open_database(settings.ledger_url) as database:
        day = day_of(database.now(), settings.time_zone)
        if args.verb is None:
            _show(budgets_now(database, day), day, as_json=args.json)
            return 0
        name = _name(args, settings, database)
        if args.verb == "set":
            said = _set(args, name, day, database)
        elif remove_budget(database, args.scope, name):
            said = f"removed: the budget of {named(args.scope, name)}"
        else:
            raise Mistake(f"no budget of {named(args.scope, name)}: `docmill budget` lists them")
    print(said)
    _let_go(args.scope, settings)
    return 0


def _name(args: argparse.Namespace, settings: Settings, database: Database) -> str:
    """The budget's name in the ledger. Raises `Mistake`."""
    scope: Scope = args.scope
    if scope is Scope.DAY:
        if args.name is not None:
            raise Mistake(f"budget: the day's has no name: leave out {args.name!r}")
        return ""
    if args.name is None:
        raise Mistake(f"budget: which {scope}? docmill budget {args.verb} {scope} NAME")
    if scope is Scope.SUBMISSION:
        return find_submission(database, args.name)
    if args.verb == "set" and args.name not in (known := load_recipes(settings.home)):
        raise Mistake(f"no recipe {args.name!r}: choose one of {', '.join(sorted(known))}")
    return str(args.name)


def _set(args: argparse.Namespace, name: str, day: str, database: Database) -> str:
    if args.hard is None and args.soft is None:
        raise Mistake("budget set: give --hard DOLLARS, --soft DOLLARS or both")
    before = next((each for each in budgets_now(database, day) if (each.scope, each.name) == (args.scope, name)), None)
    hard, soft = (
        (getattr(before, f"{limit}_nanousd") if before else None) if given is None else None if given == NONE else given
        for limit, given in (("hard", args.hard), ("soft", args.soft))
    )
    if hard is None and soft is None:
        raise Mistake("budget set: that leaves no limit: `docmill budget remove` takes the budget away")
    if hard is not None and soft is not None and soft > hard:
        raise Mistake(f"budget set: {dollars(soft)} soft is above {dollars(hard)} hard, and would never be told of")
    set_budget(database, args.scope, name, hard_nanousd=hard, soft_nanousd=soft, day=day, set_by=user_name())
    limits = [f"{dollars(limit)} {kind}" for kind, limit in (("hard", hard), ("soft", soft)) if limit is not None]
    return f"set: budget of {named(args.scope, name)}: {', '.join(limits)}"


def _let_go(scope: Scope, settings: Settings) -> None:
    """Let the lanes work that the day's budget had stopped; one that is still used up stops them again."""
    if scope is not Scope.DAY:
        terminal.note(f"what waits for it looks again within {LOOK_AGAIN_S:.0f} s", "dim")
        return
    try:
        if not _stopped(settings):
            return
        time.sleep(OBEYED_AFTER_S)  # a worker that knows only the old limit would stop them again
        lanes = _stopped(settings)
        client = broker(settings)
        if client is not None:
            from workers.transport import Pauses

            with client:
                lanes = Pauses(client).resume(lanes, fault=OverBudget.__name__)
            print(f"resumed: {', '.join(lanes)}")
    except (NotConfigured, redis.RedisError) as error:
        terminal.note(
            f"the broker: {one_line(str(error))}: lanes that were stopped go on when their pause ends", "yellow"
        )


def _stopped(settings: Settings) -> list[str]:
    return [lane for lane, pause in read_pauses(settings).items() if pause.fault == OverBudget.__name__]


def _show(budgets: list[BudgetNow], day: str, *, as_json: bool) -> None:
    if as_json:
        terminal.print_json({"day": day, "budgets": [_fields(each) for each in budgets]})
        return
    if not budgets:
        terminal.out().print("no budgets: docmill budget set day --hard DOLLARS")
        return
    shown = terminal.table("budget", *FIGURES, "state", right=FIGURES, fold=["budget", "state"])
    for each in budgets:
        figures = (each.spent_nanousd, each.held_nanousd, each.hard_nanousd, each.soft_nanousd)
        shown.add_row(
            terminal.cell(named(each.scope, each.name)),
            *("" if figure is None else dollars(figure) for figure in figures),
            _percent(each),
            _state(each),
        )
    terminal.out().show(shown)
    if any(is_exhausted(each) or each.refused_at for each in budgets):
        terminal.note(
            "→ jobs wait and lose nothing: `docmill budget set` allows more; the day's end does, too", "yellow"
        )


def _state(budget: BudgetNow) -> Text:
    waits = "" if budget.refused_at is None else f"jobs wait, the last call was refused {ago(budget.refused_at)}"
    if is_exhausted(budget):
        return terminal.cell(f"used up{waits and f': {waits}'}", "yellow")
    if waits:
        return terminal.cell(f"too little is left for some: {waits}", "yellow")
    is_told = budget.soft_nanousd is not None and budget.spent_nanousd >= budget.soft_nanousd
    return terminal.cell("above its soft limit", "yellow") if is_told else terminal.cell("open", "green")


def _share(budget: BudgetNow) -> Decimal | None:
    """What is spent and held, of the hard limit or else the soft one. None where that is 0."""
    limit = budget.soft_nanousd if budget.hard_nanousd is None else budget.hard_nanousd
    return Decimal(budget.spent_nanousd + budget.held_nanousd) / limit if limit else None


def _percent(budget: BudgetNow) -> str:
    share = _share(budget)
    return "" if share is None else f"{100 * share:.1f} %"


def _fields(budget: BudgetNow) -> dict[str, Any]:
    share = _share(budget)
    figures = {name: getattr(budget, f"{name}_nanousd") for name in ("spent", "held", "hard", "soft")}
    return {
        "scope": budget.scope,
        "name": budget.name,
        **{f"{name}_nanousd": figure for name, figure in figures.items()},
        **{f"{name}_usd": exact_dollars(figure) for name, figure in figures.items()},
        "share": None if share is None else round(float(share), 6),
        "is_exhausted": is_exhausted(budget),
        "refused_at": budget.refused_at,
    }


def _limit(text: str) -> int | str:
    return NONE if text == NONE else money(text)

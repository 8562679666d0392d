"""Catalogue, prices and recipes: whether they can be read, and fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from config.catalogue import Catalogue, load_catalogue
from config.files import BadConfig
from config.prices import UnknownPrice, load_prices
from config.recipe import load_recipes
from config.settings import Settings
from scripts.commands.shared.figures import counted
from scripts.commands.shared.health.finding import Finding, Grade
from scripts.commands.shared.mistakes import one_line

MEND = "mend the file; the shipped one in config/ shows the form"


def files(settings: Settings) -> Iterator[Finding]:
    """Each of them, whatever the others say."""
    routed: list[str] = []
    try:
        catalogue = load_catalogue(settings.home)
        routed = sorted(set(catalogue.routes.values()))
        yield from _catalogue(catalogue, routed)
    except BadConfig as error:
        yield Finding("catalogue", Grade.MISSING, str(error), MEND)
    yield _prices(settings, routed)
    try:
        yield Finding("recipes", Grade.OK, ", ".join(sorted(load_recipes(settings.home))))
    except BadConfig as error:
        yield Finding("recipes", Grade.MISSING, str(error), MEND)


def _catalogue(catalogue: Catalogue, routed: Iterable[str]) -> Iterator[Finding]:
    routes = ", ".join(f"{complexity.value} → {model}" for complexity, model in catalogue.routes.items())
    yield Finding("catalogue", Grade.OK, f"{counted(len(catalogue.models), 'model')}; {routes}")
    for model in routed:
        retires_on = catalogue.models[model].retires_on
        if retires_on is not None:
            yield Finding("catalogue", Grade.WARNING, f"{model} retires on {retires_on}", "route to another model")


def _prices(settings: Settings, routed: Iterable[str]) -> Finding:
    try:
        prices = load_prices(settings.home)
        for model in routed:
            prices.price(model, datetime.now(UTC))
    except UnknownPrice as error:
        return Finding("prices", Grade.WARNING, one_line(str(error)), "until then its calls are of unknown cost")
    except BadConfig as error:
        return Finding("prices", Grade.MISSING, str(error), MEND)
    return Finding("prices", Grade.OK, "every routed model has one")

"""`docmill recipes`: what can be asked of a document."""

from __future__ import annotations

import argparse

from config.recipe import Recipe, load_recipes
from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.options import add_json


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = "Your own: a TOML file in DOCMILL_HOME/recipes, after the pattern of those in config/recipes."
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List the recipes, shipped and the user's own."""
    settings = load_settings()
    recipes = sorted(load_recipes(settings.home).values(), key=lambda recipe: recipe.name)
    if args.json:
        terminal.print_json([_fields(recipe) for recipe in recipes])
        return 0
    shown = terminal.table("recipe", "answer", "complexity", "needs", "what it does", fold=["what it does"])
    for recipe in recipes:
        shown.add_row(
            terminal.cell(recipe.name, "bold"),
            "text" if recipe.output_schema is None else "JSON",
            recipe.complexity.value,
            terminal.cell(", ".join(sorted(recipe.parameters))),
            terminal.cell(recipe.description),
        )
    terminal.out().show(shown)
    terminal.note(f"Your own: TOML files in {settings.home / 'recipes'}", "dim")
    return 0


def _fields(recipe: Recipe) -> dict[str, object]:
    return {
        "name": recipe.name,
        "description": recipe.description,
        "complexity": recipe.complexity.value,
        "max_tokens": recipe.max_tokens,
        "parameters": sorted(recipe.parameters),
        "output_schema": recipe.output_schema,
        "hash": recipe.hash,
    }

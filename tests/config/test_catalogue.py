"""The catalogue: shipped whole, changed by one line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from config.catalogue import load_catalogue
from config.files import BadConfig
from tests.values import HAIKU, SONNET


def test_as_shipped_high_goes_to_the_strong_model(tmp_path: Path) -> None:
    catalogue = load_catalogue(tmp_path)
    assert catalogue.routes == {"low": HAIKU, "medium": HAIKU, "high": SONNET}
    assert {lane.queue for lane in catalogue.lanes.values()} == {"docmill.low", "docmill.medium", "docmill.high"}


def test_one_line_switches_a_route_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text('[routes]\nhigh = "claude-sonnet-5-5"\n')
    catalogue = load_catalogue(tmp_path)
    assert catalogue.routes == {"low": HAIKU, "medium": HAIKU, "high": "claude-sonnet-5-5"}
    assert catalogue.models[SONNET].window_tokens == 1_000_000


def test_models_share_a_limit_by_their_class_which_may_have_our_own_ceiling(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(
        f'[models."{SONNET}"]\nlimit_class = "sonnet-4"\n[limits."sonnet-4"]\nrpm = 500\notpm = 40_000\n'
    )
    catalogue = load_catalogue(tmp_path)
    assert [catalogue.limit_class(model) for model in (SONNET, HAIKU, "else")] == ["sonnet-4", HAIKU, "else"]
    ceiling = catalogue.limits["sonnet-4"]
    assert (ceiling.rpm, ceiling.itpm, ceiling.otpm) == (500, None, 40_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[routes]\nhigh = "claude-9"', "routes.high = 'claude-9': not one of"),
        ("[lanes.low]\nconcurrency = 0", "lanes.low.concurrency: Input should be greater than 0"),
        ('[lanes.low]\nqueue = "docmill.high"', "two lanes share a queue"),
        ('[limits."x"]\nrpm = 0', "limits.x.rpm: Input should be greater than 0"),
        ("[routes", "catalogue.toml: Expected"),
        ("[colours]\nlow = 1", "colours: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_file_is_told_by_its_name_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "catalogue.toml").write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_catalogue(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_retirement_that_is_announced_has_its_day() -> None:
    models = load_catalogue(Path("/nonexistent")).models
    assert models["claude-sonnet-4-5-20250929"].retires_on == date(2026, 11, 30)
    assert models[HAIKU].retires_on is None

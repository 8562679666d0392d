from __future__ import annotations

from pathlib import Path

import pytest

from scripts.repository import foreign_names, header, stale_locks, unlocked_imports

PYPROJECT = """
[project]
dependencies = ["redis>=6.4"]
optional-dependencies.dev = ["pytest>=8.4"]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose locks fit, with a product and a test."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "requirements.txt").write_text(header(PYPROJECT, "dependencies") + "redis==8.1.0 \\\n")
    for folder in ("scripts", "tests", "workers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "scripts/requirements-dev.txt").write_text(header(PYPROJECT, "dev") + "pytest==9.2.0 \\\n")
    (tmp_path / "workers/broker.py").write_text("import os\nfrom redis.asyncio import Redis\nimport config.settings\n")
    (tmp_path / "tests/test_broker.py").write_text("import pytest, redis\n")
    return tmp_path


def python_files(repository: Path) -> list[Path]:
    return sorted(repository.rglob("*.py"))


def test_locks_that_fit_are_passed(repository: Path) -> None:
    assert not list(stale_locks(repository))
    assert not list(unlocked_imports(repository, python_files(repository)))


@pytest.mark.parametrize(("old", "new", "lock"), [("6.4", "7", "requirements.txt"), ("8.4", "9", "requirements-dev")])
def test_a_lock_made_for_other_requirements_is_named(repository: Path, old: str, new: str, lock: str) -> None:
    (repository / "pyproject.toml").write_text(PYPROJECT.replace(old, new))
    (fault,) = stale_locks(repository)
    assert lock in fault
    assert "run scripts/lock" in fault


def test_a_lock_that_says_from_where_is_named(repository: Path) -> None:
    with (repository / "requirements.txt").open("a") as lock:
        lock.write("thing @ https://example.org/thing.whl\n")
    (fault,) = stale_locks(repository)
    assert fault.startswith("requirements.txt: holds a URL")


def test_the_product_may_not_import_what_only_the_development_lock_has(repository: Path) -> None:
    (repository / "workers/broker.py").write_text("def check():\n    import pytest\n")
    (fault,) = unlocked_imports(repository, python_files(repository))
    assert "imports pytest, not in requirements.txt" in fault


def test_a_package_that_is_only_installed_here_is_named(repository: Path) -> None:
    (repository / "tests/test_broker.py").write_text("import celery\n")
    (fault,) = unlocked_imports(repository, python_files(repository))
    assert "imports celery, not in either lock" in fault


@pytest.mark.parametrize(
    "line", ["--index-{}url somewhere", "PIP_FIND_{}LINKS=x", "see /ro{}ot/notes", "open('/wo{}rk/main')"]
)
def test_names_of_one_machine_or_registry_are_found(tmp_path: Path, line: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("first\n" + line.format(""))  # in pieces, or this file would be found as well
    (fault,) = foreign_names([file])
    assert fault.startswith(f"{file}:2: ")


def test_our_own_folders_are_no_foreign_names(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("workers/app.py docs/{0}/ ~/{0}/ /{0}ers/ grass/roots".format("work"))
    assert not list(foreign_names([file]))

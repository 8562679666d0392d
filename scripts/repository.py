"""What must hold for the repository as a whole, and no linter looks at: foreign names, and locks that fit.

Reads files and asks git for their list; `scripts/check` runs it, `scripts/lock` takes the locks' headers from it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FOREIGN_NAMES = re.compile(r"(?i:index[-_]url|extra[-_]index|find[-_]links|registry\s*=)|(?<![\w.~-])/(?:work|root)/")
"""Settings that say where packages come from, whichever host that is, and paths that exist on one machine only."""

OWN_PACKAGES = {"config", "tasks", "workers", "scripts", "tests"}

LOCKS = {"requirements.txt": "dependencies", "scripts/requirements-dev.txt": "dev"}
"""Each lock, and what of pyproject.toml it was made for."""

RUN_BY_OTHERS = {"scripts/bench/peer_tasks.py"}
"""Programs for a Python that is not ours: what they import is never installed beside docmill."""

_PIN = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


def foreign_names(files: Iterable[Path]) -> Iterator[str]:
    """One line `file:line: name` per name in `files` that means nothing to a reader elsewhere."""
    for file in files:
        for number, line in enumerate(file.read_bytes().decode(errors="replace").splitlines(), start=1):
            for found in FOREIGN_NAMES.finditer(line):
                yield f"{file}:{number}: {found.group()} names one machine or registry: write what holds anywhere"


def header(pyproject: str, key: str) -> str:
    """First lines of the lock for `key` (`dependencies`, or the name of an extra): what it was made for."""
    project = tomllib.loads(pyproject)["project"]
    requirements = project["dependencies"] if key == "dependencies" else project["optional-dependencies"][key]
    return "".join(["# Made by scripts/lock for:\n", *(f"#   {requirement}\n" for requirement in requirements)])


def stale_locks(root: Path) -> Iterator[str]:
    """One line per lock under `root` that was made for other requirements than pyproject.toml has, or holds a URL."""
    pyproject = (root / "pyproject.toml").read_text()
    for lock, key in LOCKS.items():
        text = (root / lock).read_text()
        if "://" in text:
            yield f"{lock}: holds a URL: a lock says what is installed, not from where; run scripts/lock"
        if not text.startswith(header(pyproject, key)):
            yield f"{lock}: pyproject.toml's {key} changed since it was made: run scripts/lock"


def unlocked_imports(root: Path, files: Iterable[Path]) -> Iterator[str]:
    """One line per import of a package that no lock has: it is here by accident, and missing elsewhere.

    What the product imports must be in its own lock; a test may use what is for development.
    """
    runtime, dev = (set(_PIN.findall((root / lock).read_text())) for lock in LOCKS)
    installed = packages_distributions()
    for file in files:
        if file.suffix != ".py" or file.relative_to(root).as_posix() in RUN_BY_OTHERS:
            continue
        in_test = file.relative_to(root).parts[0] == "tests"
        locked = runtime | dev if in_test else runtime
        for package in sorted(_imported(file.read_text()) - sys.stdlib_module_names - OWN_PACKAGES):
            if not {_canonical(name) for name in installed.get(package, [package])} & locked:
                lock = "either lock" if in_test else "requirements.txt"
                yield f"{file}: imports {package}, not in {lock}: declare it in pyproject.toml, run scripts/lock"


def _imported(source: str) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def own_files(root: Path) -> list[Path]:
    """Files that git tracks or would track, and that are there. Raises `CalledProcessError` outside a git checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 (git is where PATH says)
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    files = (root / name for name in listing.stdout.split("\0") if name)
    return [file for file in files if file.is_file()]


def main(argv: Sequence[str]) -> int:
    """`names`, `locks`: print what is wrong, exit 1 if anything is. `header KEY`: print a lock's header."""
    match list(argv):
        case ["names"]:
            problems = list(foreign_names(own_files(ROOT)))
        case ["locks"]:
            problems = [*stale_locks(ROOT), *unlocked_imports(ROOT, own_files(ROOT))]
        case ["header", key]:
            print(header((ROOT / "pyproject.toml").read_text(), key), end="")
            return 0
        case _:
            problems = ["usage: python -m scripts.repository names | locks | header KEY"]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

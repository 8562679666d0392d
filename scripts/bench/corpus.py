"""Collect real documents of several kinds from this machine into a folder, for runs at length.

    python -m scripts.bench.corpus FOLDER --count 500

They come from the documentation of installed packages, from Python packages, and from the repository's own samples;
the kinds take turns, and no two documents are equal. Good sets to install first: debian-handbook (HTML in 26
languages), installation-guide-amd64 (PDFs in 18), debian-policy.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import random
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from workers.intake import MAX_BYTES

SAMPLES = Path(__file__).parents[2] / "tests" / "samples"
PLACES = (Path("/usr/share/doc"), Path(sysconfig.get_path("purelib")), SAMPLES)
SHORTEST_BYTES = 200
"""Below it are stubs that say where the real document is."""

_KINDS = {".html": "html", ".htm": "html", ".pdf": "pdf", ".md": "md", ".txt": "txt", ".rst": "txt", ".text": "txt"}
_TEXTS = frozenset({"readme", "news", "copyright", "license", "changelog", "todo", "faq", "authors", "changes"})


class Candidate(NamedTuple):
    """A file that is probably a document, perhaps gzipped."""

    path: Path
    name: str
    kind: str


def candidates(places: Iterable[Path]) -> Iterator[Candidate]:
    """Documents below `places`, by their names."""
    for place in places:
        for path in place.rglob("*"):
            name = path.name.removesuffix(".gz")
            kind = _kind(name)
            if kind is not None and path.is_file() and not path.is_symlink():
                yield Candidate(path, name, kind)


def collect(places: Iterable[Path], folder: Path, count: int, seed: int) -> dict[str, int]:
    """Copy up to `count` different documents into `folder/<kind>/`; returns how many there are of each kind."""
    by_kind: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates(places)):
        by_kind.setdefault(candidate.kind, []).append(candidate)
    for group in by_kind.values():
        random.Random(seed).shuffle(group)
    taken = dict.fromkeys(sorted(by_kind), 0)
    seen: set[bytes] = set()
    for candidate in _in_turns(list(by_kind.values())):
        if len(seen) == count:
            break
        content = _content(candidate.path)
        if content is None or (digest := hashlib.sha256(content).digest()) in seen:
            continue
        seen.add(digest)
        taken[candidate.kind] += 1
        target = folder / candidate.kind / f"{taken[candidate.kind]:04}-{candidate.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return taken


def _kind(name: str) -> str | None:
    suffix = Path(name).suffix.lower()
    return _KINDS.get(suffix) or ("txt" if not suffix and name.lower() in _TEXTS else None)


def _in_turns(groups: Sequence[Sequence[Candidate]]) -> Iterator[Candidate]:
    for row in zip_longest(*groups):
        yield from (candidate for candidate in row if candidate is not None)


def _content(path: Path) -> bytes | None:
    """The file, unpacked; None when it is unreadable, a stub or too large."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except (OSError, EOFError):
        return None
    return content if SHORTEST_BYTES <= len(content) <= MAX_BYTES else None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.corpus", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where to put them; made if it is not there, and must be empty")
    parser.add_argument("--count", type=int, default=500, help="how many documents (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another choice (default: 1)")
    parser.add_argument(
        "--place", type=Path, action="append", default=[], help="one more folder to look in; may be given several times"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 with all `--count` documents, 1 with fewer, 2 when the folder is not empty."""
    args = parser().parse_args(argv)
    if args.folder.exists() and any(args.folder.iterdir()):
        print(f"{args.folder}: not empty: name a new folder", file=sys.stderr)
        return 2
    taken = collect([*args.place, *PLACES], args.folder, args.count, args.seed)
    total = sum(taken.values())
    print(f"{total} documents in {args.folder}: " + ", ".join(f"{number} {kind}" for kind, number in taken.items()))
    if total < args.count:
        print(f"{total} of {args.count}: no more here; install packages with documents (--help)", file=sys.stderr)
    return 0 if total == args.count else 1


if __name__ == "__main__":
    sys.exit(main())

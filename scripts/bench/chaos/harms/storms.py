"""The far side is overloaded."""

from __future__ import annotations

import time

from scripts.bench.chaos.scene import Scene
from scripts.bench.chaos.timing import histogram, per_second, too_soon

CALM_SHARE = 0.25
"""Of the jobs is over before the storm: how many requests a second are usual."""
OVERLOAD = {"529": 0.9, "429": 0.1}
"""Each 429 asks for a second's wait; a 529 does not say."""


def storm(scene: Scene, *, lasts_s: float) -> None:
    """Every request fails for a while: nobody may come back too soon, nor all together."""
    jobs = scene.unfinished()
    scene.until(lambda: scene.unfinished() <= (1 - CALM_SHARE) * jobs, "a part of the jobs has ended")
    struck_at = time.time()
    scene.mill.simulator.configure(faults=OVERLOAD)
    scene.wait(lasts_s)
    scene.mill.simulator.configure(faults={})
    scene.until(lambda: scene.unfinished() == 0, "every job has ended", within_s=120)
    rows = scene.mill.bill()
    counts = per_second(rows)
    calm_s = int(struck_at - min(row["at"] for row in rows))
    # A machine that stands still in the calm has few requests in it; that each slot asks once is no wave.
    calm = max(scene.slots, *counts[: max(1, calm_s)])
    busiest = max(counts[calm_s + 1 :], default=0)
    scene.notes.append(f"requests in each second: {histogram(counts)}  (busiest {max(counts)})")
    if soon := too_soon(rows):
        scene.broken.append(f"{len(soon)} documents were asked for before their retry-after was over")
    if busiest > 2 * calm:
        scene.broken.append(f"a wave: {busiest} requests in one second, where the calm had {calm}")

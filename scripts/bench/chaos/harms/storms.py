"""The far side is overloaded."""

from __future__ import annotations

from scripts.bench.chaos.scene import Scene
from scripts.bench.chaos.timing import histogram, per_second, too_soon

CALM_S = 4.0
OVERLOAD = {"529": 0.9, "429": 0.1}
"""Each 429 asks for a second's wait; a 529 does not say."""


def storm(scene: Scene, *, lasts_s: float) -> None:
    """Every request fails for a while: nobody may come back too soon, nor all together."""
    scene.wait(CALM_S)
    scene.mill.simulator.configure(faults=OVERLOAD)
    scene.wait(lasts_s)
    scene.mill.simulator.configure(faults={})
    scene.until(lambda: scene.unfinished() == 0, "every job has ended", within_s=120)
    rows = scene.mill.bill()
    counts = per_second(rows)
    calm = max(counts[: int(CALM_S)])
    busiest = max(counts[int(CALM_S) :])
    scene.notes.append(f"requests in each second: {histogram(counts)}  (busiest {max(counts)})")
    if soon := too_soon(rows):
        scene.broken.append(f"{len(soon)} documents were asked for before their retry-after was over")
    if busiest > 2 * calm:
        scene.broken.append(f"a wave: {busiest} requests in one second, where the calm had {calm}")

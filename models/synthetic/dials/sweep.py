"""Settings of the dials for a study: around a centre one dial at a time, and all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from scipy.stats import qmc

from models.synthetic.dials.dials import FACTORS, Aggregate, Dials

CENTRE = Dials()
"""What one-dial sweeps leave as it is; its plain effect makes room for the shares."""

Place = Callable[[float], Any]
"""From a place between 0 and 1 to a value of a dial."""


def settings(count: int, seed: int) -> list[Dials]:
    """Settings of so many tasks; a longer list begins with the shorter one.

    Every other one, beginning with the first, moves one dial of `CENTRE`; the dials take turns, each
    goes through its range coarse before fine. The rest fill the space of all dials evenly: a Sobol
    sequence, scrambled with the seed (Owen, 1998, "Scrambling Sobol' and Niederreiter-Xing points").

    Raises:
        ValueError: The count is below 1.
    """
    if count < 1:
        raise ValueError(f"a study needs at least 1 task (got {count})")
    single = _one_dial_at_a_time(count - count // 2)
    mixed = _spread(count // 2, seed)
    return [dials for dials in chain(*zip_longest(single, mixed)) if dials is not None]


def one_dial_sweep(dial: str, count: int, centre: Dials = CENTRE) -> list[Dials]:
    """`count` settings that move one dial over its range in even steps, the others fixed.

    Shares go from 0 (noise from 0.02) to what the plain effect of the centre leaves them.

    Raises:
        ValueError: No such dial is swept.
    """
    ranges = _ranges(centre)
    if dial not in ranges:
        raise ValueError(f"no sweep over {dial!r} (there are: {', '.join(ranges)})")
    places = np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])
    return [replace(centre, **{dial: ranges[dial](float(place))}) for place in places]


def swept_dials() -> tuple[str, ...]:
    """The dials that studies move."""
    return tuple(_ranges(CENTRE))


def moved_dials(dials: Dials, centre: Dials = CENTRE) -> tuple[str, ...]:
    """The dials in which a setting differs from the centre; one for a member of a sweep."""
    names = (dial.name for dial in fields(Dials))
    return tuple(name for name in names if getattr(dials, name) != getattr(centre, name))


def _ranges(centre: Dials) -> Mapping[str, Place]:
    def share(name: str, low: float = 0.0) -> Place:
        return _linear(low, getattr(centre, name) + centre.plain)

    depths = [depth for depth, order in FACTORS if order == centre.order]
    orders = [order for depth, order in FACTORS if depth == centre.depth]
    return {
        "homophily": share("homophily"),
        "autocorrelation": share("autocorrelation"),
        "interaction": share("interaction"),
        "noise": share("noise", 0.02),
        "drift": _linear(0.0, 1.0),
        "rows": _geometric(250, centre.entities * centre.cutoffs),
        "degree": _geometric(1, 24),
        "distractors": lambda place: round(64 * place**2),
        "positive_rate": _linear(0.05, 0.5),
        "depth": _level(depths),
        "order": _level(orders),
        "aggregate": _level(list(Aggregate)),
        "degree_exponent": _level([None, 4.0, 2.5, 1.8, 1.4]),
    }


def _one_dial_at_a_time(count: int) -> list[Dials]:
    ranges = list(_ranges(CENTRE).items())
    found = []
    for number in range(count):
        name, value = ranges[number % len(ranges)]
        found.append(replace(CENTRE, **{name: value(_nested_place(number // len(ranges)))}))
    return found


def _nested_place(number: int) -> float:
    """0, 1, 1/2, 1/4, 3/4, 1/8, 5/8, ...: van der Corput's sequence after the two ends."""
    if number < 2:
        return float(number)
    digits = f"{number - 1:b}"
    return int(digits[::-1], 2) / 2 ** len(digits)


def _spread(count: int, seed: int) -> list[Dials]:
    if not count:
        return []
    points = qmc.Sobol(12, scramble=True, seed=np.random.default_rng(seed))
    # A power of two keeps the sequence balanced.
    drawn = points.random_base2(max(0, (count - 1).bit_length()))[:count]
    return [_anywhere(point) for point in drawn]


def _anywhere(point: np.ndarray) -> Dials:
    """Shares uniform over all that sum to 1 - noise; half without drift, half with fixed degrees."""
    u = [float(place) for place in point]
    noise = _linear(0.02, 0.6)(u[0])
    rest = 1.0 - noise
    homophily = rest * (1.0 - (1.0 - u[1]) ** (1 / 3))
    autocorrelation = (rest - homophily) * (1.0 - (1.0 - u[2]) ** (1 / 2))
    interaction = (rest - homophily - autocorrelation) * u[3]
    depth, order = _level(list(FACTORS))(u[4])
    return replace(
        CENTRE,
        # Rounded down, so that the sum stays below 1.
        homophily=_floor(homophily),
        autocorrelation=_floor(autocorrelation),
        interaction=_floor(interaction),
        noise=_floor(noise),
        depth=depth,
        order=order,
        aggregate=_level(list(Aggregate))(u[5]) if depth else Aggregate.MEAN,
        drift=_floor(max(0.0, 2 * u[6] - 1)),
        rows=_geometric(250, CENTRE.entities * CENTRE.cutoffs)(u[7]),
        degree=_geometric(2, 24)(u[8]),
        degree_exponent=None if u[9] < 0.5 else _floor(_linear(1.4, 4.0)(2 * u[9] - 1)),
        distractors=round(64 * u[10] ** 2),
        positive_rate=_floor(_linear(0.05, 0.5)(u[11])),
    )


def _linear(low: float, high: float) -> Place:
    return lambda place: round(low + (high - low) * place, 6)


def _geometric(low: int, high: int) -> Place:
    return lambda place: round(low * (high / low) ** place)


def _level(values: Sequence[Any]) -> Place:
    return lambda place: values[min(int(place * len(values)), len(values) - 1)]


def _floor(value: float) -> float:
    return int(value * 10_000) / 10_000

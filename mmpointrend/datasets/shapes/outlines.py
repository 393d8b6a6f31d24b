# Copyright (c) The mmpointrend authors.
"""Outlines of the six classes of Shapes: objects whose boundary is most of what there is to see.

Every outline lives in the frame of its object: x to the right, y downwards, unit = half of the
object's largest extent, so all of it lies in [-1, 1]^2. ``detail`` is what that unit will
measure in pixels: parts that would be thinner than a pixel and a half are made thicker or left out,
so that a mask never claims what the image cannot show.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Points = np.ndarray
"""(n, 2) float64 vertices (x, y) of a closed polygon or of an open line."""

THINNEST = 1.6
"""Least thickness of any part in pixels."""


@dataclass
class Outline:
    """A region of the plane: the union of ``solids`` minus the union of ``holes``.

    Attributes:
        solids: Closed polygons, each (n, 2), in the object's frame.
        holes: Closed polygons, each (n, 2), cut out of the solids.
    """

    solids: list[Points]
    holes: list[Points] = field(default_factory=list)

    def fitted(self) -> 'Outline':
        """Returns the outline moved and scaled so that its longer side spans [-1, 1]."""
        vertices = np.concatenate(self.solids)
        low, high = vertices.min(0), vertices.max(0)
        centre, half = (low + high) / 2, (high - low).max() / 2
        return Outline(*([(p - centre) / half for p in part] for part in (self.solids, self.holes)))


def _polar(radius: np.ndarray, phase: float = 0.0) -> Points:
    """Closed polygon of ``radius`` (n,) at n equal steps of the angle."""
    angle = phase + np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _stroke(line: Points, start: float, end: float) -> Points:
    """Polygon around a line, its half width going from ``start`` to ``end``."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    side = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    side *= np.linspace(start, end, len(line))[:, None]
    return np.concatenate([line + side, (line - side)[::-1]])


def _arc(
    centre: tuple[float, float], radii: tuple[float, float], first: float, last: float
) -> Points:
    """Elliptic arc from angle ``first`` to ``last`` in degrees (clockwise on the screen)."""
    angle = np.deg2rad(np.linspace(first, last, 25))
    return np.stack(
        [centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1
    )


def star(rng: np.random.Generator, detail: float) -> Outline:
    """Star of 4 to 8 points; the edges are straight or bent inwards."""
    tips = int(rng.integers(4, 9))
    inner = rng.uniform(0.28, 0.58)
    bend = rng.choice([1.0, rng.uniform(1.2, 1.9)])
    steps = 24
    rise = np.abs(np.linspace(-1, 1, steps, endpoint=False))
    tip_radius = rng.uniform(0.85, 1.0, size=tips)
    # 1/r rises by a power from tip to valley: the power bends the edge, the tip stays sharp.
    fall = (1 - rise) ** (1 / bend)
    radius = np.concatenate([1 / (1 / r + (1 / inner - 1 / r) * fall) for r in tip_radius])
    return Outline([_polar(radius)]).fitted()


def gear(rng: np.random.Generator, detail: float) -> Outline:
    """Gear of 7 to 16 teeth with a bore and, if it is large, windows between its spokes."""
    teeth = int(rng.integers(7, 17 if detail > 24 else 11))
    root = rng.uniform(0.72, 0.84)
    # One tooth: gap, flank, top land, flank, as shares of the pitch.
    pitch = np.array([0.0, 0.36, 0.5, 0.86])
    height = np.array([root, root, 1.0, 1.0])
    angle = 2 * np.pi * (np.arange(teeth)[:, None] + pitch).reshape(-1) / teeth
    radius = np.tile(height, teeth)
    body = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    bore = rng.uniform(0.18, 0.4)
    holes = [_polar(np.full(48, bore))]
    spokes = int(rng.integers(3, 7))
    if detail > 30 and rng.random() < 0.6:
        holes = [_polar(np.full(48, bore * 0.55))]
        inner, outer = bore * 0.55 + 0.16, root - 0.14
        gap = 2 * np.pi / spokes
        for spoke in range(spokes):
            sweep = np.linspace(spoke * gap + 0.17 * gap, (spoke + 1) * gap - 0.17 * gap, 16)
            unit = np.stack([np.cos(sweep), np.sin(sweep)], axis=1)
            holes.append(np.concatenate([unit * outer, unit[::-1] * inner]))
    return Outline([body], holes)


def _feather_blade(rng: np.random.Generator, detail: float) -> tuple[Points, Points]:
    """Blade along a bent midrib, lobed as an oak's or toothed as an elm's, and the midrib."""
    along = np.linspace(0, 1, 161)
    width = np.sin(np.pi * along ** rng.uniform(0.65, 0.9)) ** rng.uniform(0.6, 0.9)
    if rng.random() < 0.5:
        lobes = int(rng.integers(4, 8)) if detail > 12 else 3
        cut = rng.uniform(0.35, 0.6)
        width *= rng.uniform(0.5, 0.68)
        width *= 1 - cut + cut * np.abs(np.sin(np.pi * (lobes * along**0.9 + 0.1))) ** 0.8
    else:
        teeth = int(rng.integers(8, 15)) if detail > 20 else 5
        width *= rng.uniform(0.4, 0.62) * (0.78 + 0.22 * np.mod(teeth * along, 1.0))
    rib = np.stack([2 * along - 1, rng.uniform(-1, 1) * (along - 0.5) ** 2], axis=1)
    tangent = np.gradient(rib, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * width[:, None]
    return np.concatenate([rib + side, (rib - side)[::-1]]), rib


def _palm_blade(rng: np.random.Generator) -> tuple[Points, Points]:
    """Blade of five pointed lobes around its foot, as a maple's, and the midrib."""
    polar = []
    opening = rng.uniform(0.85, 1.05)
    for turn, reach in zip((-112, -56, 0, 56, 112), (0.62, 0.9, 1.05, 0.9, 0.62), strict=True):
        reach *= rng.uniform(0.93, 1.07)
        valley = rng.uniform(0.3, 0.42)
        # valley, tooth, notch, tip, notch, tooth: (degrees from the lobe's axis, radius)
        lobe = [(-28, valley), (-19, 0.74 * reach), (-11, 0.66 * reach), (0, reach)]
        lobe += [(-offset, radius) for offset, radius in lobe[2:0:-1]]
        polar += [(turn * opening + offset, radius) for offset, radius in lobe]
    angle, radius = np.array([(-152, 0.3), *polar, (152, 0.3), (180, 0.1)]).T
    angle = np.deg2rad(angle)
    blade = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return blade, np.linspace((-0.15, 0.0), (1.0, 0.0), 12)


def leaf(rng: np.random.Generator, detail: float) -> Outline:
    """Leaf with lobes or teeth along its edge and a thin stalk."""
    blade, rib = _palm_blade(rng) if rng.random() < 0.4 else _feather_blade(rng, detail)
    heading = rib[1] - rib[0]
    heading /= np.linalg.norm(heading)
    reach = np.linspace(0.06, -0.5, 12)[:, None]
    stalk = rib[0] + reach * heading + rng.uniform(-0.4, 0.4) * reach**2 * np.array([[0.0, 1.0]])
    thick = max(0.035, THINNEST / 2 / detail)
    return Outline([blade, _stroke(stalk, thick, thick * 1.2)]).fitted()


GLYPHS: dict[str, list[Points]] = {
    'A': [np.array([(-0.7, 1), (0, -1), (0.7, 1)]), np.array([(-0.42, 0.3), (0.42, 0.3)])],
    'B': [
        np.array([(-0.5, -1), (-0.5, 1)]),
        np.concatenate([[(-0.5, -1)], _arc((0, -0.53), (0.45, 0.47), -90, 90), [(-0.5, -0.06)]]),
        np.concatenate([[(-0.5, -0.06)], _arc((0, 0.47), (0.55, 0.53), -90, 90), [(-0.5, 1)]]),
    ],
    'E': [np.array([(0.5, -1), (-0.5, -1), (-0.5, 1), (0.5, 1)]), np.array([(-0.5, 0), (0.3, 0)])],
    'F': [np.array([(0.5, -1), (-0.5, -1), (-0.5, 1)]), np.array([(-0.5, 0), (0.3, 0)])],
    'H': [
        np.array([(-0.6, -1), (-0.6, 1)]),
        np.array([(0.6, -1), (0.6, 1)]),
        np.array([(-0.6, 0), (0.6, 0)]),
    ],
    'K': [
        np.array([(-0.5, -1), (-0.5, 1)]),
        np.array([(0.55, -1), (-0.5, 0.15)]),
        np.array([(-0.15, -0.2), (0.6, 1)]),
    ],
    'M': [np.array([(-0.8, 1), (-0.65, -1), (0, 0.45), (0.65, -1), (0.8, 1)])],
    'P': [
        np.array([(-0.5, -1), (-0.5, 1)]),
        np.concatenate([[(-0.5, -1)], _arc((0, -0.45), (0.5, 0.55), -90, 90), [(-0.5, 0.1)]]),
    ],
    'R': [
        np.array([(-0.5, -1), (-0.5, 1)]),
        np.concatenate([[(-0.5, -1)], _arc((0, -0.48), (0.5, 0.52), -90, 90), [(-0.5, 0.04)]]),
        np.array([(-0.02, 0.04), (0.6, 1)]),
    ],
    'S': [
        np.concatenate(
            [_arc((0, -0.5), (0.52, 0.5), -20, -270), _arc((0, 0.5), (0.58, 0.5), -90, 160)]
        )
    ],
    'X': [np.array([(-0.65, -1), (0.65, 1)]), np.array([(0.65, -1), (-0.65, 1)])],
    'Z': [np.array([(-0.6, -1), (0.6, -1), (-0.6, 1), (0.6, 1)])],
}
"""Capitals as pen lines, without those that another class looks like (O is a ring)."""


def _pen(line: Points, half: float) -> list[Points]:
    """A pen of half width ``half`` drawn along a line: one bar per segment, a disc per joint."""
    bars = [_stroke(np.stack([a, b]), half, half) for a, b in itertools.pairwise(line)]
    return bars + [vertex + _polar(np.full(20, half)) for vertex in line]


def letter(rng: np.random.Generator, detail: float) -> Outline:
    """A capital, drawn with a round pen."""
    lines = GLYPHS[str(rng.choice(list(GLYPHS)))]
    half = max(rng.uniform(0.13, 0.23), THINNEST / 2 / detail)
    solids = [part for line in lines for part in _pen(line, half)]
    squeeze = np.array([rng.uniform(0.8, 1.1), 1.0])
    return Outline([part * squeeze for part in solids]).fitted()


def ring(rng: np.random.Generator, detail: float) -> Outline:
    """Ring: round, scalloped or many-cornered, open in the middle."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    waves = int(rng.integers(6, 14))
    swing = rng.choice([0.0, rng.uniform(0.04, 0.1)])
    outer = 1 - swing + swing * np.cos(waves * angle)
    inner = rng.uniform(0.5, 0.76) * np.ones_like(angle)
    if rng.random() < 0.5:  # the hole follows the rim
        inner *= outer
    inner = np.minimum(inner, outer - 2 * THINNEST / detail)
    return Outline([_polar(outer)], [_polar(inner)])


def tree(rng: np.random.Generator, detail: float) -> Outline:
    """Bare tree: a trunk that forks into limbs of falling width."""
    levels = 3 + int(detail > 24) + int(detail > 60)
    solids: list[Points] = []

    def grow(foot: Points, heading: float, length: float, half: float, level: int) -> None:
        curl = rng.uniform(-0.25, 0.25)
        bearing = heading + curl * np.linspace(0, 1, 6)
        step = length / 5 * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)[1:]
        limb = np.concatenate([foot[None], foot + np.cumsum(step, axis=0)])
        tip = max(half * 0.72, THINNEST / 2 / detail)
        solids.append(_stroke(limb, half, tip))
        solids.append(limb[-1] + _polar(np.full(12, tip)))
        if level == levels:
            return
        forks = 3 if rng.random() < 0.45 else 2
        spread = np.linspace(-0.5, 0.5, forks) * rng.uniform(1.0, 1.5)
        for turn in spread + rng.uniform(-0.12, 0.12, size=forks):
            share = tip * (0.82 if forks == 2 else 0.7)
            grow(limb[-1], bearing[-1] + turn, length * rng.uniform(0.66, 0.86), share, level + 1)

    # Every outline is drawn in units that `fitted` rescales at the end: the spread of the crown is
    # about three trunk lengths, hence 0.62.
    grow(np.zeros(2), -np.pi / 2, 0.62, rng.uniform(0.075, 0.11), 1)
    return Outline(solids).fitted()


OUTLINES: dict[str, Callable[[np.random.Generator, float], Outline]] = {
    'star': star,
    'gear': gear,
    'leaf': leaf,
    'letter': letter,
    'ring': ring,
    'tree': tree,
}
"""Class name -> function that draws one, in the order of the class indices."""

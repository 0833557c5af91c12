"""Digits drawn from pen strokes of our own design: no font, no scan, any number of variants.

`strokes_of(digit, rng)` gives polylines in a box of about 0..1 (x right, y down); every draw
differs in form (open or closed 4, barred 7, looped 2 ...), proportion, slant and shake. `draw`
renders them.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Line = NDArray[np.float64]


def smooth(points: list[tuple[float, float]], steps: int = 12) -> Line:
    """Return a uniform Catmull-Rom curve through `points`."""
    p = np.array([points[0], *points, points[-1]], dtype=np.float64)
    t = np.linspace(0, 1, steps, endpoint=False)[:, np.newaxis]
    pieces = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        pieces.append(
            0.5
            * (
                2 * b
                + (c - a) * t
                + (2 * a - 5 * b + 4 * c - d) * t**2
                + (3 * b - a - 3 * c + d) * t**3
            )
        )
    return np.vstack([*pieces, p[-1:]])


def arc(
    centre: tuple[float, float], radius: tuple[float, float], start: float, stop: float, n: int = 14
) -> list[tuple[float, float]]:
    """Return points on an ellipse; degrees, 0 = right, 90 = down (y grows downwards)."""
    turn = np.radians(np.linspace(start, stop, n))
    return [
        (centre[0] + radius[0] * float(np.cos(a)), centre[1] + radius[1] * float(np.sin(a)))
        for a in turn
    ]


def _zero(r: np.random.Generator) -> list[Line]:
    start = r.uniform(-150, -30)
    overlap = r.uniform(-25, 40)
    w = r.uniform(0.18, 0.5)
    direction = r.choice([-1, 1])
    points = arc((0.5, 0.5), (w, 0.5), start, start + direction * (360 + overlap))
    drift = r.normal(0, 0.03, 2)
    n = len(points)
    points = [(x + drift[0] * i / n, y + drift[1] * i / n) for i, (x, y) in enumerate(points)]
    return [smooth(points, 4)]


def _one(r: np.random.Generator) -> list[Line]:
    lean = r.normal(0, 0.06)
    bend = r.normal(0, 0.025)
    stem = [(0.5 + lean, 0.0), (0.5 + bend, 0.5), (0.5 - lean, 1.0)]
    kind = r.random()
    lines = []
    if kind < 0.45:
        lines = [smooth(stem)]
    else:
        reach, drop = r.uniform(0.1, 0.34), r.uniform(0.08, 0.38)
        flag = (0.5 + lean - reach, drop)
        if r.random() < 0.7:
            lines = [smooth([flag, stem[0]], 6), smooth(stem)]
        else:
            lines = [smooth([flag, (0.5 + lean - reach * 0.35, drop * 0.35), *stem])]
    if kind > 0.75:
        half = r.uniform(0.15, 0.38)
        y = 1.0 + r.normal(0, 0.015)
        lines.append(smooth([(0.5 - lean - half, y), (0.5 - lean + half, y + r.normal(0, 0.03))]))
    return lines


def _two(r: np.random.Generator) -> list[Line]:
    w = r.uniform(0.25, 0.42)
    top = r.uniform(0.2, 0.32)
    head = arc((0.5, top), (w, top), r.uniform(170, 215), r.uniform(370, 400), 9)
    foot = (r.uniform(0.08, 0.25), r.uniform(0.9, 1.0))
    end = (r.uniform(0.78, 1.05), foot[1] + r.normal(0, 0.06))
    middle = (0.5 + r.normal(0, 0.06), r.uniform(0.58, 0.72))
    if r.random() < 0.4:  # a loop at the foot
        size = r.uniform(0.04, 0.12)
        loop = [
            (foot[0] + size, foot[1] - size * 0.2),
            (foot[0] - size * 0.3, foot[1]),
            (foot[0] + size * 0.3, foot[1] - size * 1.6),
            (foot[0] + size * 2.2, foot[1] - size * 0.7),
        ]
        wave = (end[0] - 0.15, end[1] + r.uniform(-0.02, 0.05))
        return [smooth([*head, middle, *loop, wave, end])]
    if r.random() < 0.5:
        return [smooth([*head, middle, foot]), smooth([foot, end])]
    dip = (0.5, foot[1] + r.uniform(-0.08, 0.05))
    return [smooth([*head, middle, foot, dip, end])]


def _three(r: np.random.Generator) -> list[Line]:
    waist = r.uniform(0.4, 0.52)
    cusp = (r.uniform(0.35, 0.58), waist)
    w1, w2 = r.uniform(0.25, 0.4), r.uniform(0.3, 0.45)
    low = arc(
        (0.45, (1 + waist) / 2), (w2, (1 - waist) / 2), r.uniform(-80, -55), r.uniform(120, 170), 9
    )
    if r.random() < 0.2:  # flat top
        y = r.uniform(0.0, 0.06)
        corner = (r.uniform(0.7, 0.88), y + r.normal(0, 0.03))
        return [smooth([(r.uniform(0.1, 0.25), y), corner]), smooth([corner, cusp, *low])]
    high = arc((0.45, waist / 2), (w1, waist / 2), r.uniform(185, 225), r.uniform(410, 430), 9)
    if r.random() < 0.35:  # a small loop in the middle
        cusp = (cusp[0] - 0.08, cusp[1])
        return [smooth([*high, cusp, (cusp[0] + 0.02, cusp[1] + 0.05), *low])]
    if r.random() < 0.4:
        return [smooth([*high, cusp]), smooth([cusp, *low])]
    return [smooth([*high, cusp, *low])]


def _four(r: np.random.Generator) -> list[Line]:
    bar = r.uniform(0.5, 0.7)
    stem = r.uniform(0.6, 0.8)
    reach = r.uniform(0.82, 1.1)
    if reach < stem + 0.05:
        reach = stem + 0.08
    left = r.uniform(0.02, 0.15)
    foot = (stem + r.normal(0, 0.05), 1.0)
    if r.random() < 0.4:  # closed: the stem begins at the top of the slope
        peak = (stem + r.uniform(-0.06, 0.02), 0.0)
        across = smooth([(left, bar), (reach, bar + r.normal(0, 0.03))])
        if r.random() < 0.5:
            return [smooth([peak, (left, bar)]), across, smooth([peak, foot])]
        return [smooth([foot, peak]), smooth([peak, (left, bar)], 8), across]
    top = (r.uniform(0.12, 0.42), r.uniform(0.0, 0.12))
    bend = ((top[0] + left) / 2 - r.uniform(0, 0.06), (top[1] + bar) / 2)
    start = (stem + r.uniform(-0.02, 0.1), r.uniform(-0.08, 0.32))
    if r.random() < 0.35:  # a round corner
        cup = smooth([top, bend, (left + 0.03, bar - 0.03), (stem * 0.6, bar), (reach, bar - 0.03)])
        lines = [cup]
    else:
        lines = [
            smooth([top, bend, (left, bar)]),
            smooth([(left, bar), (reach, bar + r.normal(0, 0.04))]),
        ]
    if r.random() < 0.25:  # no reach beyond the stem
        lines[-1] = lines[-1][lines[-1][:, 0] <= stem + 0.03]
    return [*lines, smooth([start, foot])]


def _five(r: np.random.Generator) -> list[Line]:
    left = r.uniform(0.15, 0.3)
    shoulder = r.uniform(0.36, 0.5)
    top = r.uniform(0.0, 0.08)
    w = r.uniform(0.3, 0.45)
    bowl = arc(
        (0.42, (1 + shoulder) / 2 - 0.02),
        (w, (1 - shoulder) / 2 + 0.03),
        r.uniform(-95, -70),
        r.uniform(120, 170),
        10,
    )
    start = (left + r.normal(0.03, 0.03), top)
    end = (r.uniform(0.72, 1.0), top + r.normal(-0.02, 0.05))
    down = (left + r.normal(0, 0.02), shoulder + r.uniform(-0.02, 0.04))
    bar = smooth([(start[0] + r.normal(0, 0.02), start[1] + r.normal(0, 0.02)), end], 8)
    if r.random() < 0.5:
        return [smooth([start, down], 8), smooth([down, *bowl]), bar]
    if r.random() < 0.5:  # one stroke, an S with corners
        return [smooth([end, ((end[0] + start[0]) / 2, top - 0.01), start, down, *bowl])]
    return [smooth([start, down, *bowl]), bar]


def _six(r: np.random.Generator) -> list[Line]:
    size = r.uniform(0.18, 0.34)
    w = r.uniform(0.24, 0.42)
    centre = (0.5, 1 - size)
    top = (r.uniform(0.5, 0.85), r.uniform(0.0, 0.05))
    left = centre[0] - w
    back = (left + r.uniform(0.0, 0.12), r.uniform(0.25, 0.45))
    loop = arc(centre, (w, size), 180, 180 - r.uniform(300, 385), 12)
    spine = (
        [top, back]
        if r.random() < 0.4
        else [top, ((top[0] + back[0]) / 2 - r.uniform(0.0, 0.08), r.uniform(0.12, 0.2)), back]
    )
    return [smooth([*spine, *loop])]


def _seven(r: np.random.Generator) -> list[Line]:
    y = r.uniform(0.0, 0.1)
    corner = (r.uniform(0.75, 0.98), y + r.normal(-0.02, 0.03))
    foot = (r.uniform(0.2, 0.6), 1.0)
    start = (r.uniform(0.05, 0.22), y + r.uniform(-0.03, 0.05))
    bend = ((corner[0] + foot[0]) / 2 + r.normal(-0.04, 0.05), r.uniform(0.42, 0.58))
    bar = [start, ((start[0] + corner[0]) / 2, y + r.normal(0, 0.03)), corner]
    lines = (
        [smooth(bar), smooth([corner, bend, foot])]
        if r.random() < 0.7
        else [smooth([*bar, bend, foot])]
    )
    if r.random() < 0.25:
        lines.append(smooth([(start[0] + r.normal(0, 0.02), y + r.uniform(0.06, 0.2)), start], 4))
    if r.random() < 0.3:
        at = r.uniform(0.42, 0.58)
        half = r.uniform(0.12, 0.28)
        x = corner[0] + (foot[0] - corner[0]) * at
        lines.append(
            smooth([(x - half, at + r.normal(0.02, 0.03)), (x + half, at + r.normal(-0.02, 0.03))])
        )
    return lines


def _eight(r: np.random.Generator) -> list[Line]:
    waist = r.uniform(0.33, 0.57)
    w1, w2 = r.uniform(0.18, 0.34), r.uniform(0.22, 0.42)
    shift = r.normal(0, 0.05)
    high, low = (0.5 + shift, waist / 2), (0.5 - shift, (1 + waist) / 2)
    if r.random() < 0.25:  # two rings
        gap = r.uniform(-0.01, 0.03)
        return [
            smooth(arc(high, (w1, waist / 2 + gap), -90, 280), 4),
            smooth(arc(low, (w2, (1 - waist) / 2 + gap), -90, 280), 4),
        ]
    over = r.uniform(-30, 25) if r.random() < 0.8 else r.uniform(20, 70)  # else open at the top
    side = 1 if r.random() < 0.85 else -1
    first = arc(high, (w1 * side, waist / 2), -45 + r.uniform(-30, 40), -225, 9)
    second = arc(low, (w2 * side, (1 - waist) / 2), -45, 225, 12)
    third = arc(high, (w1 * side, waist / 2), 45, -45 + over, 6)
    return [smooth([*first, *second, *third], 5)]


def _nine(r: np.random.Generator) -> list[Line]:
    size = r.uniform(0.17, 0.34)
    w = r.uniform(0.2, 0.36)
    start = r.uniform(-70, 10)
    loop = arc((0.48, size), (w, size), start, start - r.uniform(300, 350), 12)
    right = 0.48 + w
    top = (right + r.normal(0, 0.02), size * r.uniform(0.4, 1.1))
    kind = r.random()
    if kind < 0.45:  # straight or leaning tail
        tail = [top, (right + r.normal(-0.03, 0.04), 0.6), (right - r.uniform(-0.03, 0.25), 1.0)]
    elif kind < 0.75:  # hooked
        tail = [
            top,
            (right + 0.01, 0.65),
            (right - 0.1, r.uniform(0.88, 0.95)),
            (0.45, 1.0),
            (r.uniform(0.08, 0.3), r.uniform(0.85, 0.97)),
        ]
    else:  # curved back
        tail = [
            top,
            (right - 0.03, 0.5),
            (0.5 + r.normal(0, 0.06), 0.8),
            (r.uniform(0.2, 0.45), 1.0),
        ]
    return [smooth([*loop, *tail])] if r.random() < 0.6 else [smooth(loop, 5), smooth(tail)]


_FORMS = (_zero, _one, _two, _three, _four, _five, _six, _seven, _eight, _nine)


def strokes_of(digit: int, rng: np.random.Generator, *, shake: float = 0.025) -> list[Line]:
    """Return one random way to write `digit`, as polylines in a box of about 0..1."""
    lines = _FORMS[digit](rng)
    aspect = float(np.clip(rng.lognormal(-0.35, 0.25), 0.35, 1.15))
    slant = rng.normal(0.12, 0.27)
    turn = np.radians(rng.normal(0, 6))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array(
        [[aspect, -slant], [0, 1]]
    )
    # One slow wave for the whole hand, one for each stroke.
    waves = rng.normal(0, shake, (3, 2))
    freq = rng.uniform(1.0, 4.0, 3)
    out = []
    for line in lines:
        shift = rng.normal(0, shake * 0.6, 2)
        bent = line + shift
        for wave, f in zip(waves, freq, strict=True):
            phase = rng.uniform(0, 6.3)
            bent = bent + wave * np.sin(f * (line[:, ::-1] * 2.2) + phase)
        out.append((bent - 0.5) @ matrix.T + 0.5)
    return out


def draw(lines: list[Line], side: int, width: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Render polylines as white ink on black, `side` pixels square, `width` of the digit's height.

    The pen's width varies along a stroke; the digit fills between 45 % and 95 % of the square.
    """
    every = np.vstack(lines)
    low, high = every.min(axis=0), every.max(axis=0)
    fill = rng.uniform(0.45, 0.92)
    scale = fill * side / max(high - low)
    spare = side - (high - low) * scale
    offset = spare * (0.5 + rng.uniform(-0.35, 0.35, 2)) - low * scale
    image = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(image)
    pressure = rng.uniform(0, 0.35)
    for line in lines:
        places = line * scale + offset
        phase, f = rng.uniform(0, 6.3), rng.uniform(1, 3)
        along = np.linspace(0, 1, len(places))
        radii = width * scale / 2 * (1 + pressure * np.sin(phase + f * along * 3))
        for (x0, y0), (x1, y1), radius in zip(places[:-1], places[1:], radii[1:], strict=True):
            pen.line((x0, y0, x1, y1), fill=255, width=max(1, round(2 * radius)))
            pen.ellipse((x1 - radius, y1 - radius, x1 + radius, y1 + radius), fill=255)
        x, y, radius = *places[0], radii[0]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.015 * side + 0.3)))
    return np.asarray(image)

"""Make the inputs of docs/examples/inputs: a drawn seven and a pump's temperature with a fault.

`python -m tools.draw_examples` writes both again, the same to the byte.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OUT = Path("docs/examples/inputs")


def seven() -> Image.Image:
    """Return a seven of 640 × 480, dark pen on paper whose light falls off to one side."""
    rng = np.random.default_rng(7)
    pen = Image.new("L", (640, 480), 0)
    drawing = ImageDraw.Draw(pen)
    drawing.line(
        [(240, 118), (300, 108), (392, 112), (352, 210), (318, 300), (300, 372)],
        fill=255,
        width=17,
        joint="curve",
    )
    drawing.line([(282, 246), (378, 236)], fill=255, width=14)
    ink = np.asarray(pen.filter(ImageFilter.GaussianBlur(1.6)), dtype=np.float64) / 255
    y, x = np.mgrid[0:1:480j, 0:1:640j]
    paper = 0.92 - 0.14 * x - 0.05 * y + rng.normal(0, 0.012, (480, 640))
    picture = paper * (1 - ink) + ink * 0.18
    return Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def pump() -> str:
    """Return ten days of a bearing's temperature, every ten minutes; on the eighth it runs hot."""
    rng = np.random.default_rng(11)
    places = np.arange(1440)
    celsius = 61 + 2.5 * np.sin(2 * np.pi * (places - 40) / 144) + rng.normal(0, 0.35, 1440)
    # The pump rests for an hour each night: rare, but it comes back.
    celsius -= 6.0 * (places % 144 < 6)
    celsius[1066:1102] += np.concatenate([np.linspace(0, 14, 24), np.full(12, 14.0)])
    return "celsius\n" + "".join(f"{each:.2f}\n" for each in celsius)


def main() -> None:
    """Write the files."""
    OUT.mkdir(parents=True, exist_ok=True)
    seven().save(OUT / "seven.png", optimize=True)
    (OUT / "pump.csv").write_text(pump(), encoding="utf-8")


if __name__ == "__main__":
    main()

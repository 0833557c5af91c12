"""Write the probes of the upstream packages: small sounds and images of our own (CC0).

An upstream model's own samples belong to others and are large; these are enough to tell that a
model answers as it did when the package was made.

Usage: python tools/draw_probes.py experts/upstream
"""

import sys
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

RATE = 16_000


def tone() -> np.ndarray:
    """One second of a 1 kHz sine."""
    return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)


def hush() -> np.ndarray:
    """One second of white noise, as quiet as an empty room."""
    return np.random.default_rng(7).normal(0, 0.003, RATE)


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write 16-bit mono PCM."""
    whole = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())


def traffic_light(size: int) -> Image.Image:
    """A traffic light with all its lamps on before a sky, drawn with five shapes."""
    image = Image.new("RGB", (224, 224), (120, 170, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((107, 150, 117, 224), fill=(60, 60, 60))
    side, height, lamp = size * 13, size * 31, size * 7
    draw.rounded_rectangle(
        (112 - side, 112 - height, 112 + side, 112 + height), radius=8, fill=(25, 28, 25)
    )
    for place, colour in enumerate(((240, 30, 25), (250, 190, 20), (20, 220, 80))):
        middle = 112 + (place - 1) * size * 19
        draw.ellipse((112 - lamp, middle - lamp, 112 + lamp, middle + lamp), fill=colour)
    return image


def main() -> None:
    """Write every probe under the folder that the command line names."""
    folder = Path(sys.argv[1])
    write_wav(folder / "yamnet" / "probe.wav", tone())
    write_wav(folder / "keyword-spotting" / "probe.wav", hush())
    for name, size in (("mobilenet-v2", 2), ("person-detect", 2), ("ssd-mobilenet", 3)):
        traffic_light(size).save(folder / name / "probe.png", optimize=True)


if __name__ == "__main__":
    main()

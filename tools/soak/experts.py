"""The experts of a soak: text models with random weights, of 20 to 130 MB, in all types.

Two small bundled ones of another engine bring a second host, and come and go between them.
"""

from tools.gguf.package import Made
from tools.gguf.random_llama import Shape

EXPERTS = (
    Made("tiny-q8", Shape(320, 8, 8, 2, 896, 16_000, 4096, "Q8_0"), 2048),
    Made("long-q8", Shape(256, 6, 8, 2, 768, 32_000, 4096, "Q8_0"), 4096),
    Made("gqa-q4", Shape(512, 12, 8, 2, 1408, 32_000, 4096, "Q4_0"), 1024),
    Made("deep-q8", Shape(384, 24, 6, 6, 1024, 8_000, 4096, "Q8_0"), 512, 128),
    Made("words-f16", Shape(256, 4, 4, 4, 512, 64_000, 4096, "F16"), 512, 64),
    Made("plain-f16", Shape(512, 8, 8, 8, 1536, 8_000, 4096, "F16"), 1024),
    Made("cached-q8", Shape(512, 8, 8, 8, 1536, 8_000, 4096, "Q8_0"), 2048, cache="q8_0"),
    Made("large-q8", Shape(768, 11, 12, 12, 2048, 24_000, 4096, "Q8_0"), 512),
)
BUNDLED = {"sms-spam", "assistant-intent"}

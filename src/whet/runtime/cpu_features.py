"""What this processor computes fast."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

__all__ = ["bfloat16_is_fast", "int8_is_fast"]

_X86 = {"avx2", "avx512_vnni", "avx_vnni", "amx_int8"}
_ARM = {"asimddp", "i8mm"}


@cache
def int8_is_fast() -> bool:
    """Return whether int8 convolutions beat float ones on this processor.

    Measured for AVX2 without dot-product instructions (AMD EPYC, nano and small at 720p, CPU
    time): 1.7 and 1.9 times as fast in OpenVINO, 1.9 and 2.0 times in ONNX Runtime, as a quarter
    of the memory traffic counts for more than the instructions. With dot products (VNNI, AMX,
    NEON) the gain can only be larger. Only older processors are left to float.
    """
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        # Where the flags cannot be read, the processor is far more likely to have AVX2 (2013).
        return bool(_X86 & flags) if (flags := _linux_flags()) else True
    if machine in ("arm64", "aarch64"):
        # Every Apple processor of this kind has the dot product.
        return bool(_ARM & flags) if (flags := _linux_flags()) else platform.system() == "Darwin"
    return False


@cache
def bfloat16_is_fast() -> bool:
    """Return whether this processor multiplies bfloat16 natively, as far as Linux tells."""
    return bool({"avx512_bf16", "amx_bf16"} & _linux_flags())


def _linux_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = (line.partition(":") for line in text.splitlines())
    return {
        flag
        for key, _, value in lines
        if key.strip() in ("flags", "Features")
        for flag in value.split()
    }

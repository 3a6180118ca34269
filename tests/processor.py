"""The kind of processor that the tests run on, which decides the last bits of sums."""

import platform
from pathlib import Path


def processor():
    """What decides how sums are rounded: the instructions that the processor has."""
    flags = ""
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        words = next((line for line in lines if line.startswith("flags")), "").split()
        flags = " ".join(sorted(w for w in words if w.startswith(("avx", "fma", "amx"))))
    return f"{platform.machine()} {flags}"

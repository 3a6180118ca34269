"""cellzoo: count the cells in microscope images.

    import cellzoo

    counter = cellzoo.load("zoo:simulated_bf")
    counts = counter.count(image)  # raw uint8 or uint16, [h, w] or [n, h, w]
    counts.rounded, counts.low, counts.high, counts.flags

Nothing heavy is imported before it is needed.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> module, and name there. Each is imported when it is first asked for.
_PUBLIC = {
    "load": ("cellzoo.counters.load", "load_counter"),
    "available": ("cellzoo.api", "available"),
    "count_files": ("cellzoo.commands.count", "count_files"),
    "fit": ("cellzoo.api", "fit"),
    "evaluate": ("cellzoo.api", "evaluate"),
    "Counts": ("cellzoo.counters.base", "Counts"),
    "UserError": ("cellzoo.errors", "UserError"),
}
__all__ = ["Counts", "UserError", "available", "count_files", "evaluate", "fit", "load", "networks"]


def __getattr__(name: str) -> Any:
    """Imports a public name."""
    if name == "networks":
        return import_module("cellzoo.models")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cellzoo' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]

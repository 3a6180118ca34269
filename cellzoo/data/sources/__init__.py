"""Where natural images come from: one file for each source, and its line in the table."""

from cellzoo.data.sources.bbbc005 import BBBC005
from cellzoo.data.sources.folder import Folder
from cellzoo.data.sources.mixed import Mixed
from cellzoo.data.sources.nuclei import Nuclei
from cellzoo.data.sources.simulated import SimulatedMicroscope
from cellzoo.data.sources.simulated_fluorescence import SimulatedFluorescence
from cellzoo.data.sources.source import Source

# The value of the key ``source``, and what it stands for.
SOURCES: dict[str, type[Source]] = {
    "simulated": SimulatedMicroscope,
    "folder": Folder,
    "nuclei": Nuclei,
    "mixed": Mixed,
    "bbbc005": BBBC005,
    "simulated_fluorescence": SimulatedFluorescence,
}

__all__ = ["SOURCES", "Source", *(section.__name__ for section in SOURCES.values())]

"""A command of cellzoo that ends as by `kill -9` at its n-th change of the disk.

Arguments: `chambers N FILE OUT` or `growth N TABLE OUT`. Without TensorFlow. Prints how many
changes there were if it is not killed.
"""

import os
import sys
from pathlib import Path

from cellzoo.commands.chambers import chambers
from cellzoo.timelapse.chambers.where import Where
from cellzoo.timelapse.growth import report
from cellzoo.timelapse.growth.analysis import growth

command, left, source, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
made = 0


def watch(event, arguments):
    """Ends the process at once, before the change."""
    global made
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        made += 1
        if made == left:
            os._exit(9)


report.DPI = 10  # small figures
sys.addaudithook(watch)
if command == "chambers":
    chambers([source], out, Where(grid=(1, 2)))
else:
    growth(source, out)
print(made)

"""`cellzoo growth` that ends as by `kill -9` at its n-th change of the disk: arguments N TABLE OUT.

Without TensorFlow. Small figures; prints how many changes there were where it is not killed.
"""

import os
import sys
from pathlib import Path

from cellzoo.timelapse import report
from cellzoo.timelapse.analysis import growth

left = int(sys.argv[1])
made = 0


def watch(event, arguments):
    """Ends the process at once, before the change."""
    global made
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        made += 1
        if made == left:
            os._exit(9)


report.DPI = 10
sys.addaudithook(watch)
growth(Path(sys.argv[2]), Path(sys.argv[3]))
print(made)

"""`cellzoo chambers` that ends as by `kill -9` at its n-th change of the disk.

Arguments: N FILE OUT. Without TensorFlow. Prints how many changes there were if it is not killed.
"""

import os
import sys

from cellzoo.commands.chambers import chambers
from cellzoo.timelapse.where import Where

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


sys.addaudithook(watch)
chambers([sys.argv[2]], sys.argv[3], Where(grid=(1, 2)))
print(made)

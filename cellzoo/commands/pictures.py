"""Pictures of what a model took for cells: masks and probabilities, and images with outlines."""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile

from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry
from cellzoo.errors import UserError
from cellzoo.files import LOCK_FILE, check_name, lock, readable
from cellzoo.scores.counts import round_count

OUTLINE = (60, 200, 255)  # blue, green, red


class SegmentationPictures:
    """Writes pictures of frames as they are counted.

    A frame of ``day1/a.tif`` gives ``a_mask.tif`` (uint8, 255 in a cell), ``a_probability.tif``
    (float32 in [0, 1]) and ``a.png``; of a stack each frame but the first has its
    number behind the name.

    Args:
        counter: a counter that segments, see :meth:`cellzoo.counters.base.Counter.segment`.
        overlay: new folder for pictures with outlined cells; None: none.
        masks: new folder for masks and probabilities; None: none. Until :meth:`keep` both are
            hidden beside their places.
        files: that are counted; of those called alike the second has a ``-2`` behind its name.

    Raises:
        UserError: one of the folders exists already, both are one, or the counter does not segment.
    """

    def __init__(
        self, counter: Counter, overlay: Path | None, masks: Path | None, files: Sequence[Path]
    ):
        """Makes the folders."""
        if not counter.can_segment:
            raise UserError(
                f"{counter.name} gives no masks here: leave --overlay and --masks out, or count "
                "with the run folder of a model that segments, such as dcc."
            )
        folders = [folder for folder in (overlay, masks) if folder]
        for folder in folders:
            check_name(folder)
            if folder.exists():
                raise UserError(f"{folder} exists: name a new folder, or move it away.")
        if overlay and masks:
            one, other = overlay.resolve(), masks.resolve()
            if one.is_relative_to(other) or other.is_relative_to(one):
                raise UserError(
                    f"--overlay {overlay} and --masks {masks} are one folder or one within the "
                    "other: name two folders side by side."
                )
        self.counter = counter
        self.written: set[str] = set()
        # The same names whichever file is counted first.
        stems = {file: _stem(file) for file in files}
        taken, self._stems = set(stems.values()), {}
        first = {stems[file]: file for file in reversed(files)}
        for file in files:
            stem, k = stems[file], 1
            while first.get(stem) != file and stem in taken:
                k += 1
                stem = f"{stems[file]}-{k}"
            taken.add(stem)
            self._stems[file] = stem
        self._locks = contextlib.ExitStack()
        self._hidden = {folder: self._hidden_beside(folder) for folder in folders}
        self.overlay, self.masks = self._hidden.get(overlay), self._hidden.get(masks)

    def keep(self) -> None:
        """Gives the folders their names.

        Raises:
            UserError: something else has such a name by now.
        """
        left = []
        self._locks.close()
        for folder, hidden in self._hidden.items():
            (hidden / LOCK_FILE).unlink(missing_ok=True)
            try:
                os.rename(hidden, folder)
            except OSError:
                left.append(f"{folder} came to be meanwhile: the pictures are in {hidden}.")
        if left:
            raise UserError(" ".join(left))

    def discard(self) -> None:
        """Removes what was written so far."""
        self._locks.close()
        for hidden in self._hidden.values():
            shutil.rmtree(hidden, ignore_errors=True)

    def _hidden_beside(self, folder: Path) -> Path:
        """A new folder from which ``folder`` can be made by a rename, and which is locked."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{folder.name[:64]}-"
        _clean(folder.parent, prefix)
        hidden = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
        hidden.chmod(0o755)
        self._locks.enter_context(lock(hidden, otherwise="is in use"))
        return hidden

    def write(self, entry: Entry) -> None:
        """Writes a counted frame's pictures, all of the frame's own size."""
        pixels = entry.frame.pixels
        mask, probability = self.counter.segment_entry(entry)
        mask = mask.astype(np.uint8)
        name = self._name(entry.path, entry.index)
        if self.masks:
            tifffile.imwrite(self.masks / f"{name}_mask.tif", 255 * mask)
            if probability is not None:
                tifffile.imwrite(self.masks / f"{name}_probability.tif", probability)
        if self.overlay:
            file = self.overlay / f"{name}.png"
            picture = outlined(pixels, mask, f"{round_count(entry.raw):.0f}")
            if not cv2.imwrite(str(file), picture):
                raise UserError(f"{file} cannot be written: is the disk full?")

    def _name(self, path: Path, index: int) -> str:
        """A name that no picture has yet."""
        stem = self._stems[path] + (f"#{index}" if index else "")
        name, k = stem, 1
        while name in self.written:
            k += 1
            name = f"{stem}-{k}"
        self.written.add(name)
        return name


def _clean(parent: Path, prefix: str) -> None:
    """Removes what a killed count left: folders of this name that hold a lock file nobody holds."""
    for left in parent.glob(f"{glob.escape(prefix)}????????"):
        if (left / LOCK_FILE).is_file():
            with contextlib.suppress(UserError), lock(left, otherwise="is in use") as alone:
                if alone:
                    shutil.rmtree(left, ignore_errors=True)


def _stem(file: Path) -> str:
    """How the pictures of a file are called: short, and of characters that every file may have."""
    return readable(Path(file.stem)).replace("\\", "_").encode()[:150].decode(errors="ignore")


def outlined(pixels: np.ndarray, mask: np.ndarray, text: str) -> np.ndarray:
    """A picture of grey pixels with the outlines of a mask.

    Args:
        pixels: ``[h, w]`` of any grey type; the darkest becomes black, the brightest white.
        mask: uint8 ``[h, w]``, above 0 in cells.
        text: to write into the upper left corner.

    Returns:
        uint8 ``[h, w, 3]``, blue, green, red.
    """
    grey = cv2.normalize(pixels, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, OUTLINE, 1)
    size = max(picture.shape[0] / 600, 0.4)
    place = (round(8 * size), round(28 * size))
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, OUTLINE, 1, cv2.LINE_AA)
    return picture

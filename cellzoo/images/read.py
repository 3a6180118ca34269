"""The frames of a file, whatever its format."""

from collections.abc import Iterator
from pathlib import Path

from cellzoo.errors import UsageError, UserError
from cellzoo.files import readable
from cellzoo.images.find import SUFFIXES, suffixes_in_words
from cellzoo.images.frame import Frame
from cellzoo.images.grey import checked_pixels
from cellzoo.images.raster import JPEG, PNG, decode
from cellzoo.images.tiff import TIFF, tiff_frames


def read_frames(
    path: Path, *, axes: str | None = None, channel: int | None = None, mask: bool = False
) -> Iterator[Frame]:
    """Read the grey frames of one image file, one at a time.

    TIFF stacks: `T` (time) and `I` (the pages of a plain multi-page file) are frames; `C` needs
    `channel`; several `Z` planes and unknown axes (`Q`) are refused unless `axes` says what they
    are; files that hold several stacks are refused. Of an OME set of files only the file itself is
    read.

    Colour: three equal channels (grey saved as RGB) are grey; differing channels need `channel`;
    alpha is ignored. A picture with one channel is taken as it is, whatever `channel` says. A TIFF
    that stores white as 0 is inverted, so that bright is high; a TIFF palette is looked up, except
    in ImageJ files, where it is a display colour only. In a mask the numbers stored are what is
    meant: nothing is inverted or looked up, and 1 bit is enough.

    Args:
        path: a file ending in one of `SUFFIXES`; its content decides how it is read.
        axes: letters of the stack's dimensions, such as `TYX`, overruling what the file says, but
            for channels. Single pictures need none and are read without.
        channel: number of the colour or `C` channel to take, from 0.
        mask: the file is a mask or an instance label image.

    Yields:
        The frames in file order. Files are checked for completeness before the first one comes.

    Raises:
        UserError: the file cannot be read as grey frames, and the message says why.
        UsageError: `axes` is not a set of axis letters with Y and X.
    """
    path = Path(path)
    axes = checked_axes(axes)
    if readable(path) != str(path):  # OpenCV ends the process on such a name
        raise UserError(f"{readable(path)}: has a name that is no UTF-8 text, rename it")
    _check_suffix(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}), check the path") from error
    if not head:
        raise UserError(f"{path}: is empty (0 bytes), copy it again from its source")
    if head.startswith(TIFF):
        yield from tiff_frames(path, axes, channel, mask)
    elif head.startswith((PNG, JPEG)):
        yield Frame(checked_pixels(decode(path, channel, mask), path), path, 0, None)
    else:
        raise UserError(
            f"{path}: is no image, its content is neither PNG nor JPEG nor TIFF, copy it again or "
            "save it as one of these"
        )


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{path}: is not of a type cellzoo reads, save it as one of {suffixes_in_words()}"
        )


def checked_axes(axes: str | None) -> str | None:
    """Letters of a stack's dimensions as written by a user, in capitals; None stays None.

    Raises:
        UsageError: a letter is unknown or there twice, or Y or X is missing.
    """
    if axes is None:
        return None
    letters = str(axes).upper()
    known = set(letters) <= set("TIZCSYXQ") and {"Y", "X"} <= set(letters)
    if not known or len(set(letters)) != len(letters):
        raise UsageError(
            f"data.natural.axes: {axes!r} must name every dimension once, with Y (rows) and X "
            "(columns), "
            "for example TYX for a time-lapse"
        )
    return letters

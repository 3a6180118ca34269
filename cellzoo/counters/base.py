"""What every counter is: images in, counts with intervals and flags out."""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from cellzoo.counters.counts import Counts, Segmentation
from cellzoo.counters.entries import Entry, Images, entries_of, with_options
from cellzoo.counters.extrapolation import beyond_training, in_pixels
from cellzoo.counters.pixel_size import rescaled
from cellzoo.counters.preprocessing import Columns, Preprocessing
from cellzoo.counters.stream import count_entries
from cellzoo.data.seen import Seen
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Frame, Notes, Reader
from cellzoo.models.section import Domain
from cellzoo.trust.intervals import Interval
from cellzoo.trust.out_of_distribution import OutOfDistribution

if TYPE_CHECKING:
    from cellzoo.counters.alike_graph import AlikeGraph
    from cellzoo.counters.graph import CountingGraph
    from cellzoo.counters.measuring import Measuring
    from cellzoo.runs import Run

log = logging.getLogger("cellzoo")

_FLAGGED_PIXELS = 2**20  # of images that are looked at together, for the sake of memory


class Counter(ABC):
    """Counts cells in grey images, wherever it runs.

    A kind of counter implements :meth:`_prepare` and :meth:`_count`, and says here what else it can
    do. :mod:`cellzoo.counters.stream` calls the two, through :meth:`prepare` and
    :meth:`count_prepared`.

    Attributes:
        name: of the model.
        version: of the model, or its run folder's name.
        digest: of its weights, the same in a run and its exports; empty: not known.
        preprocessing: how its images are read, scaled and resized; None of a served model that
            `cellzoo export` did not write.
        out_of_distribution: what its training images look like; None: it is not known.
        interval: around its counts; None: none can be promised, or only the model knows it.
        run: the run folder that it comes from; None of an export or a served model.
        training_mean: mean count of the training images; None: it is not known.
        training_counts: least and most of these counts; None: they are not known.
        no_interval: why none of its counts has an interval, in a few words; empty if some have.
        weights_count: number of its trained weights; 0 of a classical counter, and where it is not
            known.
        any_size: images of any size are counted in tiles, with cells as large as in training.
        measuring: how cells of an image are measured, and it is made alike in scale and exposure;
            None: cells have to be as large as in training.
        reads_synthetic: it has a half of its own for synthetic images.
        can_segment: :meth:`segment` shows where the cells are.
        can_locate: :meth:`density_entry` shows where it finds cells.
        can_embed: :meth:`embed` gives a latent.
        can_reconstruct: :meth:`translations` shows what its decoders make of images.
        has_threshold: :meth:`with_threshold` exchanges the threshold that its mask comes from.
        window: batches that it is asked for at the same time.
        remote: it is behind a server, which may be away for a while.
    """

    name: str
    version: str
    digest: str = ""
    preprocessing: Preprocessing | None = None
    out_of_distribution: OutOfDistribution | None = None
    interval: Interval | None = None
    run: "Run | None" = None
    training_mean: float | None = None
    training_counts: tuple[int, int] | None = None
    no_interval: str = ""
    weights_count: int = 0
    any_size: bool = False
    measuring: "Measuring | None" = None
    reads_synthetic: bool = False
    can_segment: bool = False
    can_locate: bool = False
    can_embed: bool = False
    can_reconstruct: bool = False
    has_threshold: bool = False
    window: int = 1
    remote: bool = False

    @property
    def axes(self) -> str | None:
        """Of the TIFF stacks that it was trained on, where the files did not say."""
        return self.preprocessing.axes if self.preprocessing else None

    @property
    def channel(self) -> int | str | None:
        """That it was trained on, of files with several."""
        return self.preprocessing.channel if self.preprocessing else None

    @property
    def takes_full_range(self) -> bool:
        """Whether the type of the pixels says what is white, and training images were like that.

        A model that was trained on 12 of 16 bits, as they were, knows these alone.
        """
        known, preprocessing = self.out_of_distribution, self.preprocessing
        dark = known is not None and known.in_lowest_sixteenth
        return preprocessing is not None and preprocessing.intensity == "dtype" and not dark

    def reader(self, files: Sequence[Path], **reading: Any) -> Reader:
        """What reads image files for this counter.

        Args:
            files: of one series, whose brightest pixel says how many of 16 bits are used where they
                do not.
            reading: keywords of :class:`cellzoo.images.Reader`; what is missing or None is as in
                training.

        Raises:
            UsageError: one of them is written wrongly.
        """
        known = self.preprocessing
        options = {"axes": self.axes, "channel": self.channel, "z": known.z if known else None}
        options |= {key: value for key, value in reading.items() if value is not None}
        if options.get("intensity") is None and self.takes_full_range:
            options["intensity"] = "full"
        elif options.get("intensity") == "dtype" and known and known.intensity == "dtype":
            options["intensity"] = None
        return Reader(files, **options)

    @property
    def can_flag(self) -> bool:
        """Whether it knows its training images, and flags others."""
        return self.out_of_distribution is not None

    def count(
        self,
        images: Images,
        scaled: bool = False,
        *,
        domain: Domain = "natural",
        sizes: np.ndarray | None = None,
        flags: bool = True,
        **reading: Any,
    ) -> Counts:
        """Counts the cells of raw images.

        Args:
            images: raw pixels as uint8 or uint16, whose type says the scale: ``[h, w]``,
                ``[n, h, w]``, or a list of ``[h, w]`` of any sizes; or a path, or a list of paths,
                of image files and folders. Other whole numbers become uint8 if all of them fit,
                else uint16.
            scaled: the images are floats, which lie in [0, 1] already.
            domain: ``"synthetic"`` for synthetic images, which a Twin-VAE reads with the other half
                of its network; a counter without one counts them as natural ones.
            sizes: height and width that images had before they were resized to be given here, for
                the flags, ``[n, 2]``; None: what is given is as it was.
            flags: whether to look for images unlike the training images, about 1 ms each.
            reading: what to take of files, as in training where it is missing: ``axes``,
                ``channel``, ``z``, ``position``, ``frames``, ``intensity``, ``max_megapixels``, see
                :func:`cellzoo.images.read_frames` and :func:`cellzoo.images.to_unit`. And
                ``pixel_size_um``, the width of a pixel in micrometres, of arrays as well: images
                are rescaled to the counter's, see :mod:`cellzoo.counters.pixel_size`.

        Returns:
            One count per image, in the order of the images; each frame of a stack is one.

        Raises:
            UserError: an image cannot be read or counted, or the images are of another kind.
        """
        flags = flags and domain == "natural"
        with _naming_options():
            entries = self._entries(images, scaled, sizes, reading)
            counted = count_entries(self, entries, domain=domain, flags=flags, strict=True)
        columns = (
            np.array([getattr(entry, key) for entry in counted], np.float32)
            for key in ("raw", "low", "high")
        )
        return Counts(*columns, [entry.flag for entry in counted])

    def segment(
        self,
        images: Images,
        scaled: bool = False,
        **reading: Any,
    ) -> list[Segmentation]:
        """Where the cells of raw images are; only if :attr:`can_segment`.

        Args:
            images: see :meth:`count`.
            scaled: see :meth:`count`.
            reading: see :meth:`count`.

        Returns:
            One for each image, in their order.

        Raises:
            UserError: this counter gives no masks, or an image cannot be read.
        """
        if not self.can_segment:
            raise UsageError(
                f"{self.name} counts without masks: segment with the run folder of a model that "
                "learned from masks, such as zoo:bbbc005."
            )
        found, notes = [], Notes()
        with _naming_options():
            for entry in self._entries(images, scaled, None, reading):
                if entry.error:
                    raise entry.error
                self.prepare(entry, notes)
                found.append(self.segment_entry(entry))
        notes.say()
        return found

    def _entries(
        self,
        images: Images,
        scaled: bool,
        sizes: np.ndarray | None,
        reading: Mapping[str, Any],
    ) -> Iterator[Entry]:
        pixel_size_um = reading.get("pixel_size_um")
        self.check_pixel_size(pixel_size_um)
        return entries_of(
            images,
            scaled,
            reader=lambda files: self.reader(files, **reading),
            full_range=self.takes_full_range,
            sizes=sizes,
            pixel_size_um=pixel_size_um,
        )

    def check_pixel_size(self, stated: float | None) -> None:
        """Refuses a pixel size that is none, and says so where it will change nothing.

        Args:
            stated: micrometres that somebody says; None: nothing.

        Raises:
            UsageError: it is no length.
        """
        if stated is None:
            return
        if not 0 < stated < np.inf:
            raise UsageError(f"pixel_size_um is {stated}: give micrometres above 0.")
        known = self.preprocessing is not None and self.preprocessing.pixel_size_um is not None
        if not known and not self.measuring:
            log.warning(
                "%s does not know at which pixel size it was trained: images are not rescaled.",
                self.name,
            )

    def prepare(self, entry: Entry, notes: Notes) -> None:
        """Gives an entry the pixels that :meth:`_count` takes, with cells as large as in training.

        Args:
            entry: with its frame, which stays as it is.
            notes: gets what a user should hear.

        Raises:
            UserError: the counter cannot take the image.
        """
        if self.measuring:
            return self.measuring.prepare(entry)
        frame = entry.frame
        if self.preprocessing:
            known = self.out_of_distribution
            sizes = known.sizes if known else None
            found = rescaled(frame, self.preprocessing, sizes, self.any_size, self.name)
            if found.note:
                notes.add(entry.path, found.note)
            if found.frame is not frame:
                frame, entry.share = found.frame, found.share
                entry.size = frame.pixels.shape
        entry.prepared = self._prepare(frame, entry.scaled)

    def segment_entry(self, entry: Entry) -> Segmentation:
        """Where the cells of an image are that :meth:`prepare` has prepared, in its own size."""
        height, width = entry.frame.pixels.shape
        mask, probability = (
            None if part is None else _without_padding(part, entry.share)
            for part in self._segment(entry.prepared)
        )
        mask = cv2.resize(
            mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        if probability is not None:
            probability = cv2.resize(probability, (width, height))
        return Segmentation(mask > 0, probability)

    def density_entry(self, entry: Entry) -> np.ndarray:
        """Cells in each grid cell of an image that :meth:`prepare` has prepared.

        Returns:
            float32 ``[rows, columns]``, which cover the image; only if :attr:`can_locate`.
        """
        return _without_padding(self._density(entry.prepared), entry.share)

    def embed(self, images: np.ndarray, domain: Domain = "natural") -> np.ndarray:
        """The mean of each image's latent; only if :attr:`can_embed`.

        Args:
            images: float32 ``[n, h, w]`` in [0, 1], in the network's size.
            domain: that of the images.

        Returns:
            float32 ``[n, d]``, or ``[n, h, w, d]`` where the latent is a map.
        """
        raise UsageError(f"{self.name} has no latent to show.")

    def translations(self, images: np.ndarray, domain: Domain = "natural") -> dict[str, np.ndarray]:
        """What its decoders make of images; only if :attr:`can_reconstruct`.

        See :func:`cellzoo.counters.network_parts.translations`.

        Args:
            images: float32 ``[n, h, w]`` in [0, 1], in the network's size.
            domain: that of the images.
        """
        raise UsageError(f"{self.name} has no decoders.")

    def with_threshold(self, method: str) -> "Counter":
        """The same counter with another threshold; only if :attr:`has_threshold`.

        Args:
            method: one of the model section's ``thresholds``.
        """
        raise UsageError(f"{self.name} has no threshold.")

    def with_diameter(self, diameter: str) -> "Counter":
        """The same counter for images whose cells have this diameter.

        Args:
            diameter: such as ``"25px"``, in pixels of the files, or ``"12um"``.

        Raises:
            UsageError: it is no diameter, or the counter does not make images alike in scale.
        """
        if self.measuring:
            other = copy.copy(self)
            other.measuring = self.measuring.with_diameter(diameter)
            return other
        raise UsageError(
            f"{self.name} takes cells as large as in training: give the pixel size instead, or "
            "choose a counter of the recipe dcc_nuclei or twindensity_cells."
        )

    def graph(self) -> "CountingGraph | AlikeGraph | None":
        """Images to counts as `export` writes it; None without a network in TensorFlow."""
        return None

    def seen(self) -> Seen | None:
        """Fingerprints of the images that it learned from or was chosen on; None: not known.

        Raises:
            UserError: the file that has them is damaged.
        """
        return None

    def close(self) -> None:  # noqa: B027, most have nothing to end
        """Ends what is under way, after an interrupt; nothing can be counted after that."""

    @abstractmethod
    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        """The frame as this counter takes it, ``[h, w]``, or a UserError.

        Either raw grey levels as uint8 or uint16, or float32 in [0, 1].
        """

    def count_prepared(self, images: np.ndarray, domain: Domain) -> Columns:
        """Counts of images as :meth:`prepare` leaves them, see :meth:`_count`."""
        if self.measuring:
            return self.measuring.count(images, self.interval, self.out_of_distribution)
        return self._count(images, domain)

    @abstractmethod
    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        """Counts of prepared images of one size and type, ``[n, h, w]``.

        It may be called from as many threads as :attr:`window` says.

        Raises:
            RefusedImages: at least one of the images will not be counted.
        """

    def _segment(self, prepared: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Mask and probability of a prepared image, both in the size that they come in."""
        raise NotImplementedError

    def _density(self, prepared: np.ndarray) -> np.ndarray:
        """Cells in each grid cell of a prepared image, padding included."""
        raise NotImplementedError

    def flags(self, entries: Sequence[Entry]) -> list[str]:
        """Every reason why counted images are unlike the training images, the gravest first.

        Args:
            entries: counted, and prepared as images of one size and type.

        Returns:
            Of each image its reasons, joined by ``"; "``; empty where nothing is noticed.
        """
        flags = []
        number = max(1, _FLAGGED_PIXELS // entries[0].prepared.size)
        for start in range(0, len(entries), number):
            some = entries[start : start + number]
            for entry, own in zip(some, self._image_reasons(some), strict=True):
                flags.append("; ".join(filter(None, [*own, *self._count_reasons(entry)])))
        return flags

    def _count_reasons(self, entry: Entry) -> Iterator[str]:
        """The reasons that an image's count and size give, see :meth:`flags`."""
        if self.measuring:
            if self.interval and np.isnan(entry.low):
                yield "too unlike the training images: no interval"
            return
        size, trained = entry.size or entry.prepared.shape, None
        if self.any_size and entry.prepared.shape != self.preprocessing.size:
            trained = self.preprocessing.original_size or self.preprocessing.size
        if self.training_counts:
            yield beyond_training(entry.raw, self.training_counts[1], size, trained)
        if trained and self.interval and np.isnan(entry.low):
            yield f"{in_pixels(size)}, trained on {in_pixels(trained)[:-3]}: no interval"

    def _image_reasons(self, entries: Sequence[Entry]) -> list[list[str]]:
        """The reasons that images alone give, whatever their counts, see :meth:`flags`."""
        known, preprocessing = self.out_of_distribution, self.preprocessing
        if known is None or not (preprocessing or self.measuring):
            return [[] for _ in entries]
        images = np.stack([entry.prepared for entry in entries])
        if self.measuring:
            return [look.reasons for look in known.looks(images)]
        reasons = [look.reasons for look in known.looks(preprocessing.seen(images, self.any_size))]
        in_tiles = self.any_size and images.shape[1:] != preprocessing.size
        for k, (entry, image) in enumerate(zip(entries, images, strict=True)):
            few_bits = preprocessing.few_bits(image) if reasons[k] else ""
            if few_bits:  # of which the others come
                reasons[k] = [few_bits]
            size = entry.size  # None: it may be resized already
            if size is None and image.shape != preprocessing.size:
                size = image.shape
            if preprocessing.resize and not in_tiles and size:
                reasons[k].append(known.size_reason(*size))
        return reasons


def _without_padding(part: np.ndarray, share: tuple[float, float]) -> np.ndarray:
    """The upper left of a map, as much of it as an image takes."""
    rows, columns = (max(1, round(of * n)) for of, n in zip(share, part.shape, strict=True))
    return part[:rows, :columns]


@contextmanager
def _naming_options() -> Iterator[None]:
    """Lets errors about files name the arguments above, not a recipe's keys."""
    try:
        yield
    except UserError as error:
        message = with_options(str(error), "{}=")
        if message == str(error):
            raise
        raise type(error)(message) from None

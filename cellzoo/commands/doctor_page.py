"""The page of ``cellzoo doctor``: findings, examples side by side, numbers."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cellzoo import __version__, zoo
from cellzoo.cards.render import environment
from cellzoo.commands.doctor import Diagnosis
from cellzoo.counters.base import Counter
from cellzoo.errors import UserError
from cellzoo.evaluation.as_trained import images_as_trained
from cellzoo.evaluation.report import page
from cellzoo.files import write_new
from cellzoo.runs import Run
from cellzoo.scores.counts import round_count
from cellzoo.synthetic.sheet import contact_sheet

EXAMPLES = 8
TEMPLATES = Path(__file__).with_name("templates")
_SIDE = 256  # px of an image that are shown, at most
_SEED = 99


def write_page(file: Path, found: Diagnosis, counter: Counter) -> None:
    """Writes the page as one file.

    Args:
        file: HTML to write.
        found: with at least one image.
        counter: that saw them.
    """
    ordered = sorted(found.examples, key=lambda image: not image.flag)
    step = max(1, len(ordered) // EXAMPLES)
    shown = ordered[::step][:EXAMPLES]
    there, words = training_examples(counter.run)
    templates = environment(TEMPLATES, page.TEMPLATES)
    templates.filters["anchor"] = page.anchor
    rows = [
        [
            f"{m.name}, {m.unit}", *(f"{number:.3g}" for number in m.here),
            " to ".join(f"{number:.3g}" for number in m.training) if m.training else "not known",
            "outside" if m.outside else "",
        ]
        for m in found.measures
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        here = _picture(
            Path(folder) / "here.png",
            [image.image for image in shown],
            [round_count(image.raw) for image in shown],
        )
        trained = there and _picture(Path(folder) / "there.png", *there)
        content = templates.get_template("doctor.html.j2").render(
            title=f"Does {found.model} count these images?",
            version=__version__,
            found=found,
            here=here,
            there=trained,
            training=words,
            rows=rows,
        )
    write_new(file, content)


def training_examples(
    run: Run | None,
) -> tuple[tuple[Sequence[np.ndarray], Sequence[float]] | None, str]:
    """Images like those of training, with true counts, where they may be shown.

    Args:
        run: of the counter; None of an export or a served model.

    Returns:
        Images ``[h, w]`` in [0, 1] and counts, or None; and what they are, or why there are none.
    """
    if run is None:
        return None, "An export does not bring its training images: give the run folder."
    source, size = run.recipe.data.natural, run.recipe.image_size
    if source.simulated and not source.reads_files:
        # Frames of a chamber follow each other: every fifth one.
        made = source.simulate(5 * EXAMPLES, size, _SEED).take(np.arange(0, 5 * EXAMPLES, 5))
        return (made.images, made.counts), "Simulated as the training images, with true counts"
    if zoo.name_of(run.path):
        return None, (
            "The package does not bring the images that this counter was trained on; the numbers "
            "below say what they are like."
        )
    try:
        images, _ = images_as_trained(run, ("train",))
    except UserError as error:
        return None, f"The training images are not at hand ({error})."
    images = images.of("train")
    if not len(images):
        return None, "The training images are not at hand."
    chosen = images.take(np.random.default_rng(_SEED).permutation(len(images))[:EXAMPLES])
    return (chosen.images, chosen.counts), "Training images, with true counts"


def _picture(
    file: Path, images: Sequence[np.ndarray], counts: Sequence[float]
) -> page.Picture:
    """The middle of each image, all at one scale."""
    height, width = (min(_SIDE, *(image.shape[axis] for image in images)) for axis in (0, 1))
    middles = [
        image[(tops := (image.shape[0] - height) // 2) : tops + height,
              (lefts := (image.shape[1] - width) // 2) : lefts + width]
        for image in images
    ]  # fmt: skip
    cv2.imwrite(str(file), contact_sheet(np.stack(middles), np.asarray(counts, float), 4))
    picture = page.Picture(file)
    picture.data, picture.width, picture.height  # noqa: B018, read before the file goes
    return picture

"""The mean of a network's counts in many orientations, learned into a single look."""

import logging

import keras
from keras import ops

from cellzoo.counters.test_time_augmentation import ORIENTATIONS, lay, lay_back
from cellzoo.data.batches import TrainingBatches
from cellzoo.images import sides
from cellzoo.recipe import Recipe
from cellzoo.runs import Run
from cellzoo.training.assemble import compilation, rising_and_falling
from cellzoo.training.devices import Devices
from cellzoo.training.optimizers import make_optimizer
from cellzoo.training.stream import fit_stream
from cellzoo.training.trainer import Trainer

log = logging.getLogger("cellzoo")

TEACHER = "teacher"
COST = 3  # steps of the training in the time of one here: eight looks more, without their gradients
RATE = 0.05  # of the recipe's learning rate; more unlearns at first what is taught then


class Distiller(Trainer):
    """A trainer whose targets are the mean of a teacher's outputs in many orientations.

    A network that has seen images flipped and turned counts each orientation a little differently.
    The mean is better than each of them. Here one look learns that mean, with the losses of the
    training, from the images of the training, labelled or not (knowledge distillation: Hinton,
    Vinyals and Dean, 2015, arXiv:1503.02531).

    Args:
        network: that learns.
        teacher: the same network with weights that stay.
        recipe: with the weights of the losses, and ``augment``, which says how images may lie.
    """

    def __init__(self, network: keras.Model, teacher: keras.Model, recipe: Recipe):
        """Wraps both."""
        super().__init__(network, recipe.loss.model_copy(update={"count_start_epoch": 0}), 1)
        teacher.trainable = False
        self.teacher, self.ways = teacher, orientations(recipe)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The training's loss of what the teacher says: a scalar."""
        return super().compute_loss(x, self._lesson(x), y_pred, sample_weight, training)

    def _lesson(self, x: dict) -> dict:
        """The teacher's means, as a batch gives targets."""
        sums: dict = {}
        for way in self.ways:
            lying = {domain: lay(images, way) for domain, images in x.items()}
            seen = self.teacher(lying, training=False)
            for domain in self.domains:
                sums[f"{domain}_count"] = sums.get(f"{domain}_count", 0) + seen[f"{domain}_count"]
                density = f"{domain}_density"
                if density in seen:
                    sums[density] = sums.get(density, 0) + lay_back(seen[density], way)
        lesson = {key: ops.stop_gradient(value / len(self.ways)) for key, value in sums.items()}
        for domain, images in x.items():
            lesson[f"{domain}_weight"] = ops.ones_like(lesson[f"{domain}_count"])
            if f"{domain}_density" in lesson:
                density = lesson[f"{domain}_density"]
                place = images.shape[1] // density.shape[1]
                for axis in (1, 2):
                    density = ops.repeat(density, place, axis)
                lesson[f"{domain}_density"] = density
                lesson[f"{domain}_density_weight"] = lesson[f"{domain}_weight"]
        return lesson


def orientations(recipe: Recipe) -> list[tuple[bool, int, int]]:
    """How images may lie, by ``augment``: those of ``ORIENTATIONS`` that training may show.

    As they are; mirrored, with ``flip``; turned by 90 degrees, with ``rotate``, if square.
    """
    height, width = sides(recipe.image_size)
    flip, turn = recipe.augment.flip, recipe.augment.rotate and height == width
    return [
        (lying, rows, columns)
        for lying, rows, columns in ORIENTATIONS
        if (turn or not lying)  # lying down is a mirror image, as is each flip: two make a turn
        and (flip or (turn and lying == (rows != columns)))
    ]


def steps_within(share: float, trained_steps: int) -> int:
    """How many steps take a share of the time of a training that had so many before."""
    return max(1, round(share / (1 - share) * trained_steps / COST))


def distil(run: Run, batches: TrainingBatches, steps: int) -> None:
    """Teaches a trained network its own mean over orientations, and saves it to count with.

    What was trained stays beside it as the teacher: a run that is interrupted here begins this part
    again.

    Args:
        run: trained, with weights to count with.
        batches: of the training.
        steps: of this part.

    Raises:
        KeyboardInterrupt: the weights to count with are still the teacher's.
    """
    settings = run.recipe.train
    if not run.weights(TEACHER).is_file():
        run.save_weights(run.load_network(), run.weights(TEACHER))
    network, teacher = run.load_network(TEACHER), run.load_network(TEACHER)
    student = Distiller(network, teacher, run.recipe)
    log.info("One look learns the mean of %d orientations: %d steps.", len(student.ways), steps)
    rate = rising_and_falling(RATE * settings.learning_rate, steps, warmup=steps // 10)
    optimizer = make_optimizer(settings.optimizer, rate, global_clipnorm=settings.clip_norm)
    student.compile(optimizer, jit_compile=compilation())
    fit_stream(student, batches, range(1), steps, Devices(), ())
    run.save_best(network)

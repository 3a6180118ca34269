"""``cellzoo compare``: several methods on the same images, in one table."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellzoo import zoo
from cellzoo.commands.method_labels import READING, label_methods
from cellzoo.counters.base import Counter
from cellzoo.counters.load import load_run
from cellzoo.data.copies import check_splits, fingerprints
from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation.as_trained import images_as_trained, reads_as_stored
from cellzoo.evaluation.comparison import Drawn, Method, pairs, table
from cellzoo.evaluation.evaluate import split_in_words, split_to_score
from cellzoo.evaluation.pictures import draw_synthetic
from cellzoo.evaluation.report.comparison import About, check_output, write_report
from cellzoo.recipe import NETWORK_SECTIONS, Recipe, check_settings, load_recipe
from cellzoo.recipe.check import check_recipe
from cellzoo.runs import Run, check_start, recipe_file
from cellzoo.scores.table import HEADLINE, headline_in_words
from cellzoo.training.fit import fit

log = logging.getLogger("cellzoo")

SYNTHETIC_IMAGES = 500
# What is measured side by side: so many rounds, in each of which every method counts once.
TIMED_ROUNDS, TIMED_IMAGES = 5, 64
SELECTIONS = {"max_acc": "max-acc", "min_dev": "min-dev"}
MEAN_LABEL = "mean of the training labels"
NETWORK_KEYS = tuple(f"{section}." for section in NETWORK_SECTIONS)


@dataclass(frozen=True)
class Entrant:
    """A trained run in the comparison.

    Attributes:
        run: a finished run.
        label: what its method is called; None: not yet.
    """

    run: Run
    label: str | None = None

    recipe = property(lambda self: self.run.recipe)  # as a run to come has one


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
        subject: which images, in words; says so if they are simulated.
        rows: as in ``comparison.csv``, see :data:`cellzoo.evaluation.comparison.COLUMNS`.
        files: what was written.
    """

    subject: str
    rows: list[dict[str, object]]
    files: list[Path]

    def summary(self) -> list[str]:
        """What was found, a line for each method over all seeds, and what was written."""
        lines = [f"{self.subject}, natural images:"]
        for row in self.rows:
            if row["seed"] == "all":
                best = " (best)" if row["best"] else ""
                scores = {score.key: row[f"natural_{score.key}"] for score in HEADLINE}
                lines.append(f"  {row['method']}: {headline_in_words(scores)}{best}")
        return lines + [f"wrote {file}" for file in self.files]


def compare(
    arguments: Sequence[str],
    out: Path,
    *,
    settings: Sequence[str] = (),
    quick: bool = False,
    seeds: Sequence[int] = (),
    natural_only: bool = False,
    reference: str | None = None,
) -> Comparison:
    """Trains the recipes, loads the runs, and scores all of them on the same images.

    The images are the test split, or the validation split where no test image has a count. A twin
    network also counts fresh synthetic images with its synthetic half.

    Args:
        arguments: recipes, run folders and folders of run folders, each perhaps as ``LABEL=PATH``.
        out: folder for the comparison; runs go to ``runs/`` in it, and are gone on with there.
        settings: ``key=value``, for every recipe; ``model.KEY`` for those whose model has the key.
        quick: train the recipes' quick overlays, where they have one.
        seeds: train each recipe once with each; none: with the recipe's own.
        natural_only: also train each recipe that has synthetic images without them.
        reference: label of the method that the others are compared with; None: all pairs are.

    Raises:
        UserError: a comparison is in ``out`` already, or the methods are not on the same data.
        UsageError: a recipe is wrong, or two runs are the same method with the same seed.
    """
    plan: list[Entrant | _Training] = []
    named = [split_label(argument) for argument in arguments]
    for _, path in named:
        if str(path).startswith(zoo.PREFIX):
            raise UsageError(
                f"{path} was trained on images that the package does not bring: compare recipes "
                "and runs, or score it with `cellzoo evaluate --data`."
            )
    recipes = [path for _, path in named if not path.is_dir()]
    if not recipes and (settings or quick or seeds or natural_only):
        raise UsageError(
            "--set, --budget, --quick, --seed and --natural-only are for recipes, which are "
            "trained; runs are taken as they are: leave these out, or name a recipe."
        )
    _check_model_settings(recipes, settings, quick)
    for label, path in named:
        if path.is_dir():
            plan += [Entrant(run, label) for run in _finished_runs(path)]
        else:
            plan += _trainings(path, label, out / "runs", settings, quick, seeds, natural_only)
    _check_folders(plan)  # these before hours of training
    _check_same_sections(plan)
    plan = label_methods(plan)
    labels = sorted({str(step.label) for step in plan})
    if reference is not None and reference not in labels:
        raise UsageError(f"--reference {reference} is none of the methods: {', '.join(labels)}.")
    check_output(out, any(isinstance(s, _Training) and s.folder.exists() for s in plan))
    entrants = [step if isinstance(step, Entrant) else step.train() for step in plan]
    by_seed = _check_comparable(entrants)
    every_image = {seed: _natural(runs[0].run) for seed, runs in by_seed.items()}
    for every in every_image.values():
        if not entrants[0].run.recipe.data.natural.allows_copies:
            check_splits(every, fingerprints(every.given))
    split = split_to_score(every_image[min(every_image)])
    images = {seed: _scored(every, split) for seed, every in every_image.items()}
    out.mkdir(parents=True, exist_ok=True)
    methods = _count_all(by_seed, every_image, images)
    recipe = entrants[0].run.recipe
    # A seed deals a folder's groups out anew; simulated ones it makes anew, under the same names.
    same_groups = recipe.data.natural.reads_files
    rows = table(methods, images, same_groups=same_groups)
    compared = pairs(methods, images, same_groups=same_groups, reference=reference)
    about = About(
        data=recipe.data.natural.describe(),
        subject=split_in_words(split, recipe),
        simulated=recipe.data.natural.simulated,
        chosen_on_these=split == "validation",
        synthetic_images=SYNTHETIC_IMAGES,
        methods=_methods_in_words(entrants),
        reference=reference,
    )
    files = write_report(out, about, methods, rows, compared, images, every_image[min(every_image)])
    return Comparison(about.subject, rows, files)


def split_label(argument: str) -> tuple[str | None, Path]:
    """``LABEL=PATH`` in two, unless there is a file or folder of that whole name."""
    label, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        return None, Path(argument)
    if not label.strip() or not path:
        raise UsageError(f"{argument}: write LABEL=PATH, such as twin=runs/twin-1.")
    return label.strip(), Path(path)


def _finished_runs(folder: Path) -> list[Run]:
    """The run in this folder, or those in its sub-folders."""
    folders = [folder]
    if not recipe_file(folder).is_file():
        folders = [file.parent for file in sorted(folder.glob("*/recipe.yaml"))]
    if not folders:
        raise UserError(f"{folder} holds no run: name a folder that `cellzoo fit` wrote.")
    runs = [Run(path) for path in folders]
    for run in runs:
        if not run.finished:
            raise UserError(f"{run.path} is not finished: let `cellzoo fit` train it to its end.")
    return runs


@dataclass(frozen=True)
class _Training:
    """A run to come."""

    recipe: Recipe
    folder: Path
    label: str | None

    def train(self) -> Entrant:
        return Entrant(fit(self.recipe, self.folder), self.label)


def _trainings(
    path: Path,
    label: str | None,
    runs: Path,
    settings: Sequence[str],
    quick: bool,
    seeds: Sequence[int],
    natural_only: bool,
) -> list[_Training]:
    """Of a recipe one run per seed, and per seed one without synthetic images."""
    if load_recipe(path).classical:
        # Fitted in one go: how to learn and to count is for the networks of the comparison.
        quick, settings = False, [s for s in settings if not s.startswith(NETWORK_KEYS)]
    model = load_recipe(path, quick=quick).model
    settings = [setting for setting in settings if _concerns(setting, model)]
    trainings = []
    for seed in seeds or [None]:
        chosen = [*settings, *([] if seed is None else [f"seed={seed}"])]
        variants = {"": chosen}
        if natural_only and load_recipe(path, chosen, quick).data.synthetic:
            variants["natural-only"] = [*chosen, "data.synthetic=null"]
        for variant, variant_settings in variants.items():
            recipe = load_recipe(path, variant_settings, quick)
            words = [word for word in (path.stem, variant, str(recipe.seed)) if word]
            name = f"{label}, natural only" if label and variant else label
            check_recipe(recipe)  # each, before the first one takes its time
            check_settings(recipe, variant_settings)
            check_start(recipe)
            trainings.append(_Training(recipe, runs / "-".join(words), name))
    return trainings


def _concerns(setting: str, model: object) -> bool:
    """Whether a setting is not one of those that only other models know."""
    section, _, key = setting.partition("=")[0].strip().partition(".")
    return section != "model" or key.partition(".")[0] in type(model).model_fields


def _check_folders(plan: Sequence["Entrant | _Training"]) -> None:
    """Sees to it that each run to come gets a folder of its own.

    Raises:
        UsageError: two have one.
    """
    folders = [step.folder for step in plan if isinstance(step, _Training)]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(
                f"Two of the runs would have the folder {folder}: rename one of the recipes, and "
                "give each seed once."
            )


def _check_model_settings(paths: Sequence[Path], settings: Sequence[str], quick: bool) -> None:
    """Sees to it that each setting means something to at least one recipe.

    Raises:
        UsageError: one does not; the sentence names the nearest key.
    """
    models = [load_recipe(p, quick=quick and not load_recipe(p).classical).model for p in paths]
    for setting in settings:
        if models and not any(_concerns(setting, model) for model in models):
            load_recipe(paths[0], [setting])


def _check_comparable(entrants: Sequence[Entrant]) -> dict[int, list[Entrant]]:
    """The entrants by seed, every seed with the same methods in the same order.

    Raises:
        UserError: the runs are not of the same data, splits and seeds.
    """
    by_method: dict[str, dict[int, Entrant]] = {}
    for entrant in entrants:
        runs = by_method.setdefault(entrant.label, {})
        seed = entrant.run.recipe.seed
        if seed in runs:
            raise UsageError(
                f"{runs[seed].run.path} and {entrant.run.path} are both {entrant.label!r} with "
                f"seed {seed}: leave one out, or tell them apart with LABEL=PATH."
            )
        runs[seed] = entrant
    first = entrants[0]
    seeds = sorted(by_method[first.label])
    for label, runs in by_method.items():
        if sorted(runs) != seeds:
            raise UserError(
                f"{first.label!r} was trained with the seeds {_listed(seeds)}, {label!r} with "
                f"{_listed(sorted(runs))}: compare runs of the same seeds, or give runs of one "
                "method one name with LABEL=PATH."
            )
        for seed, entrant in runs.items():
            _check_same_splits(by_method[first.label][seed].run, entrant.run)
    return {seed: [runs[seed] for runs in by_method.values()] for seed in seeds}


def _check_same_sections(plan: Sequence[Entrant | _Training]) -> None:
    """Sees to it that all learn from the same images and labels.

    Raises:
        UserError: two do not; the sentence names the first key that differs.
    """
    found = [
        (step.run.path if isinstance(step, Entrant) else step.folder, _identity(step.recipe))
        for step in plan
    ]
    first, section = found[0]
    for path, other in found[1:]:
        keys = [key for key in section | other if section.get(key) != other.get(key)]
        if keys:
            raise UserError(
                f"{first} and {path} have different data ({keys[0]}): compare runs of the same "
                f"images and labels, or set {keys[0]} for all."
            )


def _check_same_splits(one: Run, other: Run) -> None:
    tables = one.split_table(), other.split_table()
    if all(tables):
        # Earlier versions kept no counts; grey levels differ with how files are read.
        columns = (tables[0][0].keys() & tables[1][0].keys()) - {"mean"}
        first, second = ([{c: row[c] for c in columns} for row in table] for table in tables)
        if first != second:
            raise UserError(
                f"{one.splits_file} and {other.splits_file} are not the same, so the runs did not "
                "have the same images and labels in the same splits: train them anew on one folder."
            )


def _identity(recipe: Recipe) -> dict[str, object]:
    section = recipe.data.natural
    kept = section.model_dump(exclude=set(READING))
    identity = {f"data.natural.{key}": value for key, value in kept.items()}
    if section.reads_files:
        identity["data.natural.folder"] = [folder.resolve() for folder in section.folders]
    if len(section.folders) != 1:
        identity["model.image_size"] = recipe.image_size
    return identity


def _natural(run: Run) -> ImageSet:
    """All natural images of a run as its model takes them, in the splits it was trained with."""
    images, skipped = images_as_trained(run)
    for file in skipped:
        log.warning("skipped %s: %s", file.name, file.reason)
    return images


def _scored(images: ImageSet, split: str) -> ImageSet:
    chosen = images.of(split)
    chosen = chosen.take(chosen.labelled)
    if not len(chosen):
        raise UserError(f"No {split} image has a count: label some in labels.csv.")
    return chosen


def _count_all(
    by_seed: dict[int, list[Entrant]],
    every_image: dict[int, ImageSet],
    images: dict[int, ImageSet],
) -> list[Method]:
    """What each method counts in the images of each seed; the floor stands last."""
    methods: dict[str, Method] = {}
    floor = Method(MEAN_LABEL)
    generators: list[object] = []
    for seed, entrants in by_seed.items():
        timed: dict[str, Callable[[], float]] = {}
        drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        split = str(images[seed].splits[0])
        for entrant in entrants:
            recipe, own = entrant.run.recipe, every_image[seed]
            if _reading(entrant.run) != _reading(entrants[0].run):
                own = _natural(entrant.run)
            own_images = _same_images(_scored(own, split), images[seed], entrant.run)
            for label, counter in _counters(entrant).items():
                log.info("counting with %s, seed %d", label, seed)
                method = methods.setdefault(label, Method(label))
                if seed in method.natural:
                    raise UsageError(f"Two methods are called {label!r}: give one another LABEL.")
                method.natural[seed] = counter.count(own_images, scaled=True, flags=False).raw
                method.parameters = counter.weights_count
                method.training_seconds[seed] = entrant.run.validation_scores()["seconds"]
                timed[label] = _timed_call(counter, own_images)
                if counter.reads_synthetic:
                    generator = _generator(generators, recipe)
                    if generator not in drawn:
                        drawn[generator] = draw_synthetic(
                            recipe, own.of("train"), SYNTHETIC_IMAGES
                        )
                    pictures, true = drawn[generator]
                    predicted = counter.count(pictures, scaled=True, domain="synthetic").raw
                    method.synthetic[seed] = Drawn(generator, true, predicted)
        train = every_image[seed].of("train")
        known = train.counts[train.labelled]
        if len(known):
            floor.natural[seed] = np.full(len(images[seed]), known.mean(), np.float32)
        if seed == min(by_seed):
            for label, rate in _images_per_second(timed).items():
                methods[label].images_per_second = rate
    return [*methods.values(), floor] if floor.natural else list(methods.values())


def _counters(entrant: Entrant) -> dict[str, Counter]:
    """The run's own counter and, for a twin, the paper's two selections (Table 2), by label."""
    run = entrant.run
    counters = {entrant.label: load_run(run.path)}
    if counters[entrant.label].reads_synthetic:
        for selection, word in SELECTIONS.items():
            if run.weights(selection).is_file() and run.recipe.train.select != selection:
                counters[f"{entrant.label}, {word}"] = load_run(run.path, selection)
    return counters


def _reading(run: Run) -> tuple[object, ...]:
    """What decides how a model sees the images."""
    section = run.recipe.data.natural
    return run.recipe.image_size, section.reading, section.folders, reads_as_stored(run)


def _same_images(own: ImageSet, reference: ImageSet, run: Run) -> Sequence[np.ndarray]:
    """What a counter gets of them, once it is sure that they are the same images.

    Raises:
        UserError: they are not.
    """
    same = np.array_equal(own.names, reference.names)
    if not same or not np.array_equal(own.counts, reference.counts):
        raise UserError(
            f"{run.path} would be scored on other images or labels than the first run: compare "
            "runs of the same folder."
        )
    return own.given


def _generator(generators: list[object], recipe: Recipe) -> int:
    """The number of the recipe's generator of synthetic images among those seen so far."""
    settings = recipe.data.synthetic.model_dump(exclude={"images", "fresh"})
    settings["size"] = recipe.image_size
    if settings not in generators:
        generators.append(settings)
    return generators.index(settings) + 1


def _timed_call(counter: Counter, images: Sequence[np.ndarray]) -> Callable[[], float]:
    """A function that counts a fixed number of images and returns how many it did in a second."""
    repeats = -(-TIMED_IMAGES // len(images))
    some = ([*images] * repeats)[:TIMED_IMAGES]

    def timed() -> float:
        started = time.perf_counter()
        counter.count(some, scaled=True, flags=False)
        return len(some) / (time.perf_counter() - started)

    return timed


def _images_per_second(calls: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median rate of each, in rounds, so that all share what else the machine does."""
    rounds = [{label: call() for label, call in calls.items()} for _ in range(TIMED_ROUNDS + 1)]
    # The first round builds graphs.
    return {label: float(np.median([r[label] for r in rounds[1:]])) for label in calls}


def _methods_in_words(entrants: Sequence[Entrant]) -> dict[str, str]:
    words: dict[str, str] = {}
    for entrant in entrants:
        recipe = entrant.run.recipe
        start = f"recipe {recipe.name}, model {recipe.model.name}"
        start += "" if recipe.classical else f", checkpoint {recipe.train.select}"
        words[entrant.label] = f"{words.get(entrant.label, start + '; runs')} {entrant.run.path}"
    return words


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


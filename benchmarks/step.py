"""Time of a training step beside the same network's in PyTorch, in one run.

    python benchmarks/step.py --torch ~/torch/bin/python
    python benchmarks/step.py --fed

PyTorch is no dependency of cellzoo: name a Python that has it. Both train on one batch that stays,
with Adam, weight decay, clipped gradients and averaged weights, as the recipe of the network says.
They take turns, so that other work on the machine disturbs both. Prints seconds per step by the
clock and of the processor, medians over turns, and PyTorch's divided by ours: above 1, ours is
faster. PyTorch has both layouts of memory, and the faster one counts. Beside other work only
`--threads 1` compares: PyTorch's threads burn processor time while they wait for each other,
several times that of the step.

`--fed` compares a step of the recipe, whose batches are made meanwhile, with one whose batch stays:
above 1, it waits for data.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

# Network -> recipe, images of a domain in a batch, height and width.
NETWORKS = {
    "twinvae": ("twinvae_bf", 16, (128, 128)),
    "twin_density": ("twindensity_bf", 16, (128, 128)),
    "dcc": ("dcc_small_fluorescence", 4, (264, 352)),
}
LAYOUTS = ("contiguous_format", "channels_last")
STEPS, WARMUP = 8, 3


def main() -> None:
    """Parses, runs all in turn and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=NETWORKS, default="twinvae")
    parser.add_argument("--torch", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--fed", action="store_true", help="what making batches costs")
    parser.add_argument("--only", choices=("cellzoo", *LAYOUTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fed:
        print_fed(arguments.network, arguments.turns)
        return
    if arguments.only:
        make = cellzoo_step
        if arguments.only != "cellzoo":
            make = torch_step
        print(*timed(make(arguments.network, arguments.only)))
        return
    import numpy as np  # here, as the Python with PyTorch may have none

    ways = {"cellzoo": sys.executable, **dict.fromkeys(LAYOUTS, arguments.torch)}
    threads = str(arguments.threads)
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = os.environ | dict.fromkeys(names, threads)
    seconds: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(arguments.turns):
        for name, python in ways.items():
            # -P: the statistics.py of this folder is not Python's, which PyTorch imports.
            command = [python, "-P", __file__, "--only", name, "--network", arguments.network]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            seconds[name].append([float(word) for word in done.stdout.split()[-2:]])
    medians = {name: np.median(turns, axis=0) for name, turns in seconds.items()}
    layout = min(LAYOUTS, key=lambda name: medians[name][0])
    _, batch, (height, width) = NETWORKS[arguments.network]
    print(
        f"{arguments.network}: seconds per step of {batch} images of {width} x {height} px of each "
        f"domain, {arguments.turns} turns, threads: {threads}, PyTorch's layout: {layout}"
    )
    for k, name in enumerate(("clock", "processor")):
        ours, theirs = medians["cellzoo"][k], medians[layout][k]
        print(f"{name}: cellzoo {ours:.4f}, PyTorch {theirs:.4f}, ratio {theirs / ours:.2f}")


def print_fed(network: str, turns: int) -> None:
    """A training's steps against steps with a batch that stays, by turns."""
    import numpy as np
    import tensorflow as tf

    from cellzoo.recipe import load_recipe, with_values
    from cellzoo.training.assemble import new_trainer, training_batches
    from cellzoo.training.devices import Devices
    from cellzoo.training.stream import tf_dataset

    few = {"data.natural.train": 100, "data.natural.labelled": 59}
    recipe = load_recipe(NETWORKS[network][0])
    if recipe.data.synthetic is not None:
        few["data.synthetic.images"] = 500
    else:
        del few["data.natural.labelled"]
    recipe = with_values(recipe, few)
    natural, _ = recipe.data.natural.load(recipe.image_size, recipe.seed, ("train",))
    batches, devices = training_batches(recipe, natural), Devices()
    trainer = new_trainer(recipe, batches, 100, devices)
    made = tf_dataset(batches, 0, 10**6, devices)
    ways = {"fed": made, "cached": tf.data.Dataset.from_tensors(batches(0)).repeat()}
    streams = {name: iter(stream) for name, stream in ways.items()}
    seconds = {name: [] for name in ways}
    making = [processor_time(lambda step=step: batches(step)) for step in range(100)]
    for turn in range(turns + 1):
        for name, stream in streams.items():
            started = time.monotonic()
            for _ in range(2 * STEPS):
                trainer.train_on_batch(*next(stream))
            if turn:
                seconds[name].append((time.monotonic() - started) / (2 * STEPS))
    fed, cached = (np.median(seconds[name]) for name in ways)
    ratio = np.median(np.divide(seconds["fed"], seconds["cached"]))
    print(
        f"{network} fed: clock {fed:.4f}, cached {cached:.4f}, ratio {ratio:.3f}, "
        f"to make a batch: processor {np.median(making):.4f}"
    )


def processor_time(call: Callable[[], object]) -> float:
    """Seconds of the processor that a call takes of this thread."""
    started = time.thread_time()
    call()
    return time.thread_time() - started


def timed(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds per step by the clock and of the processor."""
    for _ in range(WARMUP):
        step()
    clock, processor = time.monotonic(), time.process_time()
    for _ in range(STEPS):
        step()
    return (time.monotonic() - clock) / STEPS, (time.process_time() - processor) / STEPS


def cellzoo_step(network: str, _layout: str) -> Callable[[], object]:
    """A step of the recipe, without the making of batches."""
    import numpy as np
    import tensorflow as tf

    from cellzoo.models.dcc.section import DCC
    from cellzoo.models.twin_density.section import TwinDensity
    from cellzoo.models.twinvae.section import TwinVAE
    from cellzoo.recipe import Loss
    from cellzoo.training.optimizers import make_optimizer
    from cellzoo.training.trainer import Trainer

    _, batch, size = NETWORKS[network]
    domains = ("natural",) if network == "dcc" else ("natural", "synthetic")
    section, loss, rate, decay = {
        "twinvae": (
            TwinVAE(dropout=0, center=True), Loss(reconstruction="bce"), 1e-4, 0.3
        ),
        "twin_density": (
            TwinDensity(shared_reader=True),
            Loss(count_weight=0.05, density_weight=1, density_loss="poisson"), 2e-3, 0.3,
        ),
        "dcc": (
            DCC(image_size=size, channels=[8, 16, 32], head="additive"),
            Loss(count_loss="poisson", count_weight=1, mask_weight=1, density_weight=1), 2e-3, 0.0,
        ),
    }[network]  # fmt: skip
    trainer = Trainer(section.build(domains), loss, 100)
    optimizer = make_optimizer(
        "adam", rate, decay, global_clipnorm=5.0, use_ema=True, ema_momentum=0.99
    )
    trainer.compile(optimizer=optimizer, jit_compile=False)
    random = np.random.default_rng(0)
    x = {d: tf.constant(random.random((batch, *size), np.float32)) for d in domains}
    y = {f"{d}_count": tf.fill([batch], 8.0) for d in domains}
    y |= {f"{d}_weight": tf.ones([batch]) for d in domains}
    if network != "twinvae":
        level = np.full((batch, *size), 8 / (size[0] * size[1]), np.float32)
        y |= {f"{d}_density": tf.constant(level) for d in domains}
        y |= {f"{d}_density_weight": tf.ones([batch]) for d in domains}
    if network == "dcc":
        masks = random.random((batch, *size)) > 0.5
        y |= {"natural_mask": tf.constant(masks, tf.float32)}
        y |= {"natural_mask_weight": tf.ones([batch])}
    return lambda: trainer.train_on_batch(x, y)


def torch_step(network: str, layout: str) -> Callable[[], object]:
    """The same step in PyTorch."""
    import torch
    from torch import nn

    torch.set_flush_denormal(True)  # as TensorFlow does
    make = {"twinvae": torch_twinvae, "twin_density": torch_twin_density, "dcc": torch_dcc}
    weights_number = {"twinvae": 11_363_331, "twin_density": 118_913, "dcc": 33_411}
    modules, loss_of = make[network]()
    _, batch, size = NETWORKS[network]
    layout = getattr(torch, layout)
    modules = modules.to(memory_format=layout)
    weights = list(modules.parameters())
    found = sum(weight.numel() for weight in weights)
    assert found == weights_number[network], found  # as many as ours has
    averages = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, 1e-4, weight_decay=0.0 if network == "dcc" else 0.3)
    domains = 1 if network == "dcc" else 2
    images = [torch.rand(batch, 1, *size).to(memory_format=layout) for _ in range(domains)]

    def step():
        total = sum(loss_of(image, k) for k, image in enumerate(images))
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 0.01)

    return step


def torch_twinvae():
    """The authors' network, and its loss for a domain."""
    import torch
    from torch import nn

    def down(*widths):
        pairs = zip(widths, widths[1:], strict=False)
        return [part for a, b in pairs for part in (nn.Conv2d(a, b, 5, 2), nn.LeakyReLU(0.2))]

    def up(a, b, kernel=5, stride=2):
        convolution = nn.ConvTranspose2d(a, b, kernel, stride)
        return [convolution, nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]

    def decoder():
        inner = [*up(256, 128), *up(128, 64), *up(64, 32), *up(32, 32, 2, 1)]
        return nn.Sequential(*inner, nn.ConvTranspose2d(32, 1, 6, 2), nn.Sigmoid())

    encoders = nn.ModuleList(nn.Sequential(*down(1, 32, 64, 128, 256)) for _ in range(2))
    decoders = nn.ModuleList(decoder() for _ in range(2))
    shared_encoder = nn.Sequential(*down(256, 512), nn.Flatten())
    mean_layer, log_variance_layer = nn.Linear(512, 256), nn.Linear(512, 256)
    shared_decoder = nn.Sequential(nn.Linear(256, 512), nn.Unflatten(1, (512, 1, 1)), *up(512, 256))
    regressor = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 128), nn.Linear(128, 1))
    modules = nn.ModuleList(
        [encoders, decoders, shared_encoder, mean_layer, log_variance_layer, shared_decoder]
    ).append(regressor)

    def loss(image, k):
        centered = (image - image.mean((1, 2, 3), keepdim=True)) / 0.3
        features = shared_encoder(encoders[k](centered))
        mean, log_variance = mean_layer(features), log_variance_layer(features)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = nn.functional.binary_cross_entropy(decoders[k](shared_decoder(code)), image)
        divergence = 1 + log_variance - mean**2 - log_variance.exp()
        count = ((regressor(code)[:, 0] - 8) ** 2).mean()
        return 100 * error + 3 * count - 2 * 0.5 * divergence.sum(1).mean() / 128**2

    return modules, loss


def torch_block_errors(density, predicted, place: int, poisson: bool):
    """The density's loss: errors of blocks, each image's divided by its count + 1."""
    from torch.nn.functional import avg_pool2d

    density = avg_pool2d(density, place) if place > 1 else density
    total = 0.0
    for side in (4, 16):
        places = max(side // place, 1)
        cells, true = ((places * place) ** 2 * avg_pool2d(d, places) for d in (predicted, density))
        errors = (cells - true) ** 2
        if poisson:
            cells, true = cells + 1e-3, true + 1e-3
            errors = cells - true - true * (cells / true).log()
        total = total + errors.sum((1, 2, 3)) / 9
    return total.mean()


def torch_twin_density():
    """One reader for both domains."""
    import torch
    from torch import nn

    def convolution(a, b, stride=1):
        return [nn.Conv2d(a, b, 3, stride, padding=1), nn.LeakyReLU(0.2)]

    modules = nn.Sequential(
        nn.PixelUnshuffle(4), *convolution(16, 48), *convolution(48, 64, 2),
        *convolution(64, 64), *convolution(64, 64), nn.Conv2d(64, 16, 1),
        *convolution(16, 64), nn.Conv2d(64, 1, 1), nn.Softplus(),
    )  # fmt: skip
    density = torch.full((16, 1, 128, 128), 8 / 128**2)

    def loss(image, _):
        cells = modules((image - image.mean((1, 2, 3), keepdim=True)) / 0.3)
        count = ((cells.sum((1, 2, 3)) - 8) ** 2).mean()
        return 0.05 * count + torch_block_errors(density, cells / 64, 8, True)

    return modules, loss


def torch_dcc():
    """The small U-Net of three stages, with the additive head."""
    import torch
    from torch import nn

    _, batch, size = NETWORKS["dcc"]
    widths = (8, 16, 32)

    def convolution(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU())

    down = nn.ModuleList(convolution(a, b) for a, b in zip((1, 8, 16), widths, strict=True))
    up = nn.ModuleList(convolution(a + b, b) for a, b in zip((16, 32, 32), widths, strict=True))
    probability = nn.Sequential(nn.Conv2d(8, 1, 1), nn.Sigmoid())
    terms = nn.Sequential(nn.Conv2d(9, 32, 1), nn.ReLU(), nn.Conv2d(32, 2, 1), nn.Softplus())
    half, double = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
    modules = nn.ModuleList([down, up, probability, terms])
    masks = (torch.rand(batch, 1, *size) > 0.5).float()
    density = torch.full((batch, 1, *size), 8 / (size[0] * size[1]))
    scale = 256 / (size[0] * size[1])

    def loss(image, _):
        grey, x, by_stage = (image - 0.5) / 0.3, (image - 0.5) / 0.3, []
        for stage in down:
            x = stage(x)
            by_stage.append(x)
            x = half(x)
        for stage, beside in zip(reversed(up), reversed(by_stage), strict=True):
            x = stage(torch.cat([double(x), beside], 1))
        mask = nn.functional.binary_cross_entropy(probability(x), masks)
        both = terms(torch.cat([x, grey], 1))
        found = scale * (both[:, :1] + grey.relu() * both[:, 1:])
        count = ((found.sum((1, 2, 3)) - 8) ** 2 / 9).mean()
        return count + mask + torch_block_errors(density, found, 1, False)

    return modules, loss


if __name__ == "__main__":
    main()

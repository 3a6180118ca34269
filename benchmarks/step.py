"""Time of a training step of the Twin-VAE beside the same network's in PyTorch, in one run.

    python benchmarks/step.py --torch ~/torch/bin/python

PyTorch is no dependency of cellzoo: name a Python that has it. Both train on one batch that stays,
with Adam, weight decay, clipped gradients and averaged weights, as `recipes/twinvae_bf.yaml` says.
They take turns, so that other work on the machine disturbs both. Prints seconds per step by the
clock and of the processor, medians over turns, and PyTorch's divided by ours: above 1, ours is
faster. Beside other work only `--threads 1` compares: PyTorch's threads burn processor time while
they wait for each other, several times that of the step.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

BATCH, STEPS, WARMUP = 16, 8, 3


def main() -> None:
    """Parses, runs the two in turn and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--only", choices=("cellzoo", "torch"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        step = torch_step() if arguments.only == "torch" else cellzoo_step()
        print(*timed(step))
        return
    import numpy as np  # here, as the Python with PyTorch may have none

    pythons = {"cellzoo": sys.executable, "torch": arguments.torch}
    threads = str(arguments.threads)
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = os.environ | dict.fromkeys(names, threads)
    seconds: dict[str, list[list[float]]] = {name: [] for name in pythons}
    for _ in range(arguments.turns):
        for name, python in pythons.items():
            # -P: the statistics.py of this folder is not Python's, which PyTorch imports.
            command = [python, "-P", __file__, "--only", name]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            seconds[name].append([float(word) for word in done.stdout.split()[-2:]])
    clock, processor = (
        {name: np.median([turn[k] for turn in seconds[name]]) for name in seconds}
        for k in (0, 1)
    )
    size = f"{BATCH} + {BATCH} images"
    print(f"seconds per step of {size}, {arguments.turns} turns, threads: {threads}")
    for name, times in (("clock", clock), ("processor", processor)):
        ours, theirs = times["cellzoo"], times["torch"]
        print(f"{name}: cellzoo {ours:.3f}, PyTorch {theirs:.3f}, ratio {theirs / ours:.2f}")


def timed(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds per step by the clock and of the processor."""
    for _ in range(WARMUP):
        step()
    clock, processor = time.monotonic(), time.process_time()
    for _ in range(STEPS):
        step()
    return (time.monotonic() - clock) / STEPS, (time.process_time() - processor) / STEPS


def cellzoo_step() -> Callable[[], object]:
    """A step of the recipe, without the making of batches."""
    import numpy as np
    import tensorflow as tf

    from cellzoo.models.twinvae.section import TwinVAE
    from cellzoo.recipe import Loss
    from cellzoo.training.optimizers import make_optimizer
    from cellzoo.training.trainer import Trainer

    domains = ("natural", "synthetic")
    network = TwinVAE(dropout=0, center=True).build(domains)
    trainer = Trainer(network, Loss(reconstruction="bce"), 100)
    optimizer = make_optimizer(
        "adam", 1e-4, 0.3, global_clipnorm=5.0, use_ema=True, ema_momentum=0.99
    )
    trainer.compile(optimizer=optimizer, jit_compile=False)
    random = np.random.default_rng(0)
    x = {d: tf.constant(random.random((BATCH, 128, 128), np.float32)) for d in domains}
    y = {f"{d}_count": tf.fill([BATCH], 8.0) for d in domains}
    y |= {f"{d}_weight": tf.ones([BATCH]) for d in domains}
    return lambda: trainer.train_on_batch(x, y)


def torch_step() -> Callable[[], object]:
    """The same step in PyTorch."""
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

    torch.set_flush_denormal(True)  # as TensorFlow does
    encoders = nn.ModuleList(nn.Sequential(*down(1, 32, 64, 128, 256)) for _ in range(2))
    decoders = nn.ModuleList(decoder() for _ in range(2))
    shared_encoder = nn.Sequential(*down(256, 512), nn.Flatten())
    mean_layer, log_variance_layer = nn.Linear(512, 256), nn.Linear(512, 256)
    shared_decoder = nn.Sequential(nn.Linear(256, 512), nn.Unflatten(1, (512, 1, 1)), *up(512, 256))
    regressor = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 128), nn.Linear(128, 1))
    network = nn.ModuleList(
        [encoders, decoders, shared_encoder, mean_layer, log_variance_layer, shared_decoder]
    ).append(regressor)
    weights = list(network.parameters())
    assert sum(weight.numel() for weight in weights) == 11_363_331  # as the authors' network has
    averages = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, 1e-4, weight_decay=0.3)
    images = torch.rand(2, BATCH, 1, 128, 128).contiguous()
    counts = torch.full((BATCH,), 8.0)

    def step():
        total = 0.0
        for image, encoder, decode in zip(images, encoders, decoders, strict=True):
            centered = (image - image.mean((1, 2, 3), keepdim=True)) / 0.3
            features = shared_encoder(encoder(centered))
            mean, log_variance = mean_layer(features), log_variance_layer(features)
            code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            error = nn.functional.binary_cross_entropy(decode(shared_decoder(code)), image)
            divergence = 1 + log_variance - mean**2 - log_variance.exp()
            total = total + 100 * error + 3 * ((regressor(code)[:, 0] - counts) ** 2).mean()
            total = total - 2 * 0.5 * divergence.sum(1).mean() / 128**2
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 0.01)

    return step


if __name__ == "__main__":
    main()

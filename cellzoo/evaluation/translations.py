"""Whether the pictures that a Twin-VAE makes of images show as many cells as these."""

import numpy as np

from cellzoo.evaluation.findings import Findings
from cellzoo.evaluation.pictures import domain_of
from cellzoo.scores.table import count_metrics

MOST_IMAGES = 200  # of a kind: each is counted twice more


def counted_again(findings: Findings) -> dict[str, dict[str, float]]:
    """What the network counts in its own pictures against what it counts in their images.

    A reconstruction is counted by the half of its own domain, a translation by the other half
    (Figs. 6 to 9 of Stallmann et al. 2021). A translation that loses cells shows that the latent
    says something else in either domain.

    Args:
        findings: of a counter; one without decoders has no pictures.

    Returns:
        For each picture, such as ``"natural_to_synthetic"``, the bias and the mean absolute error
        (``bias_raw`` and ``mae_raw``, in cells, not rounded) that its counts have against those of
        the images it was made from. No true count plays a part. The first 200 images of a domain.
    """
    counter = findings.counter
    if not counter.can_reconstruct:
        return {}
    images = {"natural": findings.images.images}
    if findings.synthetic:
        images["synthetic"] = findings.synthetic.images
    found = {}
    for domain, own in images.items():
        pictures = counter.translations(own[:MOST_IMAGES], domain)
        counts = {
            name: counter.count(
                shown.astype(np.float32, copy=False),
                scaled=True,
                domain=domain_of(name, domain),
                flags=False,
            ).raw
            for name, shown in pictures.items()
        }
        before = counts.pop(domain)
        for name, after in counts.items():
            scores = count_metrics(before, after)
            found[name] = {key: scores[key] for key in ("bias_raw", "mae_raw")}
    return found

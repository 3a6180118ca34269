"""Batches as a ``tf.data`` stream."""

from collections.abc import Iterator

from cellzoo.data.batches import Batch, TrainingBatches
from cellzoo.training.devices import Devices


def tf_dataset(batches: TrainingBatches, first: int, last: int, devices: Devices):
    """The batches as a ``tf.data`` stream that is made while the last one trains.

    Several devices each get their rows of a batch, which every machine makes for itself.
    """
    import tensorflow as tf

    parts = len(devices.rows(batches.batch_size))

    def shares() -> Iterator[Batch]:
        for batch in batches.between(first, last):
            for k in range(parts):
                yield tuple(
                    {key: array[devices.rows(len(array))[k]] for key, array in d.items()}
                    for d in batch
                )

    signature = tuple(
        {key: tf.TensorSpec((None, *array.shape[1:]), array.dtype) for key, array in part.items()}
        for part in batches(first)
    )
    stream = tf.data.Dataset.from_generator(shares, output_signature=signature)
    stream = stream.prefetch(2 * parts)
    if devices.strategy is None:
        return stream
    return devices.strategy.distribute_datasets_from_function(lambda _: stream)

"""Batches as a stream, and the training that reads it."""

import gc
import traceback
from collections.abc import Iterator, Sequence

import keras

from cellzoo.data.batches import Batch, TrainingBatches
from cellzoo.training.devices import Devices
from cellzoo.training.interrupts import BetweenSteps


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


def fit_stream(
    trainer: keras.Model,
    batches: TrainingBatches,
    epochs: range,
    steps_per_epoch: int,
    devices: Devices,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Trains for some epochs, with the batches of just these.

    Raises:
        KeyboardInterrupt: between two steps.
    """
    first, last = epochs.start * steps_per_epoch, epochs.stop * steps_per_epoch
    if keras.backend.backend() == "tensorflow":
        stream = tf_dataset(batches, first, last, devices)
    else:
        stream = batches.between(first, last)
    interrupts = BetweenSteps()
    try:
        with interrupts.waiting():
            trainer.fit(
                stream,
                initial_epoch=epochs.start,
                epochs=epochs.stop,
                steps_per_epoch=steps_per_epoch,
                callbacks=[interrupts, *callbacks],
                shuffle=False,
                verbose=0,
            )
    except BaseException as error:
        # Else Keras's frames keep the stream until Python ends, where TensorFlow waits for the
        # thread that makes the next batch, and that thread for Python, for ever.
        traceback.clear_frames(error.__traceback__)
        gc.collect()  # an interrupt in mid-step leaves the stream in a circle of references
        raise

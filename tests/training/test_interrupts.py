"""Ctrl-C waits for the end of a step."""

import os
import signal

import pytest

from cellzoo.training.interrupts import BetweenSteps


@pytest.fixture(autouse=True)
def handlers():
    """Ctrl-C and SIGTERM as the command line has them at a terminal."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_before_the_next_step(number):
    interrupts, steps = BetweenSteps(), []
    with pytest.raises(KeyboardInterrupt), interrupts.waiting():
        for step in range(3):
            interrupts.on_train_batch_begin(step)
            if step == 1:
                send(number)
            steps.append(step)
    assert steps == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        send(number)


def test_a_second_signal_ends_it_at_once():
    steps = []
    with pytest.raises(KeyboardInterrupt), BetweenSteps().waiting():
        send()
        steps.append("first")
        send()
        steps.append("second")
    assert steps == ["first"]


def test_a_signal_in_the_last_step_is_not_lost():
    with pytest.raises(KeyboardInterrupt), BetweenSteps().waiting():
        send()


def test_a_signal_that_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts = BetweenSteps()
    with interrupts.waiting():
        send(signal.SIGINT)
    assert not interrupts.asked

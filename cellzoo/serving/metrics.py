"""Counters and latencies in Prometheus' text format, under TensorFlow Serving's names."""

import threading
from collections import defaultdict

PATH = "/monitoring/prometheus/metrics"
# Upper ends in microseconds, as TensorFlow Serving has them: 10 us to about 20 minutes.
BOUNDS = [10 * 1.8**k for k in range(33)]


class Metrics:
    """Requests counted by model and status, their time by model, call and way in."""

    def __init__(self):
        """Starts from zero."""
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._times: dict[tuple[str, str, str], list[int]] = {}
        self._sums: dict[tuple[str, str, str], float] = defaultdict(float)

    def observe(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
            model: its name; give names of served models only, or anybody can add metrics.
            api: the call, such as ``predict``.
            entrypoint: ``GRPC`` or ``REST``.
            status: code of the answer, ``OK`` or an error's.
            seconds: that the answer took.
        """
        microseconds = seconds * 1e6
        bucket = next((k for k, end in enumerate(BOUNDS) if microseconds <= end), len(BOUNDS))
        key = (model, api, entrypoint)
        with self._lock:
            self._counts[model, status] += 1
            self._times.setdefault(key, [0] * (len(BOUNDS) + 1))[bucket] += 1
            self._sums[key] += microseconds

    def text(self) -> str:
        """All of it, for a scrape."""
        count, latency = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"
        lines = [f"# TYPE {count} counter"]
        with self._lock:
            for (model, status), number in sorted(self._counts.items()):
                lines.append(
                    f'{count}{{model_name="{_escaped(model)}",status="{status}"}} {number}'
                )
            lines.append(f"# TYPE {latency} histogram")
            for key, buckets in sorted(self._times.items()):
                model, api, entrypoint = key
                labels = f'model_name="{_escaped(model)}",API="{api}",entrypoint="{entrypoint}"'
                total = 0
                for end, number in zip([*(f"{b:g}" for b in BOUNDS), "+Inf"], buckets, strict=True):
                    total += number
                    lines.append(f'{latency}_bucket{{{labels},le="{end}"}} {total}')
                lines.append(f"{latency}_sum{{{labels}}} {self._sums[key]:.0f}")
                lines.append(f"{latency}_count{{{labels}}} {total}")
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

"""A counter behind TensorFlow Serving's gRPC, or behind `cellzoo serve`. Needs no TensorFlow."""

import contextlib
import json
import random
import re
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import grpc
import numpy as np

from cellzoo.counters.connection import Address, Connection, replicas
from cellzoo.counters.exported import ExportedCounter
from cellzoo.counters.preprocessing import (
    EARLIER_METADATA_SIGNATURE,
    METADATA_SIGNATURE,
    OUTPUTS,
    Columns,
    count_in_parts,
)
from cellzoo.counters.stream import CounterBarred, CounterGone, RefusedImages
from cellzoo.errors import UserError, without_graph
from cellzoo.images import Frame
from cellzoo.models.section import Domain
from cellzoo.protocol import messages
from cellzoo.protocol.tensors import TYPES, from_message, to_message

WINDOW = 4  # requests under way at the same time; of replicas 2 each, if that is more
FIRST_ANSWER = 10.0  # seconds within which a server must first be heard of
_COMPARED = 2.0  # seconds within which a replica says what it serves, or is taken for away
_COMPARE_EVERY = 10.0  # seconds of counting after which servers are asked again what they serve

# How gRPC begins to say that nobody is there; what follows is the reason.
_ADDRESSES = re.compile(r"^connections to all backends failing; last error: .*?: (?=[A-Z]\w+ \w)")
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# TensorFlow Serving batches requests that come together, and refuses them if their sizes differ.
_OTHER_SIZE = "from different tasks have different shapes"
_TOO_MANY = "Concurrent RPC limit exceeded"  # what gRPC for Python says to a request too many


class _Signature(NamedTuple):
    """How images of one type are to be sent."""

    name: str
    input: str
    shape: list[int] | None  # of an input batch, -1 for any size; None: not stated


class ServedCounter(ExportedCounter):
    """A served model.

    The version that answers first answers to the end, so that one table never mixes two. One that
    `cellzoo export` wrote says how its images are read, so that they are read, scaled and put into
    batches as at home. Of another only the signatures are known.

    A server may have replicas, over which requests are spread. One that dies costs time: what it
    did not answer is asked of another. One that comes back, or a server that was started anew, may
    serve another model under the same version: so all are asked every ten seconds.

    Args:
        address: of the model.
        connection: how to reach its server.

    Raises:
        UserError: no server answers, it does not know the model, the model is no counter, or
            replicas serve different models.
    """

    remote = True

    def __init__(self, address: Address, connection: Connection | None = None):
        """Asks the server for the model's version and signatures."""
        self.address = address
        self._connection = connection or Connection()
        self._metadata = self._connection.metadata()
        self._channel = self._connection.channel(address.server)
        self._replicas = replicas(address.server)
        self.window = max(WINDOW, 2 * len(self._replicas))
        self._largest_batch: int | None = None  # that the server takes, once it said so
        self._served: tuple[str, bytes] | None = None  # signature that says what is served; answer
        self._compared, self._comparing = time.monotonic(), threading.Lock()
        self.name = address.name
        reply = self._read_metadata()
        self._version = reply.model_spec.version.value
        self.version = str(self._version)
        packed = reply.metadata["signature_def"].value
        definitions = messages.SignatureDefMap.FromString(packed)
        self._signatures = _signatures(definitions)
        if not self._signatures:
            raise UserError(
                f"{address.name} at {address.server} is no counter: none of its signatures takes "
                "images and answers with count, count_low and count_high."
            )
        for signature in (METADATA_SIGNATURE, EARLIER_METADATA_SIGNATURE):
            if signature in definitions.signature_def:
                self._read_model_metadata(signature)
                break

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        """As at home; without preprocessing the pixels as they are: scaling is the model's."""
        if self.preprocessing:
            return self.preprocessing.prepare(frame, self.name, scaled)
        pixels = frame.pixels
        signature = self._signatures.get(pixels.dtype)
        if signature is None:
            taken = ", ".join(sorted(dtype.name for dtype in self._signatures))
            raise UserError(
                f"{frame.path} has {pixels.dtype.name} pixels and {self.name} takes {taken}: "
                "convert the image."
            )
        if signature.shape is not None and not _fits(signature.shape[1:], pixels.shape):
            height, width = ("any" if n == -1 else n for n in signature.shape[1:])
            raise UserError(
                f"{frame.path} is {pixels.shape[1]} x {pixels.shape[0]} px and {self.name} takes "
                f"{width} x {height}: crop or resize it."
            )
        return pixels

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        """May be called from several threads.

        Raises:
            RefusedImages: the model refuses at least one of the images.
            UserError: the server does not answer in time, or has unloaded the version.
        """
        if self.preprocessing:
            functions = {
                key: partial(self._predict, _Signature(key, "images", None))
                for key in ("uint8", "uint16", "unit")
            }
            return self.preprocessing.count(functions, images)
        signature = self._signatures[images.dtype]
        return count_in_parts(partial(self._predict, signature), images, len(images))

    def close(self) -> None:
        """Ends the calls under way; nothing can be counted after that."""
        self._channel.close()

    def _see(self, images: np.ndarray, *wanted: str) -> list[np.ndarray]:
        """What :attr:`measuring` asks the network for; see :meth:`_count`."""
        found = self._predict(_Signature("alike", "images", None), images, wanted)
        if any(found[name].ndim != 3 for name in wanted):
            raise CounterBarred(f"{self.name} at {self.address.server} does not give maps.")
        return [found[name] for name in wanted]

    def _predict(
        self, signature: _Signature, images: np.ndarray, wanted: Sequence[str] = OUTPUTS
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature for images ``[n, h, w]``."""
        if self._largest_batch and len(images) > self._largest_batch:
            return self._predict_halves(signature, images, wanted)
        request = self._request(signature.name)
        request.output_filter.extend(wanted)
        request.inputs[signature.input].CopyFrom(to_message(images))
        try:
            reply = self._call("Predict", request, messages.PredictResponse)
        except grpc.RpcError as error:
            if len(images) > 1 and _too_large(error):
                self._largest_batch = len(images) // 2
                return self._predict_halves(signature, images, wanted)
            raise self._refusal(error) from error
        self._compare_again()
        found = {key: from_message(reply.outputs[key]).astype(np.float32) for key in wanted}
        for key, values in found.items():
            if values.shape[:1] != (len(images),) or (key in OUTPUTS and values.ndim != 1):
                raise CounterBarred(
                    f"{self.name} at {self.address.server} does not give one {key} each."
                )
        return found

    def _predict_halves(
        self, signature: _Signature, images: np.ndarray, wanted: Sequence[str]
    ) -> dict[str, np.ndarray]:
        half = len(images) // 2
        first = self._predict(signature, images[:half], wanted)
        second = self._predict(signature, images[half:], wanted)
        return {key: np.concatenate([first[key], second[key]]) for key in wanted}

    def _request(self, signature: str) -> Any:
        request = messages.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.version.value = self._version
        request.model_spec.signature_name = signature
        return request

    def _read_model_metadata(self, signature: str) -> None:
        """Asks the model how its images are read."""
        request = self._request(signature)
        request.inputs["asked"].CopyFrom(to_message(np.array([b""], object)))
        try:
            reply = self._call("Predict", request, messages.PredictResponse)
            (text,) = from_message(reply.outputs[signature])
            metadata = json.loads(text)
            self._read(metadata, self._see)
        except grpc.RpcError as error:
            raise self._refusal(error) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(
                f"{self.name} at {self.address.server} was exported by another version of cellzoo "
                f"({type(error).__name__}): install that one here, or export the run again."
            ) from error
        self._served = signature, text
        if len(self._replicas) > 1:
            self._compare_replicas()

    def _compare_again(self) -> None:
        """Sees to it that the servers still serve what they did, unless it was just done.

        Raises:
            CounterBarred: one does not; its answers are among those so far.
        """
        if self._served is None or time.monotonic() - self._compared < _COMPARE_EVERY:
            return
        if not self._comparing.acquire(blocking=False):  # another thread does
            return
        try:
            with contextlib.suppress(UserError):  # a name server may be away for a while
                self._replicas = replicas(self.address.server) or self._replicas
            self._compare_replicas(" Its answers may be among the counts so far: count all anew.")
        except UserError as error:
            raise CounterBarred(str(error)) from None
        finally:
            self._compared = time.monotonic()
            self._comparing.release()

    def _compare_replicas(self, besides: str = "") -> None:
        """Refuses replicas that serve something else under the same name and version.

        Exports are numbered from 1 on each machine, so that one number may be two models. A replica
        that does not answer is away, and may come back.

        Args:
            besides: what an error says, too.
        """
        signature, text = self._served
        request = self._request(signature)
        request.inputs["asked"].CopyFrom(to_message(np.array([b""], object)))
        channels = {
            f"{replica.ip}:{replica.port}": self._connection.channel_to(replica)
            for replica in self._replicas
        }
        if not channels:  # a proxy knows the address
            server = self.address.server
            channels = {server: self._connection.channel(server)}
        calls = [
            _stub(channel, "Predict", messages.PredictResponse).future(
                request, timeout=_COMPARED, metadata=self._metadata
            )
            for channel in channels.values()
        ]
        first = f"version {self.version} of {self.name}"
        try:
            for place, call in zip(channels, calls, strict=True):
                try:
                    (other,) = from_message(call.result().outputs[signature])
                except grpc.RpcError as error:
                    # While it counts versions may be exchanged, and others answer meanwhile.
                    if error.code() == grpc.StatusCode.NOT_FOUND and not besides:
                        raise UserError(
                            f"{place} does not serve {first}, which another replica does: give all "
                            "of them the same versions."
                        ) from None
                    continue
                if other != text:
                    raise UserError(
                        f"{place} serves another model as {first} than "
                        + ("before" if besides else "other replicas")
                        + f": copy one export to all of them.{besides}"
                    )
        finally:
            for channel in channels.values():
                channel.close()

    def _refusal(self, error: grpc.RpcError) -> UserError:
        if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
            return RefusedImages(f"{self.name} refuses it ({_one_line(error)}).")
        if _too_large(error):
            return RefusedImages(
                f"It is too large for a request to {self.address.server} ({_one_line(error)}): "
                "crop it, or count in process."
            )
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return CounterGone(
                f"{self.address.server} has unloaded version {self.version} of {self.name} "
                "while it was counting: count again."
            )
        server, timeout = self.address.server, self._connection.timeout
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:  # it did answer when asked what it is
            return CounterGone(
                f"{server} serves {self.name} but did not answer within {timeout:g} s: --timeout "
                "allows more."
            )
        return self._no_answer(error, timeout)

    def _read_metadata(self) -> Any:
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        spec = request.model_spec
        spec.name = self.name
        if self.address.version is not None:
            spec.version.value = self.address.version
        if self.address.label is not None:
            spec.version_label = self.address.label
        timeout = min(FIRST_ANSWER, self._connection.timeout)
        reply_type = messages.GetModelMetadataResponse
        try:
            return self._call("GetModelMetadata", request, reply_type, timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise self._not_found(timeout) from error
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT and self.address.label:
                raise UserError(
                    f"{self.name} at {self.address.server} has no version labelled "
                    f"{self.address.label}: {self._versions(timeout)}."
                ) from error
            raise self._no_answer(error, timeout) from error

    def _not_found(self, timeout: float) -> UserError:
        server, versions = self.address.server, self._versions(timeout)
        if not versions:
            return UserError(
                f"{server} serves no model {self.name}: check the name after the slash."
            )
        if self.address.version is None:
            return UserError(f"No version of {self.name} answers at {server}: {versions}.")
        return UserError(
            f"{self.name} at {server} has no version {self.address.version}: {versions}."
        )

    def _versions(self, timeout: float) -> str:
        """Which versions there are, in words; empty if there are none."""
        request = messages.GetModelStatusRequest()
        request.model_spec.name = self.name
        names = {number: name for name, number in messages.STATES.items()}
        try:
            reply = self._call(
                "GetModelStatus", request, messages.GetModelStatusResponse, timeout, "ModelService"
            )
        except grpc.RpcError:
            return ""
        return ", ".join(
            f"version {status.version} is {names.get(status.state, 'UNKNOWN')}"
            for status in reply.model_version_status
        )

    def _call(
        self,
        method: str,
        request: Any,
        reply_type: Any,
        timeout: float | None = None,
        service: str = "PredictionService",
    ) -> Any:
        """One call, tried again while the server is not available and there is time.

        gRPC asks another replica then, if there is one.
        """
        stub = _stub(self._channel, method, reply_type, service)
        deadline = time.monotonic() + (timeout or self._connection.timeout)
        pause = 0.1
        refusal = None
        while True:
            left = deadline - time.monotonic()
            hurried = left < pause
            try:
                return stub(request, timeout=max(left, 0.001), metadata=self._metadata)
            except grpc.RpcError as error:
                left = deadline - time.monotonic()
                ended = left <= 0 or error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                if ended and hurried and refusal is not None:
                    # That the time was over says nothing; what the server said before does.
                    raise refusal from None
                elsewhere = len(self._replicas) > 1 and method == "Predict"
                missing = error.code() == grpc.StatusCode.NOT_FOUND  # while versions are exchanged
                if ended or not (_is_busy(error) or (missing and elsewhere)):
                    raise
                refusal = error
            time.sleep(min(pause * random.uniform(0.5, 1.5), left))
            pause = min(2 * pause, 5.0)

    def _no_answer(self, error: grpc.RpcError, timeout: float) -> UserError:
        server, details = self.address.server, _one_line(error)
        if _is_busy(error) or error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            # For the first answer nobody waits longer than FIRST_ANSWER.
            longer = "; --timeout waits longer" if timeout == self._connection.timeout else ""
            return CounterGone(
                f"No answer from {server} within {timeout:g} s ({details}): check that the server "
                f"runs and that this is its gRPC port{longer}."
            )
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return CounterBarred(
                f"{server} does not let us in ({details}): check --header and --tls."
            )
        return CounterGone(
            f"{server} cannot count with {self.name}: {error.code().name}, {details}."
        )


def _stub(
    channel: grpc.Channel, method: str, reply_type: Any, service: str = "PredictionService"
) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        f"/tensorflow.serving.{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply_type.FromString,
    )


def _signatures(definitions: Any) -> dict[np.dtype, _Signature]:
    """Pixel type -> the signature that takes it; ``serving_default`` before others."""
    found = {}
    names = sorted(definitions.signature_def, key=lambda name: (name != "serving_default", name))
    for name in names:
        definition = definitions.signature_def[name]
        if len(definition.inputs) != 1 or not set(OUTPUTS) <= set(definition.outputs):
            continue
        key, info = next(iter(definition.inputs.items()))
        kind, shape = TYPES.get(info.dtype), info.tensor_shape
        sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
        if kind and kind.numpy.kind in "uif" and (sizes is None or len(sizes) == 3):
            found.setdefault(kind.numpy, _Signature(name, key, sizes))
    return found


def _fits(sizes: list[int], shape: tuple[int, ...]) -> bool:
    return all(size in (-1, given) for size, given in zip(sizes, shape, strict=True))


def _is_busy(error: grpc.RpcError) -> bool:
    """Whether it may be better later: no server there, its queue full, too many at a time.

    A server that is stopped cancels what it has under way.
    """
    details = error.details() or ""
    return error.code() in _AWAY or _TOO_MANY in details or _OTHER_SIZE in details


def _too_large(error: grpc.RpcError) -> bool:
    return "larger than maximum input batch size" in (error.details() or "") or (
        error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and not _is_busy(error)
    )


def _one_line(error: grpc.RpcError) -> str:
    text = " ".join((error.details() or error.code().name).split())
    return without_graph(_ADDRESSES.sub("", text))[:300].rstrip(". ")

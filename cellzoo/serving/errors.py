"""What a server answers instead of a result."""

from cellzoo.protocol.messages import CODES


class ServingError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: name of the status, such as ``INVALID_ARGUMENT``; the same in gRPC and TensorFlow.
        message: a sentence for the client.
    """

    def __init__(self, code: str, message: str):
        """Args: see the attributes."""
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def number(self) -> int:
        """Number of the code."""
        return CODES[self.code]

"""Counting over the network: TensorFlow Serving's protocol, a client and an embedded server."""

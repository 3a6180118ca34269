"""TensorFlow Serving's messages and tensors, for client and server."""

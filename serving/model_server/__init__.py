"""A local server that speaks the gRPC and REST protocol of TensorFlow Serving's `tensorflow_model_server`."""

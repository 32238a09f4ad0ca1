"""A Keras classifier of images, or of signals, as a SavedModel that TensorFlow Serving loads as it is.

For images three signatures, each of which takes what a different caller has:

    serving_default  image        uint8 [batch, height, width, channels]   → probabilities, class_id, label
    predict_bytes    image_bytes  string [batch], PNG or JPEG of any size  → the same
    classify         inputs       string [batch], tf.Example with `image/encoded` → classes, scores, likeliest first

For signals one:

    serving_default  signal       float32 [batch, samples, channels], −1…1        → probabilities, class_id, label

Beside the graph lie `assets/labels.txt`, a warm-up file, reference inputs and outputs (`serving.verify` asks a fresh
process for the same outputs) and `lineage.json`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from serving.artifact import EXTRA, LABELS, LINEAGE, REFERENCE, WARM_UP, content_hash
from serving.errors import ServingError
from serving.images import MOST_PIXELS, encode_png
from serving.protos import model_pb2, predict_pb2, prediction_log_pb2


def export_saved_model(
    model: keras.Model,
    folder: Path,
    *,
    name: str,
    class_names: Sequence[str],
    samples: np.ndarray,
    lineage: Mapping[str, Any],
) -> str:
    """Write the SavedModel into the new `folder` and return its content hash.

    Args:
        model: takes raw pixels float32 [batch, height, width, channels], or signals float32 [batch, samples,
            channels], and returns logits [batch, classes].
        name: of the served model, for the warm-up requests.
        class_names: a label for each class, in the order of the scores.
        samples: a few real images uint8 [count, height, width, channels], or signals float32 [count, samples,
            channels], for the reference and the warm-up.
        lineage: facts about where the model comes from; the content hash is added to them.

    Raises ServingError for class names that are not as many as the scores.
    """
    if model.output.shape[-1] != len(class_names):
        raise ServingError(f"{name} has {model.output.shape[-1]} scores and {len(class_names)} class names.")
    archive = keras.export.ExportArchive()
    archive.track(model)
    _add_endpoints(archive, model, class_names)
    archive.write_out(str(folder), verbose=False)

    labels = folder / LABELS
    labels.parent.mkdir(exist_ok=True)
    labels.write_text("".join(f"{label}\n" for label in class_names), "utf-8")
    extra = folder / EXTRA
    extra.mkdir()
    logits = model.predict(samples, verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.cast(logits, "float32")))
    inputs: dict[str, Any] = _reference_inputs(samples)
    np.savez(extra / REFERENCE, **inputs, probabilities=probabilities)
    _write_warm_up(extra / WARM_UP, name, inputs)
    digest = content_hash(folder)
    facts = {**lineage, "model": name, "classes": list(class_names), "content_hash": digest}
    (extra / LINEAGE).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    return digest


def _reference_inputs(samples: np.ndarray) -> dict[str, np.ndarray]:
    """The samples by the names of the inputs that take them, that of `serving_default` first."""
    if samples.ndim == 3:
        return {"signal": samples}
    # As fixed-width bytes, which need no pickle; a PNG does not end in the zeros that NumPy would strip.
    return {"image": samples, "image_bytes": np.array([encode_png(image) for image in samples], dtype="S")}


def _add_endpoints(archive: Any, model: keras.Model, class_names: Sequence[str]) -> None:
    labels = tf.constant(list(class_names))

    def probabilities(inputs: tf.Tensor) -> tf.Tensor:
        # training=False, or augmentation and dropout layers stay switched on in the artifact; float32, for
        # TensorFlow Serving's REST cannot write half precision.
        return tf.nn.softmax(tf.cast(model(inputs, training=False), tf.float32))

    def answer(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = probabilities(inputs)
        class_id = tf.argmax(scores, axis=-1, output_type=tf.int64)
        return {"probabilities": scores, "class_id": class_id, "label": tf.gather(labels, class_id)}

    if len(model.input.shape) == 3:
        signals = tf.TensorSpec(model.input.shape, tf.float32, name="signal")
        archive.add_endpoint("serving_default", lambda signal: answer(signal), input_signature=[signals])
        return

    height, width, channels = model.input.shape[1:]

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        """One PNG or JPEG → float32 [height, width, channels] in 0…255."""
        with tf.control_dependencies([_check_size(encoded)]):
            encoded = tf.identity(encoded)
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        image.set_shape([None, None, channels])
        # Antialiased, or a large photograph of a digit would lose thin strokes between the sampled pixels.
        return tf.image.resize(image, [height, width], antialias=True)

    def decode_batch(encoded: tf.Tensor) -> tf.Tensor:
        pixel_spec = tf.TensorSpec([height, width, channels], tf.float32)
        return tf.map_fn(decode, encoded, fn_output_signature=pixel_spec)

    def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(tf.cast(image, tf.float32))

    def predict_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(decode_batch(image_bytes))

    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(inputs, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
        top = tf.math.top_k(probabilities(decode_batch(features["image/encoded"])), k=len(class_names))
        return {"classes": tf.gather(labels, top.indices), "scores": top.values}

    pixels = tf.TensorSpec([None, height, width, channels], tf.uint8, name="image")
    archive.add_endpoint("serving_default", serving_default, input_signature=[pixels])
    encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
    archive.add_endpoint("predict_bytes", predict_bytes, input_signature=[encoded])
    examples = tf.TensorSpec([None], tf.string, name="inputs")
    archive.add_endpoint("classify", classify, input_signature=[examples])


def _check_size(encoded: tf.Tensor) -> tf.Operation:
    """Refuses a decompression bomb by what its header announces, before memory is taken for its pixels.

    So it does with what is neither PNG nor JPEG: a GIF of some bytes may announce gigabytes, too.
    """
    # A PNG's header has width and height as big-endian integers from byte 16 on.
    length = tf.strings.length(encoded)
    starts_as_png = tf.strings.substr(encoded, 0, tf.minimum(length, 8)) == b"\x89PNG\r\n\x1a\n"

    def png_sides() -> tf.Tensor:
        return tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)

    sides = tf.cond(starts_as_png & (length >= 24), png_sides, lambda: tf.image.extract_jpeg_shape(encoded)[:2])
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    fits = tf.reduce_all(sides > 0) & (pixels <= MOST_PIXELS)
    return tf.debugging.Assert(fits, [f"At most {MOST_PIXELS} pixels are taken; the image's sides are", sides])


def _write_warm_up(path: Path, name: str, inputs: Mapping[str, np.ndarray]) -> None:
    """Requests that a server replays before a version goes live, so that the first caller does not wait."""
    alias, samples = next(iter(inputs.items()))
    requests = [("serving_default", alias, samples[:1]), ("serving_default", alias, samples)]
    if "image_bytes" in inputs:
        requests.append(("predict_bytes", "image_bytes", inputs["image_bytes"][:1].astype(object)))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, alias, value in requests:
            spec = model_pb2.ModelSpec(name=name, signature_name=signature)
            request = predict_pb2.PredictRequest(model_spec=spec, inputs={alias: tf.make_tensor_proto(value)})
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())

"""Small SavedModels for the tests of the model server."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving.protos import prediction_log_pb2
from serving.tensors import array_to_proto


def save_small_models(root: Path) -> None:
    """Writes each of them into a folder of its name."""

    def spec(dtype: Any, *shape: Any, name: str) -> Any:
        return tf.TensorSpec(shape, dtype, name=name)

    def save(name: str, **signatures: Any) -> None:
        module = tf.Module()
        functions = {}
        for key, (function, specs) in signatures.items():
            functions[key] = tf.function(function, input_signature=specs)
            setattr(module, key, functions[key])
        tf.saved_model.save(module, str(root / name), signatures=functions)

    x = [spec(tf.float32, None, name="x")]
    save("plus_two", serving_default=(lambda x: {"y": x * 0.5 + 2.0}, x))
    save("plus_three", serving_default=(lambda x: {"y": x * 0.5 + 3.0}, x))

    def value(inputs: Any) -> Any:
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        return {"outputs": x * 0.5 + 2.0}

    save("judging", serving_default=(value, [spec(tf.string, None, name="inputs")]))

    def count_to(n: Any) -> Any:
        return {"i": tf.while_loop(lambda i: i < n, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]}

    save(
        "many",
        serving_default=(
            lambda x, n: {"total": x + tf.cast(n, tf.float32), "count": n * 2},
            [spec(tf.float32, None, name="x"), spec(tf.int64, None, name="n")],
        ),
        strings=(
            lambda s: {"text": s, "raw_bytes": s, "length": tf.strings.length(s)},
            [spec(tf.string, None, name="s")],
        ),
        text=(lambda s: {"text": s}, [spec(tf.string, None, name="s")]),
        integers=(lambda k: {"k": k}, [spec(tf.int32, None, name="k")]),
        bytes8=(lambda k: {"k": k}, [spec(tf.uint8, None, None, name="k")]),
        booleans=(lambda b: {"b": b}, [spec(tf.bool, None, name="b")]),
        doubles=(lambda d: {"d": d}, [spec(tf.float64, None, name="d")]),
        floats=(lambda x: {"y": x}, [tf.TensorSpec(None, tf.float32, name="x")]),
        none=(lambda x: {"found": x[:0]}, x),
        to_number=(lambda s: {"x": tf.strings.to_number(s)}, [spec(tf.string, None, name="s")]),
        mean=(lambda x: {"mean": tf.reduce_mean(x)}, x),
        uneven=(lambda x: {"all": x, "first": x[:1]}, x),
        halves=(lambda x: {"y": tf.cast(x, tf.float16)}, x),
        pair=(lambda x: {"y": tf.reshape(x, [2])}, x),
        slow=(count_to, [spec(tf.int64, name="n")]),
    )
    _save_in_tf1_style(root / "tf1")
    (root / "broken").mkdir()
    (root / "broken" / "saved_model.pb").write_bytes(b"\xff\xfenot a graph")
    for name, inputs in (("warm", {"x": [1.0]}), ("cold", {"z": [1.0]})):
        shutil.copytree(root / "plus_two", root / name)
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.model_spec.name = name
        for alias, value in inputs.items():
            proto = array_to_proto(np.array(value, np.float32), as_content=False)
            log.predict_log.request.inputs[alias].CopyFrom(proto)
        write_warm_up(root / name, [log.SerializeToString()])


def _save_in_tf1_style(path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", initializer=4.0, use_resource=False)
        y = tf.identity(x * weight, name="y")
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def write_warm_up(model: Path, records: list[bytes]) -> None:
    """Puts a warm-up file with these records beside a SavedModel."""
    (model / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(model / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)

"""A SavedModel in TF1's style whose signatures classify and regress, rightly and in every wrong form."""

from pathlib import Path

import tensorflow as tf

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def save_judge(path: Path) -> None:
    """For x: classes `small` and `large` with scores 1 - x/2 and x/2, and the value x/2 + 2.

    All signatures but `elsewhere` share an input tensor.
    """
    v1 = tf.compat.v1
    info, define = v1.saved_model.build_tensor_info, v1.saved_model.build_signature_def
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="serialized")
        other = v1.placeholder(tf.string, [None], name="other")
        features = {"x": tf.io.FixedLenFeature([], tf.float32), "scale": tf.io.FixedLenFeature([], tf.float32, 1.0)}
        parsed = tf.io.parse_example(serialized, features)
        half = parsed["x"] * parsed["scale"] / 2
        size = tf.shape(half)[0]
        tensors = {
            "scores": tf.stack([1 - half, half], axis=1),
            "classes": tf.tile([[b"small", b"large"]], [size, 1]),
            "value": half + 2,
            "column": half[:, None] + 2,
            "whole": tf.cast(half[:, None], tf.int32),
            "pair": tf.stack([half, half], axis=1),
            "short": tf.stack([half, half], axis=1)[:1],
            "short_value": half[:1],
            "latin": tf.tile([[b"caf\xe9", b"tea"]], [size, 1]),
        }
        infos = {name: info(tensor) for name, tensor in tensors.items()}

        def signature(method, outputs, inputs=("inputs",)):
            sent = {name: info(serialized if name == "inputs" else other) for name in inputs}
            return define(sent, {alias: infos[name] for alias, name in outputs.items()}, method)

        signatures = {
            "serving_default": signature(CLASSIFY, {"classes": "classes", "scores": "scores"}),
            "scores_only": signature(CLASSIFY, {"scores": "scores"}),
            "classes_only": signature(CLASSIFY, {"classes": "classes"}),
            "value": signature(REGRESS, {"outputs": "value"}),
            "column": signature(REGRESS, {"outputs": "column"}),
            "by_predict": signature("tensorflow/serving/predict", {"scores": "scores"}),
            "two_inputs": signature(CLASSIFY, {"scores": "scores"}, ("inputs", "more")),
            "misnamed_input": signature(CLASSIFY, {"scores": "scores"}, ("examples",)),
            "misnamed_output": signature(CLASSIFY, {"probabilities": "scores"}),
            "three_outputs": signature(CLASSIFY, {"scores": "scores", "classes": "classes", "value": "value"}),
            "flat_scores": signature(CLASSIFY, {"scores": "value"}),
            "whole_scores": signature(CLASSIFY, {"scores": "whole"}),
            "swapped": signature(CLASSIFY, {"classes": "scores"}),
            "uneven": signature(CLASSIFY, {"classes": "classes", "scores": "column"}),
            "short": signature(CLASSIFY, {"scores": "short"}),
            "latin": signature(CLASSIFY, {"classes": "latin", "scores": "scores"}),
            "misnamed_value": signature(REGRESS, {"value": "value"}),
            "two_values": signature(REGRESS, {"outputs": "value", "more": "column"}),
            "pair": signature(REGRESS, {"outputs": "pair"}),
            "whole": signature(REGRESS, {"outputs": "whole"}),
            "short_value": signature(REGRESS, {"outputs": "short_value"}),
            "elsewhere": signature(REGRESS, {"outputs": "value"}, ("examples",)),
        }
        # Of another input tensor than the rest.
        signatures["elsewhere"].inputs["inputs"].CopyFrom(signatures["elsewhere"].inputs.pop("examples"))
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()

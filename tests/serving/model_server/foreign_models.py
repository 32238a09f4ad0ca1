"""SavedModels that others wrote: by TensorFlow's and Keras's own writers, in TF1's style, TF2's and Keras 3's."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from serving.protos import saved_model_pb2

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Asks the framework itself: a signature's name and inputs in, outputs out."""

v1, sm, lookup, Spec = tf.compat.v1, tf.compat.v1.saved_model, tf.lookup, tf.TensorSpec
WHOLE, LINE = lookup.TextFileIndex.WHOLE_LINE, lookup.TextFileIndex.LINE_NUMBER


def save_foreign_models(root: Path, originals: Path) -> dict[str, Ask]:
    """Writes each below a base path of its name, and leaves none of the files in `originals` that were its assets.

    Returns what asks the framework itself: for TF1 the Session that was written, else TensorFlow's own loader.
    """
    asset, vocabulary = originals / "foo.txt", originals / "vocabulary.txt"
    asset.write_text("asset-file-contents")
    vocabulary.write_text("red\ngreen\nblue\n")
    _save_lookups(root / "lookups" / "1", vocabulary)
    _save_keras(root)
    asks = {path.name: partial(_ask_loaded, tf.saved_model.load(path / "1")) for path in root.iterdir()}
    asks["half"] = _save_half_plus_two(root / "half" / "1", asset)
    asks["half_as_text"] = _save_half_plus_two(root / "half_as_text" / "1", asset, as_text=True)
    asks["legacy"] = _save_colours(root / "legacy" / "1", vocabulary, "legacy_init_op")
    _file_as_legacy_init_op(root / "legacy" / "1" / "saved_model.pb")
    asks["colours"] = _save_colours(root / "colours" / "1", vocabulary, "main_op")
    # Of the same name, so that the tables of both versions have one, too.
    vocabulary.write_text("blue\ngreen\nred\n")
    _save_colours(root / "colours" / "2", vocabulary, "main_op")
    shutil.rmtree(originals)
    return asks


def _save_v1(path: Path, session: Any, signatures: Any, as_text: bool = False, **init_op: Any) -> Ask:
    """Writes the Session's graph twice, for other tags with its first signature alone."""
    assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)
    builder = sm.Builder(str(path))
    builder.add_meta_graph_and_variables(session, ["serve"], signatures, assets_collection=assets, **init_op)
    builder.add_meta_graph(["serve", "gpu"], dict([*signatures.items()][:1]), assets_collection=assets)
    builder.save(as_text)
    return partial(_ask_session, session, signatures)


def _file_as_legacy_init_op(file: Path) -> None:
    """Where the first SavedModels had it; today's writer takes one, and files it as a main op."""
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in saved.meta_graphs:
        graph.collection_def["legacy_init_op"].CopyFrom(graph.collection_def.pop("saved_model_main_op"))
    file.write_bytes(saved.SerializeToString())


def _ask_session(session: Any, signatures: Any, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    feeds = {signatures[name].inputs[alias].name: value for alias, value in inputs.items()}
    return session.run({alias: info.name for alias, info in signatures[name].outputs.items()}, feeds)


def _ask_loaded(model: Any, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    outputs = model.signatures[name](**{alias: tf.constant(value) for alias, value in inputs.items()})
    # A string scalar's `numpy()` is bytes.
    return {alias: np.array(t.numpy(), object if t.dtype == tf.string else None) for alias, t in outputs.items()}


def _save_half_plus_two(path: Path, asset: Path, as_text: bool = False) -> Ask:
    """The model of TensorFlow Serving's own tests, and a signature that tells what its asset holds."""
    with tf.Graph().as_default():
        session = v1.Session()
        a, b, c = (v1.Variable(value, use_resource=False) for value in (0.5, 2.0, 3.0))
        examples, feature = v1.placeholder(tf.string, [None]), v1.FixedLenFeature([1], tf.float32, [0.0])
        parsed = tf.io.parse_example(examples, {"x": feature, "x2": feature})
        x, x2 = tf.identity(parsed["x"]), tf.identity(parsed["x2"])
        original = tf.constant(str(asset))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, original)
        # In no collection, so that it is not saved: the init op gives it its value.
        filename = v1.Variable("", trainable=False, collections=[], use_resource=False)
        assign = tf.group(v1.assign(filename, original))
        session.run([v1.global_variables_initializer(), assign])
        # An input that is not a string, which the function that makes these signatures refuses.
        infos = {"inputs": sm.build_tensor_info(x2)}, {"outputs": sm.build_tensor_info(a * x2 + c)}
        signatures = {
            "serving_default": sm.predict_signature_def({"x": x}, {"y": a * x + b}),
            "regress_x_to_y": sm.regression_signature_def(examples, a * x + b),
            "regress_x2_to_y3": sm.build_signature_def(*infos, sm.REGRESS_METHOD_NAME),
            "classify_x_to_y": sm.classification_signature_def(examples, None, a * x + b),
            # The dtype of `a` is DT_FLOAT_REF.
            "parameters": sm.predict_signature_def({"x": x}, {"a": a, "asset": tf.io.read_file(filename)[None]}),
        }
        return _save_v1(path, session, signatures, as_text, main_op=assign)


def _save_colours(path: Path, vocabulary: Path, init_op: str) -> Ask:
    """Tables, a resource variable in parts, a local variable, and TF1's own loop."""
    with tf.Graph().as_default():
        session = v1.Session(config=v1.ConfigProto(allow_soft_placement=True))
        examples = v1.placeholder(tf.string, [None])
        words = tf.io.parse_example(examples, {"word": v1.FixedLenFeature([], tf.string)})["word"]
        by_word = lookup.TextFileInitializer(str(vocabulary), tf.string, WHOLE, tf.int64, LINE)
        by_id = lookup.TextFileInitializer(str(vocabulary), tf.int64, LINE, tf.string, WHOLE)
        ids = lookup.StaticVocabularyTable(by_word, 1).lookup(words)
        with tf.device("/gpu:0"):  # which is not here
            initial = tf.random.normal([4, 3], seed=1)
            parts = v1.get_variable("parts", initializer=initial, partitioner=v1.fixed_size_partitioner(2))
        scores = v1.nn.embedding_lookup(list(parts), ids, partition_strategy="div")
        ranked = tf.cast(tf.argsort(scores, direction="DESCENDING"), tf.int64)
        classes = lookup.StaticHashTable(by_id, "?").lookup(ranked)
        limit = v1.get_local_variable("limit", initializer=20.0)
        v1.disable_control_flow_v2()
        doubled = tf.while_loop(lambda x: tf.reduce_max(x) < limit, lambda x: 2 * x, [tf.exp(scores)])[0]
        v1.enable_control_flow_v2()
        initialise = tf.group(v1.tables_initializer(), v1.local_variables_initializer())
        session.run([v1.global_variables_initializer(), initialise])
        best = tf.gather(scores, ranked, batch_dims=1)
        signatures = {
            "serving_default": sm.classification_signature_def(examples, classes, best),
            "regress": sm.regression_signature_def(examples, doubled[:, 0]),
            "predict": sm.predict_signature_def({"words": words}, {"ids": ids, "doubled": doubled}),
        }
        return _save_v1(path, session, signatures, **{init_op: initialise})


def _save_lookups(path: Path, vocabulary: Path) -> None:
    """TF2: tables, strings, a loop, ragged rows, a default value, a counter."""
    module = tf.Module()
    by_word = lookup.TextFileInitializer(str(vocabulary), tf.string, WHOLE, tf.int64, LINE)
    module.ids = lookup.StaticVocabularyTable(by_word, 2)
    pairs = lookup.KeyValueTensorInitializer([0, 1], ["none", "one"], tf.int64, tf.string)
    module.names, module.total = lookup.StaticHashTable(pairs, "many"), tf.Variable(0, dtype=tf.int64)
    three = tf.constant(3.0)

    def look_up(text: Any) -> Any:
        words = tf.strings.split(text)
        return {"ids": module.ids.lookup(words).to_tensor(-1), "longest": tf.reduce_max(tf.strings.length(words), 1)}

    def steps(n: Any) -> Any:
        count = 0
        while n > 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            count += 1
        return count

    signatures = {
        "look_up": (look_up, Spec([None], tf.string)),
        "name": (lambda n: {"name": module.names.lookup(n)}, Spec([None], tf.int64)),
        "steps": (steps, Spec([], tf.int32)),
        "rows": (lambda r: {"sums": tf.reduce_sum(r, 1)}, tf.RaggedTensorSpec([None, None], tf.float32)),
        "scale": (lambda x, by=three: x * by, Spec([None], tf.float32), Spec([], tf.float32)),
        "join": (lambda text: {"joined": tf.strings.reduce_join(text)}, Spec([None], tf.string)),
        "count": (lambda n: {"total": module.total.assign_add(n)}, Spec([], tf.int64)),
    }
    functions = {name: tf.function(f, input_signature=specs) for name, (f, *specs) in signatures.items()}
    tf.saved_model.save(module, str(path), functions)


class Doubled(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return 2 * self.dense(x)


def _save_keras(root: Path) -> None:
    numbers, word = keras.Input([2], name="numbers"), keras.Input([1], dtype="string", name="word")
    scaled = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])(numbers)
    joined = layers.Concatenate()([scaled, layers.StringLookup(vocabulary=["a"], output_mode="one_hot")(word)])
    outputs = {"score": layers.Dense(1)(joined), "kind": layers.Dense(3, activation="softmax")(joined)}
    text, ids = keras.Input([], dtype="string", name="text"), keras.Input([4], dtype="int32", name="ids")
    doubled, x = Doubled(), keras.Input([3], name="x")
    doubled(np.zeros([1, 3], np.float32))
    models = {
        "functional": keras.Model({"numbers": numbers, "word": word}, outputs),
        "text": keras.Sequential([text, layers.TextVectorization(vocabulary=["red"], output_sequence_length=4)]),
        "sequential": keras.Sequential([ids, layers.Embedding(5, 3, mask_zero=True), layers.LSTM(2)]),
        "subclassed": doubled,
        "float16": keras.Sequential([x, layers.Dense(2, dtype="mixed_float16")]),
        "bfloat16": keras.Sequential([x, layers.Dense(2, dtype="mixed_bfloat16")]),
    }
    for name, model in models.items():
        model.export(str(root / name / "1"), format="tf_saved_model", verbose=False)
    tf.saved_model.save(models["sequential"], str(root / "saved" / "1"))
    archive, specs = keras.export.ExportArchive(), [Spec([None, 3], tf.float32, name="x")]
    archive.track(doubled)
    archive.add_endpoint("serve", doubled.call, specs)
    archive.add_endpoint("halved", lambda x: {"halved": doubled(x) / 4}, specs)
    archive.write_out(str(root / "archive" / "1"), verbose=False)

"""Classify, Regress and MultiInference: tf.Examples in, classes with scores, or values, out.

Signatures are checked as TensorFlow Serving checks them, with its messages. By default it does not look at a
signature's method name, so that what TensorFlow 2 exports can be classified with, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.signatures import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD, Servable
from serving.protos import classification_pb2, inference_pb2, regression_pb2, types_pb2
from serving.tensors import Array, array_dtype, shape_text

_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"


@dataclass(frozen=True)
class _Method:
    """What Classify and Regress differ in."""

    api: str
    name: str
    noun: str
    check_outputs: Callable[[Any], dict[str, str]]
    make_result: Callable[[dict[str, Array], int], Any]


def classify(servable: Servable, signature_name: str, examples: Any, timeout_ms: int = 0) -> Any:
    """A ClassificationResult with a row of classes for each example of the `Input`.

    Raises ServerError for a signature that does not classify, for no examples, and for outputs of another form than
    strings and float32 [batch, classes].
    """
    return _ask(_CLASSIFY, servable, signature_name, examples, timeout_ms)


def regress(servable: Servable, signature_name: str, examples: Any, timeout_ms: int = 0) -> Any:
    """A RegressionResult with a value for each example of the `Input`; raises ServerError as `classify` does."""
    return _ask(_REGRESS, servable, signature_name, examples, timeout_ms)


def multi_inference(servable: Servable, tasks: Sequence[Any], examples: Any, timeout_ms: int = 0) -> list[Any]:
    """An InferenceResult for each InferenceTask, with its model's name and signature; the graph is run once.

    Raises ServerError where the tasks are not of one model, one input and different signatures.
    """
    plans: list[tuple[_Method, str, dict[str, str]]] = []
    feed = ""
    for task in tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if name in [planned for _, planned, _ in plans]:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name not in _METHODS:
            code = grpc.StatusCode.UNIMPLEMENTED
            raise ServerError(code, f"Unsupported signature method_name: {task.method_name}")
        method = _METHODS[task.method_name]
        signature = servable.signatures[name]
        input_name = _check_inputs(method, servable, signature)
        if feed not in ("", input_name):
            raise invalid_argument("Input tensor must be the same for all Signatures.")
        feed = input_name
        plans.append((method, name, method.check_outputs(signature)))
    serialized = _serialize(examples)
    fetches = {tensor: tensor for _, _, outputs in plans for tensor in outputs.values()}
    values = servable.run("MultiInference", {feed: serialized}, fetches, timeout_ms)
    servable.count_examples(len(serialized))
    results = []
    for task, (method, name, outputs) in zip(tasks, plans, strict=True):
        answer = method.make_result({alias: values[tensor] for alias, tensor in outputs.items()}, len(serialized))
        field = "classification_result" if method is _CLASSIFY else "regression_result"
        result = inference_pb2.InferenceResult(**{field: answer})
        result.model_spec.name, result.model_spec.signature_name = task.model_spec.name, name
        results.append(result)
    return results


def _ask(method: _Method, servable: Servable, signature_name: str, examples: Any, timeout_ms: int) -> Any:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    signature = servable.signatures[name]
    feed = _check_inputs(method, servable, signature)
    outputs = method.check_outputs(signature)
    serialized = _serialize(examples)
    values = servable.run(method.api, {feed: serialized}, outputs, timeout_ms)
    servable.count_examples(len(serialized))
    return method.make_result(values, len(serialized))


def _serialize(examples: Any) -> Array:
    """The Input's examples as strings [count]; a context is put in front of each, which merges the two."""
    context, listed = b"", examples.example_list.examples
    if examples.WhichOneof("kind") == "example_list_with_context":
        context = examples.example_list_with_context.context.SerializeToString()
        listed = examples.example_list_with_context.examples
    strings = [context + example.SerializeToString() for example in listed]
    if not strings:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(strings), dtype=object)
    array[:] = strings
    return array


def _check_inputs(method: _Method, servable: Servable, signature: Any) -> str:
    """The name of the tensor that takes the examples."""
    if servable.check_method_names and signature.method_name != method.name:
        raise invalid_argument(
            f"Expected {method.noun} signature method_name to be {method.name}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if _INPUTS not in signature.inputs:
        raise _precondition(f"No {method.noun} inputs found in SignatureDef: {signature}")
    return str(signature.inputs[_INPUTS].name)


def _class_outputs(signature: Any) -> dict[str, str]:
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    found = {alias: signature.outputs[alias].name for alias in (_CLASSES, _SCORES) if alias in signature.outputs}
    if not found:
        raise _precondition(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    return found


def _value_outputs(signature: Any) -> dict[str, str]:
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _OUTPUTS not in signature.outputs:
        raise _precondition(f"No regression outputs found in SignatureDef: {signature}")
    return {_OUTPUTS: signature.outputs[_OUTPUTS].name}


def _classification(values: dict[str, Array], count: int) -> Any:
    for alias, dtype in ((_CLASSES, types_pb2.DT_STRING), (_SCORES, types_pb2.DT_FLOAT)):
        array = values.get(alias)
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array)}")
        if array_dtype(array) != dtype:
            raise invalid_argument(f"Expected {alias} Tensor of {_enum(dtype)}. Got: {_enum(array_dtype(array))}")
        if len(array) != count:
            raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    shapes = [array.shape[1] for array in values.values()]
    if len(set(shapes)) > 1:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {' vs. '.join(map(str, shapes))}"
        )
    labels = values[_CLASSES].tolist() if _CLASSES in values else [[b""] * shapes[0]] * count
    scores = values[_SCORES].tolist() if _SCORES in values else [[0.0] * shapes[0]] * count
    result = classification_pb2.ClassificationResult()
    for row_labels, row_scores in zip(labels, scores, strict=True):
        classes = result.classifications.add().classes
        for label, score in zip(row_labels, row_scores, strict=True):
            try:
                classes.add(label=label.decode(), score=score)
            except UnicodeDecodeError:
                # A message's text must be UTF-8; TensorFlow Serving fails to answer here.
                raise invalid_argument(f"The class {label!r} is not UTF-8 text, which a label has to be") from None
    return result


def _regression(values: dict[str, Array], count: int) -> Any:
    array = values[_OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape_text(array)}"
        )
    if len(array) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array_dtype(array) != types_pb2.DT_FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_enum(array_dtype(array))}")
    result = regression_pb2.RegressionResult()
    for value in array.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result


def _precondition(message: str) -> ServerError:
    return ServerError(grpc.StatusCode.FAILED_PRECONDITION, message)


def _enum(dtype: int) -> str:
    return str(types_pb2.DataType.Name(dtype))


_CLASSIFY = _Method("Classify", CLASSIFY_METHOD, "classification", _class_outputs, _classification)
_REGRESS = _Method("Regress", REGRESS_METHOD, "regression", _value_outputs, _regression)
_METHODS = {method.name: method for method in (_CLASSIFY, _REGRESS)}

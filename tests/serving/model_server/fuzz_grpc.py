"""gRPC requests that no honest client sends; a kind of them is a function of a random generator."""

import numpy as np

from serving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
    tensor_pb2,
    types_pb2,
)
from serving.tensors import array_dtype, array_to_proto
from tests.serving.model_server.fuzz_basics import NAMES, SIGNATURES, Rpc, damaged, some_images

_METHODS = ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata", "GetModelStatus", "Nothing")
_METHOD_NAMES = ("tensorflow/serving/classify", "tensorflow/serving/regress", "tensorflow/serving/predict", "")
_DTYPES = (object, bool, *(np.dtype(letter) for letter in "fdebhilBHILFD"))
_SHAPES = ((), (0,), (1,), (2,), (1, 1), (2, 0, 3), (1, 8, 8, 1), (1,) * 32, (1,) * 33, (1,) * 64)
_SIZES = (0, 1, 1, 1, 2, 3, 8, 1000, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -1, -(2**63))
_RANKS = (0, 0, 1, 1, 1, 2, 3, 5, 9, 33, 65, 255, 3000)
_FIELDS = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "uint32_val", "uint64_val", "half_val")


def request_to(method, message):
    """A message to a method by its name."""
    service = "ModelService" if method == "GetModelStatus" else "PredictionService"
    return Rpc(f"/tensorflow.serving.{service}/{method}", message.SerializeToString(deterministic=True))


def predict(name, signature, tensors):
    """A Predict request with these TensorProtos."""
    message = predict_pb2.PredictRequest(inputs=tensors)
    message.model_spec.name, message.model_spec.signature_name = name, signature
    return request_to("Predict", message)


def as_tensors(rng, inputs):
    return {alias: array_to_proto(value, as_content=rng.random() < 0.5) for alias, value in inputs.items()}


def _odd_tensor(rng, right):
    """Of another shape or type than the right one, or with values that are too few, too many, or of another type."""
    if rng.random() < 0.5:
        dtype = rng.choice((right.dtype, np.dtype(rng.choice(_DTYPES))))
        value = b"a" if dtype.hasobject else rng.choice((0, 1, 100))
        shape = rng.choice((right.shape, rng.choice(_SHAPES)))
        return array_to_proto(np.full(shape, value, dtype), as_content=rng.random() < 0.5)
    dtype = array_dtype(right) if rng.random() < 0.5 else rng.choice((*types_pb2.DataType.values(), 999, -1))
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for _ in range(rng.choice(_RANKS)):
        proto.tensor_shape.dim.add(size=rng.choice(_SIZES))
    proto.tensor_shape.unknown_rank = rng.random() < 0.05
    proto.version_number = rng.choice((0, 0, 0, -1))
    for name in rng.sample(_FIELDS, rng.choice((0, 1, 1, 2))):
        getattr(proto, name).extend([rng.choice((0, 1, 255)) for _ in range(rng.choice((0, 1, 2, 129)))])
    proto.string_val.extend([rng.randbytes(rng.choice((0, 1, 100))) for _ in range(rng.choice((0, 0, 1, 2)))])
    if rng.random() < 0.4:
        proto.tensor_content = rng.randbytes(rng.choice((0, 1, 3, 4, 8, 64, 1000)))
    return proto


def odd_tensors(rng):
    (name, signature), inputs = rng.choice(list(SIGNATURES.items()))
    tensors = as_tensors(rng, inputs)
    for alias in rng.choices([*inputs] * 10 + ["z", "", "x" * 1000], k=rng.choice((1, 1, 1, 2))):
        tensors[alias] = _odd_tensor(rng, inputs.get(alias, np.float32(0)))
    return predict(name, signature, tensors)


def _fill_spec(rng, spec):
    spec.name, spec.signature_name = rng.choice((*SIGNATURES, ("judging", ""), ("image", "classify")))
    if rng.random() < 0.4:
        spec.name = rng.choice(NAMES)
    if rng.random() < 0.4:
        spec.signature_name = rng.choice(("", "classify", "predict_bytes", "SERVING_DEFAULT", "\0", "s" * 3000))
    if rng.random() < 0.2:
        spec.version.value = rng.choice((0, 1, 2, 7, -1, 2**63 - 1, -(2**63)))
    elif rng.random() < 0.2:
        spec.version_label = rng.choice(("stable", "stable", "", "\0", "ü", "l" * 3000))


def _fill_input(rng, received):
    listed = rng.choice((received.example_list, received.example_list, received.example_list_with_context))
    examples = [listed.examples.add() for _ in range(rng.choice((0, 1, 1, 2)))]
    if listed is not received.example_list and rng.random() < 0.5:
        examples.append(listed.context)
    for example in examples:
        feature = example.features.feature[rng.choice(("x", "x", "image/encoded", "", "ü"))]
        feature.float_list.value.extend([rng.choice((0, 1, float("nan"), 3e38))] * rng.choice((0, 1, 1, 2)))
        if rng.random() < 0.2:
            feature.int64_list.value.append(rng.choice((0, -(2**63))))
        if rng.random() < 0.2:
            feature.bytes_list.value.extend(some_images(rng))


def _odd_predict(rng):
    message = predict_pb2.PredictRequest(inputs=as_tensors(rng, rng.choice(list(SIGNATURES.values()))))
    message.output_filter.extend(rng.choices(("y", "z", "", "total", "text"), k=rng.choice((0, 0, 1, 2))))
    _fill_spec(rng, message.model_spec)
    return request_to("Predict", message)


def _odd_judgement(rng):
    method, message = rng.choice(
        (
            ("Classify", classification_pb2.ClassificationRequest()),
            ("Regress", regression_pb2.RegressionRequest()),
        )
    )
    _fill_spec(rng, message.model_spec)
    _fill_input(rng, message.input)
    return request_to(method, message)


def _odd_inference(rng):
    message = inference_pb2.MultiInferenceRequest()
    for _ in range(rng.randrange(4)):
        task = message.tasks.add(method_name=rng.choice(_METHOD_NAMES))
        _fill_spec(rng, task.model_spec)
        if rng.random() < 0.7:
            spec = rng.choice((("judging", ""), ("image", "classify")))
            task.model_spec.name, task.model_spec.signature_name = spec
    _fill_input(rng, message.input)
    return request_to("MultiInference", message)


def _odd_question(rng):
    fields = rng.choices(("signature_def", "", "other"), (5, 1, 1), k=rng.choice((0, 1, 1, 2)))
    method, message = rng.choice(
        (
            ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)),
            ("GetModelStatus", get_model_status_pb2.GetModelStatusRequest()),
        )
    )
    _fill_spec(rng, message.model_spec)
    return request_to(method, message)


def odd_messages(rng):
    """Well-formed requests to any method, for models, versions and signatures that are there or not."""
    return rng.choice((_odd_predict, _odd_predict, _odd_judgement, _odd_inference, _odd_question))(rng)


def damaged_messages(rng):
    (name, signature), inputs = rng.choice(list(SIGNATURES.items()))
    request = rng.choice((predict(name, signature, as_tensors(rng, inputs)), odd_messages(rng)))
    elsewhere = request_to(rng.choice(_METHODS), tensor_pb2.TensorProto()).path
    return Rpc(elsewhere if rng.random() < 0.1 else request.path, damaged(rng, request.body))


def images_over_grpc(rng):
    images = some_images(rng)
    if rng.random() < 0.5:
        array = array_to_proto(np.array(images, object), as_content=False)
        return predict("image", "predict_bytes", {"image_bytes": array})
    message = classification_pb2.ClassificationRequest()
    message.model_spec.name, message.model_spec.signature_name = "image", "classify"
    for image in images:
        message.input.example_list.examples.add().features.feature["image/encoded"].bytes_list.value.append(image)
    return request_to("Classify", message)


KINDS = (odd_tensors, odd_messages, damaged_messages, images_over_grpc)

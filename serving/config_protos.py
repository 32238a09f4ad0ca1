"""TensorFlow Serving's config messages that the package tensorflow-serving-api lacks, described here at run time.

Names are those of TensorFlow Serving's `monitoring_config.proto`, `ssl_config.proto` and `session_bundle_config.proto`,
in the order of their numbers. The descriptors lie in a pool of their own, so that a release of the package that has
them does not collide with these.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
_SCALARS = {"bool": _FIELD.TYPE_BOOL, "string": _FIELD.TYPE_STRING, "int64": _FIELD.TYPE_INT64}
# Message -> its fields, whose numbers begin at 1, as a .proto file has them.
_MESSAGES = {
    "PrometheusConfig": ["bool enable", "string path"],
    "MonitoringConfig": [f"{_PACKAGE}.PrometheusConfig prometheus_config"],
    "SSLConfig": ["string server_key", "string server_cert", "string custom_ca", "bool client_verify"],
    "BatchingParameters": [
        "google.protobuf.Int64Value max_batch_size",
        "google.protobuf.Int64Value batch_timeout_micros",
        "google.protobuf.Int64Value max_enqueued_batches",
        "google.protobuf.Int64Value num_batch_threads",
        "google.protobuf.StringValue thread_pool_name",
        "repeated int64 allowed_batch_sizes",
        "bool pad_variable_length_inputs",
        "google.protobuf.BoolValue enable_large_batch_splitting",
        "google.protobuf.Int64Value max_execution_batch_size",
    ],
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="conv_zoo/config.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, text in enumerate(fields, start=1):
            *repeated, kind, name = text.split()
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _classes()
PrometheusConfig: Any = _CLASSES["PrometheusConfig"]
"""`enable` (bool) and `path` (string; empty is `/monitoring/prometheus/metrics`)."""
MonitoringConfig: Any = _CLASSES["MonitoringConfig"]
"""`prometheus_config` (PrometheusConfig): what `--monitoring_config_file` names."""
SSLConfig: Any = _CLASSES["SSLConfig"]
"""`server_key`, `server_cert`, `custom_ca` (strings, PEM), `client_verify` (bool): what `--ssl_config_file` names."""
BatchingParameters: Any = _CLASSES["BatchingParameters"]
"""How requests are batched: what `--batching_parameters_file` names. Each may be left out."""

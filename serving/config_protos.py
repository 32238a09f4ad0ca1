"""TensorFlow Serving's config messages that the package tensorflow-serving-api lacks, described here at run time.

Names and numbers are those of TensorFlow Serving's `monitoring_config.proto` and `ssl_config.proto`. The descriptors
lie in a pool of their own, so that a release of the package that has them does not collide with these.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
_BOOL, _STRING, _MESSAGE = _FIELD.TYPE_BOOL, _FIELD.TYPE_STRING, _FIELD.TYPE_MESSAGE
# Message -> its fields in the order of their numbers, which begin at 1: name, type, and of what message it is.
_MESSAGES: dict[str, list[tuple[str, Any, str]]] = {
    "PrometheusConfig": [("enable", _BOOL, ""), ("path", _STRING, "")],
    "MonitoringConfig": [("prometheus_config", _MESSAGE, "PrometheusConfig")],
    "SSLConfig": [
        ("server_key", _STRING, ""),
        ("server_cert", _STRING, ""),
        ("custom_ca", _STRING, ""),
        ("client_verify", _BOOL, ""),
    ],
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="conv_zoo/config.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (name, kind, of) in enumerate(fields, start=1):
            field = described.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
            if of:
                field.type_name = f".{_PACKAGE}.{of}"
    pool = descriptor_pool.DescriptorPool()
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

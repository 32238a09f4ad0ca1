"""TensorFlow Serving's config messages that the package tensorflow-serving-api lacks, described here at run time.

Names and numbers are those of TensorFlow Serving's `monitoring_config.proto`. The descriptors lie in a pool of their
own, so that a release of the package that has them does not collide with these.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_FIELD = descriptor_pb2.FieldDescriptorProto


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tensorflow_serving/config/monitoring_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=_FIELD.TYPE_BOOL, label=_FIELD.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        label=_FIELD.LABEL_OPTIONAL,
        type_name=".tensorflow.serving.PrometheusConfig",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))
        for name in ("PrometheusConfig", "MonitoringConfig")
    }


_CLASSES = _messages()
PrometheusConfig: Any = _CLASSES["PrometheusConfig"]
"""`enable` (bool) and `path` (string; empty is `/monitoring/prometheus/metrics`)."""
MonitoringConfig: Any = _CLASSES["MonitoringConfig"]
"""`prometheus_config` (PrometheusConfig): what `--monitoring_config_file` names."""


def parse_monitoring(text: str) -> Any:
    """A MonitoringConfig of its text format. Raises text_format.ParseError, which names line and column."""
    return text_format.Parse(text, MonitoringConfig())

"""What to serve: a text-format `tensorflow.serving.ModelServerConfig`, read into checked values."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.model_server.errors import invalid_argument
from serving.model_server.flags import Flags
from serving.model_server.text_files import parse_text, read_text
from serving.protos import model_server_config_pb2

_PLATFORM = "tensorflow"


@dataclass(frozen=True)
class VersionPolicy:
    """Which of a model's versions to serve: the `latest` so many, or those in `specific`, or all (both None)."""

    latest: int | None = None
    specific: tuple[int, ...] | None = None

    def choose(self, available: Iterable[int]) -> list[int]:
        """The versions to serve out of those available, in ascending order."""
        versions = sorted(available)
        if self.specific is not None:
            return [version for version in versions if version in self.specific]
        return versions if self.latest is None else versions[-self.latest :]


@dataclass(frozen=True)
class ModelConfig:
    """One model: its name, the folder of its numbered versions, which of them to serve, and labels for some."""

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy(latest=1)
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerConfig:
    """The models to serve, by unique names."""

    models: tuple[ModelConfig, ...]


def read_config(flags: Flags) -> tuple[ServerConfig, str]:
    """The config that the flags ask for, and the text it came from (empty for a single model).

    Raises ServerError for a file that cannot be read, does not parse, or asks for what cannot be served.
    """
    if not flags.model_config_file:
        single = model_server_config_pb2.ModelServerConfig()
        single.model_config_list.config.add(
            name=flags.model_name, base_path=flags.model_base_path, model_platform=_PLATFORM
        )
        return config_from_proto(single), ""
    text = read_text("model_config_file", flags.model_config_file)
    return parse_config(text), text


def parse_config(text: str) -> ServerConfig:
    """Reads the text format; raises ServerError naming line and column where it does not parse."""
    return config_from_proto(parse_text(text, model_server_config_pb2.ModelServerConfig()))


def config_from_proto(message: Any) -> ServerConfig:
    """Checks a ModelServerConfig message; raises ServerError naming the model and what is wrong with it."""
    if message.WhichOneof("config") == "custom_model_config":
        raise invalid_argument("custom_model_config is not supported; list the models in model_config_list.")
    models = tuple(_model(config) for config in message.model_config_list.config)
    seen = set()
    for model in models:
        if model.name in seen:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
    return ServerConfig(models)


def _model(config: Any) -> ModelConfig:
    if not config.name:
        raise invalid_argument(f"A model in model_config_list has no name (base_path {config.base_path!r}).")
    if not (config.model_platform or config.model_type) or (config.model_platform and config.model_type):
        which, link = ("both", "and") if config.model_platform else ("neither", "nor")
        kind, platform = "ModelServerConfig::model_type (deprecated)", "ModelServerConfig::model_platform"
        raise invalid_argument(f"Illegal setting {which} {kind} {link} {platform}.")
    if config.model_platform != _PLATFORM and config.model_type != model_server_config_pb2.TENSORFLOW:
        raise invalid_argument(
            f"Model {config.name} has model_platform {config.model_platform!r}; only {_PLATFORM!r} is served."
        )
    base_path = config.base_path.removeprefix("file://")
    if not os.path.isabs(base_path):
        raise invalid_argument(
            f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
        )
    return ModelConfig(
        name=config.name,
        base_path=Path(base_path),
        policy=_policy(config),
        labels=dict(config.version_labels),
    )


def _policy(config: Any) -> VersionPolicy:
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy()
    if choice == "specific":
        if not policy.specific.versions:
            raise invalid_argument(f"Model {config.name} has a specific version policy that names no versions.")
        return VersionPolicy(specific=tuple(policy.specific.versions))
    return VersionPolicy(latest=max(1, policy.latest.num_versions))

"""Config files: what is read from them, and what is refused."""

import pytest

from serving.model_server.config import VersionPolicy, parse_config
from serving.model_server.errors import ServerError


def models(*configs):
    return "model_config_list {" + "".join(f"config {{ {config} }}" for config in configs) + "}"


MODEL = 'name: "m" base_path: "/models/m" model_platform: "tensorflow" '


def test_what_is_read():
    text = models(
        MODEL + 'version_labels { key: "stable" value: 3 }', 'name: "n" base_path: "/n" model_type: TENSORFLOW'
    )
    first, second = parse_config(text).models
    assert (first.name, str(first.base_path), first.labels) == ("m", "/models/m", {"stable": 3})
    assert second.policy == VersionPolicy(latest=1)


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ("", [10]),
        ("latest {}", [10]),
        ("latest { num_versions: 2 }", [3, 10]),
        ("all {}", [1, 3, 10]),
        ("specific { versions: 3 versions: 4 }", [3]),
    ],
)
def test_policies(policy, chosen):
    (model,) = parse_config(models(f"{MODEL} model_version_policy {{ {policy} }}")).models
    assert model.policy.choose([10, 1, 3]) == chosen


def test_an_empty_config_serves_nothing():
    assert parse_config("").models == ()


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("nonsense", "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1"),
        (models(MODEL, MODEL), "Illegal to list model m multiple times"),
        (
            models('name: "m" base_path: "m" model_platform: "tensorflow"'),
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (models('base_path: "/m" model_platform: "tensorflow"'), "no name"),
        (models('name: "m" base_path: "/m"'), "setting neither ModelServerConfig::model_type (deprecated) nor"),
        (models(MODEL + "model_type: TENSORFLOW"), "setting both ModelServerConfig::model_type (deprecated) and"),
        (models('name: "m" base_path: "/m" model_platform: "caffe"'), "model_platform 'caffe'"),
        (models(MODEL + "model_version_policy { specific {} }"), "names no versions"),
        ("custom_model_config {}", "custom_model_config is not supported"),
    ],
)
def test_what_is_refused(text, fragment):
    with pytest.raises(ServerError) as caught:
        parse_config(text)
    assert fragment in str(caught.value)

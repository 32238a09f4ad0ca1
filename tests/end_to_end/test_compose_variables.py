"""Variables and processes of a compose file, read by Docker Compose's rules."""

import subprocess
from pathlib import Path

import pytest

from tests.compose_file import VariableError, interpolate, load, process, variables_of

SET = {"A": "a", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A${A}", "aa"),
        ("$NONE${NONE}", ""),
        ("${A:-b} ${EMPTY:-b} ${NONE:-b}", "a b b"),
        ("${A-b} ${EMPTY-b} ${NONE-b}", "a  b"),
        ("${A:+b} ${EMPTY:+b} ${NONE:+b}", "b  "),
        ("${A+b} ${EMPTY+b} ${NONE+b}", "b b "),
        ("${A:?no} ${EMPTY?no}", "a "),
        ("${NONE:-${A:-b}/c}", "a/c"),
        ("${NONE:-${NEITHER:-b}}", "b"),
        ("$$A $${A} $$$A", "$A ${A} $a"),
        ("${NONE:--x}", "-x"),
        ("${NONE:-}", ""),
        ("${A:-$$}${NONE:-$$}", "a$"),
    ],
)
def test_variables_are_put_in(text, expected):
    assert interpolate(text, SET) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${NONE:?give it}", "NONE must be set: give it"),
        ("${EMPTY:?${A} is not enough}", "EMPTY must be set: a is not enough"),
        ("${NONE?}", "NONE must be set"),
        ("${A", "not closed"),
        ("${A!b}", "no variable"),
        ("${}", "no variable"),
        ("5 $ a", "names no variable"),
    ],
)
def test_what_cannot_be_put_in_is_refused(text, says):
    with pytest.raises(VariableError, match=says.replace("$", r"\$")):
        interpolate(text, SET)


def test_a_services_process():
    services = {
        "one": {
            "entrypoint": ["bash", "-c", 'exec "$$@"'],
            "command": "run --set 'a b' ${LOUD:+--loud} ${A}",
            "environment": {"FROM": "${A:-b}", "NUMBER": 1, "HANDED_ON": None, "ABSENT": None},
            "healthcheck": {"test": ["CMD-SHELL", "ask $$PORT"]},
        },
        "two": {"environment": ["X=y=z", "HANDED_ON"], "healthcheck": {"test": "ask"}},
        "three": {"healthcheck": {"test": ["CMD", "ask", "${A}"]}},
        "four": {"healthcheck": {"test": ["NONE"]}},
    }
    one, two, three, four = (process({"services": services}, name, {**SET, "HANDED_ON": "h"}) for name in services)
    assert one.command == ["bash", "-c", 'exec "$@"', "run", "--set", "a b", "a"]
    assert one.environment == {"FROM": "a", "NUMBER": "1", "HANDED_ON": "h"}
    assert one.healthcheck == ["/bin/sh", "-c", "ask $PORT"]
    assert (two.command, two.environment) == ([], {"X": "y=z", "HANDED_ON": "h"})
    assert two.healthcheck == ["/bin/sh", "-c", "ask"]
    assert three.healthcheck == ["ask", "a"]
    assert four.healthcheck == []


def test_the_variables_of_a_file():
    node = {"a": ["${A:-${B}/c} ${A:-d}"], "environment": {"E": None, "F": "${F:+x}"}, "c": 1}
    assert variables_of(node) == {"A": {"${B}/c", "d"}, "B": {None}, "E": {""}, "F": {""}}


def test_a_worker_has_its_containers_name(tmp_path):
    """By bash itself, as in the container."""
    compose = load(Path(__file__).parents[2] / "docker-compose.yml")
    command = process(compose, "tuner-worker", {"PWD": "/p", "TUNE_SETTINGS": "--set 'search={a: [1, 2]}'"}).command
    assert command[4] == "zoo"
    (tmp_path / "zoo").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "zoo").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOSTNAME": "4f2a"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["tune", "digits_cnn", "--set", "search={a: [1, 2]}", "--role", "worker", "--id", "worker-4f2a"]

"""What the zoo's files promise of themselves."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import zoo

FOLDER = Path(zoo.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_imports_keras_and_numpy_only(file):
    allowed = {"zoo", "keras", "numpy"} | set(sys.stdlib_module_names)
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module.split(".")[0] in allowed


def test_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import keras, numpy; own = set(sys.modules); import zoo, json;" + (
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - own - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    third_party = set(json.loads(done.stdout)) - set(sys.stdlib_module_names)
    assert third_party == {"zoo"}


def test_files_are_short():
    lengths = {file.relative_to(FOLDER).as_posix(): len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert lengths["registry.py"] <= 100
    models = {
        sys.modules[getattr(builder, "func", builder).__module__].__file__
        for builder in (zoo.get_spec(name).builder for name in zoo.list_models())
    }
    assert len(models) > 5
    for name, lines in lengths.items():
        assert lines <= (150 if "/" not in name else 300), name

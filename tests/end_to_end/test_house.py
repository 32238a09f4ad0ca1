"""The house's own rules, on its sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {"zoo": {"zoo"}, "serving": {"serving"}, "pipelines": {"pipelines", "zoo", "serving"}}
SOURCES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    ours = {name.partition(".")[0] for name in imported(path)} & set(MAY_IMPORT)
    assert ours <= MAY_IMPORT[package]


def test_the_lock_names_versions_and_no_addresses():
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    assert lines
    for line in lines:
        assert "==" in line
        assert "://" not in line
        assert not line.startswith("-")

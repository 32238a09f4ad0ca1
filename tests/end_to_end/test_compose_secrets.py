"""No secret lies in the repository, on a command line, or where it is not needed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.compose_file import load, process

ROOT = Path(__file__).parents[2]


def tracked():
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"docker-compose.yml", ".env.example"} <= set(listing)
    paths = [ROOT / line for line in listing]
    return [path for path in paths if path.is_file() and path.suffix not in {".png", ".csv", ".lock"}]


SETTINGS = {".yml", ".yaml", ".sh", ".template", ".conf", ".config", ".toml", ".example", ".Dockerfile", ".txt", ".md"}
# A name of something secret with a value behind it that is neither a variable, a path nor a word of the language.
SECRET = re.compile(
    r"(?im)^[ \t#-]*[\w.-]*(?:password|passwd|secret|token|access_key)[\w.]*[\"']?[ \t]*[:=][ \t]*[\"']?"
    r"(?![$/\s\"'|<{\[(])\S+"
)
KEY = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b")
ADDRESS = re.compile(r"\w+://[\w.-]+:[^\s@$/{<]+@[\w.-]+")


def secrets_in(text, path):
    found = [match.group() for match in KEY.finditer(text)]
    if path.suffix in SETTINGS or path.name == ".env.example":
        found += [match.group().strip() for match in SECRET.finditer(text)]
    if path.parts[0] != "tests":  # which make up some to see what becomes of them
        found += [match.group() for match in ADDRESS.finditer(text)]
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout, so that nothing says what belongs to it")
def test_no_secret_is_in_the_repository():
    found = {}
    for path in tracked():
        name = path.relative_to(ROOT)
        lines = secrets_in(path.read_text("utf-8", "replace"), name) if path != Path(__file__) else []
        if lines:
            found[str(name)] = lines
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "POSTGRES_PASSWORD=hunter2",
        "      POSTGRES_PASSWORD: hunter2",
        "# AWS_SECRET_ACCESS_KEY=abc",
        "uri: postgresql://mlflow:hunter2@postgres/mlflow",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_a_planted_secret_is_found(line):
    assert secrets_in(f"a: 1\n{line}\n", Path("docker/settings.yml"))


def test_no_command_line_and_no_environment_holds_the_password():
    compose = load(ROOT / "docker-compose.yml")
    given = {"PWD": "/somewhere", "POSTGRES_PASSWORD": "hunter2"}
    for name in compose["services"]:
        started = process(compose, name, given)
        assert "hunter2" not in " ".join(started.command + started.healthcheck)
        # Only the service that writes it into a file is handed a password that the user has set.
        assert name == "setup" or "hunter2" not in started.environment.values()

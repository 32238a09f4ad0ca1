"""Every command of the README, run as it stands there but for ports and the place of its state."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.results import read_results
from pipelines.results_page import short_table
from serving.client import GrpcClient
from serving.errors import ServingError
from serving.ports import free_ports

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
# Not run here: make test is what runs this; the quickstart's own test runs `zoo quickstart`.
TARGETS = {"make quickstart": "zoo quickstart", "make test": "pytest"}


def commands():
    """The lines of the README's bash blocks; a line that is indented goes on from the one before."""
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL):
        for command in re.split(r"\n(?! )", block.strip()):
            yield re.sub(r"\s+# .*", "", command)


def test_the_two_commands_of_the_setup_do_what_they_say():
    for target, runs in TARGETS.items():
        assert target in commands()
        done = subprocess.run([*target.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert runs in done.stdout


def test_every_other_command(tmp_path):
    grpc_port, rest_port, ui_port = free_ports(3)
    environment = {**os.environ, "ZOO_HOME": str(tmp_path / "home")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    background = []

    def here(command):
        """The command with this test's ports."""
        command = command.replace("localhost:8501", f"localhost:{rest_port}")
        if command == "zoo serve":
            return f"exec zoo serve --port={grpc_port} --rest_api_port={rest_port}"
        if command == "zoo ui":
            return f"exec zoo ui --port {ui_port}"
        if command.startswith(("zoo predict", "zoo promote", "zoo releases")):
            return f"{command} --server localhost:{rest_port if '--rest' in command else grpc_port}"
        return command

    try:
        for command in commands():
            if command in TARGETS or command.startswith("source "):
                continue
            if command.startswith("curl") and not shutil.which("curl"):
                continue
            if command in ("zoo serve", "zoo ui"):
                log = (tmp_path / f"{command.split()[1]}.log").open("w")
                background.append(
                    subprocess.Popen(["bash", "-c", here(command)], cwd=ROOT, env=environment, stderr=log)
                )
                if command == "zoo serve":
                    wait_until_it_answers(f"localhost:{grpc_port}")
                continue
            shell = ["bash", "-c", here(command)]
            done = subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if command.startswith("zoo predict"):
                assert re.search(r"seven\.png\s+7 ", done.stdout), done.stdout
            if command.startswith("curl"):
                assert '"label": "7"' in done.stdout
        assert len(background) == 2
        assert all(process.poll() is None for process in background)
    finally:
        for process in background:
            process.terminate()
        for process in background:
            process.wait(timeout=60)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


def wait_until_it_answers(address):
    with GrpcClient(address, timeout=2) as client:
        for _ in range(300):
            try:
                return client.check_reachable()
            except ServingError:
                time.sleep(0.2)
    return pytest.fail("zoo serve did not answer")


def test_the_table_of_results_is_the_recorded_one():
    table = re.search(r"<!-- zoo results --markdown --short -->\n(.*?)<!-- end -->", README, re.DOTALL).group(1)
    assert table == short_table(read_results()), "Run: zoo results --markdown --short, and put it into the README."


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()

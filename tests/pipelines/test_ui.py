"""`zoo ui`: which page of MLflow's UI it opens. That the server ends is tested in tests/end_to_end."""

import os
import re
import signal
import subprocess
import sys
import time
import webbrowser
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines.cli import ui
from pipelines.errors import UsageError
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, track
from pipelines.views import view_of
from serving.ports import free_ports

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def runs():
    """A run on digits, one on MNIST and then a search on digits: ids and experiments."""
    made = {}
    for name, kind in (("digits_cnn", "train"), ("lenet5", "train"), ("digits_cnn", "search")):
        tags = {"zoo.search.objective": "val_loss"} if kind == "search" else {}
        with track(load_recipe(name).override({"search": {}}), kind, more_tags=tags) as run:
            made[kind if kind == "search" else name] = run.id
    return made


def experiment(title):
    return connect().get_experiment_by_name(title).experiment_id


def parts(view):
    path, _, query = view.partition("?")
    return path, {name: value for name, (value,) in parse_qs(query).items()}


def test_each_kind_of_name_has_its_page(runs):
    digits, mnist = experiment("digits"), experiment("mnist")
    training = {"workflowType": "machine_learning"}
    everything = f"#/experiments/{digits}/runs"
    assert parts(view_of(None)) == (everything, training)  # of the newest run
    assert parts(view_of("digits")) == (everything, training)
    assert parts(view_of("mnist")) == (f"#/experiments/{mnist}/runs", training)
    for reference in (runs["lenet5"], runs["lenet5"][:8]):
        assert parts(view_of(reference)) == (f"#/experiments/{mnist}/runs/{runs['lenet5']}", training)
    path, query = parts(view_of("digits_cnn"))
    assert path == everything
    assert query["searchFilter"] == "tags.`zoo.recipe` = 'digits_cnn'"
    path, query = parts(view_of(runs["search"]))
    assert path == everything
    assert query["searchFilter"] == f"tags.`mlflow.parentRunId` = '{runs['search']}'"
    assert (query["orderByKey"], query["orderByAsc"]) == ("metrics.`val_loss`", "true")


def test_mlflow_takes_the_filters(runs):
    """The UI hands them to the store as they are."""
    with track(load_recipe("digits_cnn"), "trial", parent=runs["search"]) as trial:
        trial.log_metrics({"val_loss": 1.0})
    for reference, count in (("digits_cnn", 3), (runs["search"], 1)):
        _, query = parts(view_of(reference))
        order = [f"{query['orderByKey']} ASC"] if "orderByKey" in query else []
        assert len(connect().search_runs([experiment("digits")], query["searchFilter"], order_by=order)) == count


def test_an_empty_store_has_no_page():
    assert view_of(None) == ""


def test_an_unknown_name(zoo_command, runs):
    with pytest.raises(UsageError, match=r"There is no run 'digit'.*a dataset's title will do, too\."):
        view_of("digit")
    status, out, err = zoo_command("ui", "digit", "--port", free_ports(1)[0])
    assert (status, out) == (2, "")
    assert "There is no run 'digit'" in err


@pytest.mark.parametrize("opens", [True, False])
def test_a_tracking_servers_own_ui(zoo_command, runs, monkeypatch, opens):
    """It is asked for the experiment, and its address is printed and opened."""
    opened = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000/")
    monkeypatch.setattr("pipelines.tracking.connect", lambda: None)
    monkeypatch.setattr("pipelines.views.view_of", lambda what: f"#/of/{what}")
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    status, out, _ = zoo_command("ui", "mnist", "--open" if opens else "--no-open")
    assert status == 0
    assert out.split()[-1] == "http://tracking.example:5000/#/of/mnist"
    assert opened == (["http://tracking.example:5000/#/of/mnist"] if opens else [])


@pytest.mark.parametrize(
    ("terminal", "variables", "platform", "has"),
    [
        (True, {"DISPLAY": ":0"}, "linux", True),
        (True, {"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        (True, {"BROWSER": "firefox"}, "linux", True),
        (True, {}, "darwin", True),
        (True, {}, "linux", False),
        (False, {"DISPLAY": ":0"}, "linux", False),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(monkeypatch, terminal, variables, platform, has):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert ui._has_browser() is has


def test_the_page_is_opened_when_the_server_answers(runs, tmp_path):
    """With a browser of this test's, which asks for the page at once."""
    seen, (port,) = tmp_path / "seen", free_ports(1)
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport pathlib, sys, urllib.request\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
        "text = opener.open(sys.argv[1].partition('#')[0]).read().decode()\n"
        f"pathlib.Path({str(seen)!r} + '.draft').write_text(sys.argv[1] + ' ' + str('MLflow' in text))\n"
        f"pathlib.Path({str(seen)!r} + '.draft').rename({str(seen)!r})\n"
    )
    browser.chmod(0o755)
    code = "from pipelines.cli import main; main()"
    command = [sys.executable, "-c", code, "ui", runs["lenet5"], "--open", "--port", str(port)]
    environment = os.environ | {"BROWSER": f"{browser} %s"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = re.search(r"http://\S+", process.stdout.readline()).group()
        assert urlsplit(address).fragment.startswith(f"/experiments/{experiment('mnist')}/runs/{runs['lenet5']}")
        for _ in range(600):
            if seen.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert seen.read_text() == f"{address} True"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)

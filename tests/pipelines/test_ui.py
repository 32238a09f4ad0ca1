"""`zoo ui`: which page of MLflow's UI it opens. That SIGTERM ends it is tested in tests/end_to_end."""

import re
import signal
import subprocess
import sys
import webbrowser
from urllib.parse import parse_qs

import httpx
import pytest

from pipelines.cli import ui
from pipelines.errors import UsageError
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, track
from pipelines.views import view_of
from serving.ports import free_ports, is_free

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def runs():
    """A run on digits, one on MNIST and then a search on digits: ids and experiments."""
    made = {}
    for name, kind in (("digits_cnn", "train"), ("lenet5", "train"), ("digits_cnn", "search")):
        with track(load_recipe(name).override({"search": {}}), kind) as run:
            made[kind if kind == "search" else name] = run.id
    return made


def experiment(title):
    return connect().get_experiment_by_name(title).experiment_id


def parts(view):
    path, _, query = view.partition("?")
    return path, {name: value for name, (value,) in parse_qs(query).items()}


def listed(reference):
    """The ids of the runs that the UI lists, which hands filter and order to the store as they are."""
    _, query = parts(view_of(reference))
    order = []
    if "orderByKey" in query:
        order = [f"{query['orderByKey']} {'ASC' if query['orderByAsc'] == 'true' else 'DESC'}"]
    found = connect().search_runs([experiment("digits")], query["searchFilter"], order_by=order)
    return [run.info.run_id for run in found]


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


def test_mlflow_takes_the_filters(runs):
    with track(load_recipe("digits_cnn"), "trial", parent=runs["search"]):
        pass
    for reference, count in (("digits_cnn", 3), (runs["search"], 1)):
        assert len(listed(reference)) == count


@pytest.mark.parametrize("objective", ["val_loss", "loss", "val_accuracy", "accuracy", None])
def test_a_searchs_trials_are_sorted_by_what_decided(objective):
    """By the best epoch's value, and not by the last one's."""
    recipe = load_recipe("digits_cnn").override({"search": {}})
    lost = objective is not None and objective.endswith("loss")
    with track(recipe, "search", more_tags={"zoo.search.objective": objective} if objective else {}) as search:
        ids = []
        for best, last in ((0.2, 0.9), (0.3, 0.4)) if lost else ((0.8, 0.1), (0.7, 0.6)):
            with track(recipe, "trial", parent=search.id) as trial:
                trial.log_metrics({"objective": best, objective or "val_accuracy": last})
            ids.append(trial.id)
    assert listed(search.id) == ids


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


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),  # which stands for all addresses, and is none that a browser could ask
        ("::1", "[::1]"),
        ("::", "[::1]"),
    ],
)
def test_the_address_is_one_that_can_be_asked(zoo_command, monkeypatch, host, reached):
    served = []
    monkeypatch.setattr("serving.ports.is_free", lambda *_: True)  # a machine may have no IPv6
    monkeypatch.setattr("pipelines.views.view_of", lambda what: f"#/of/{what}")
    monkeypatch.setattr(ui, "_serve", lambda *arguments: served.append(arguments) or 0)
    status, out, _ = zoo_command("ui", "mnist", "--open", "--port", 5001, "--host", host)
    address = f"http://{reached}:5001"
    assert status == 0
    assert f"{address}/#/of/mnist " in out
    assert served == [(host, 5001, address, f"{address}/#/of/mnist")]
    assert httpx.URL(served[0][2]).host == reached.strip("[]")


def test_the_server_is_ended_whatever_happens(monkeypatch):
    started = []

    class Started(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **options)
            started.append(self)

    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(ui, "_answers", broken)
    with pytest.raises(RuntimeError, match="broken"):
        ui._serve("127.0.0.1", 5001, "http://127.0.0.1:5001", "http://127.0.0.1:5001/#/")
    (server,) = started
    ended = server.returncode
    server.kill()
    assert ended == -signal.SIGTERM


def test_the_page_is_opened_when_the_server_answers_and_ctrl_c_ends_it(zoo_command, runs, monkeypatch):
    """At an IPv6 address where there are such, with a browser of this test's, which asks for the page at once."""
    (port,) = free_ports(1)
    host, reached = ("::1", "[::1]") if is_free("::1", port) else ("127.0.0.1", "127.0.0.1")
    opened = []

    def browse(address):
        page = httpx.get(address, trust_env=False)
        opened.append((address, page.status_code, "MLflow" in page.text))
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", browse)
    status, out, _ = zoo_command("ui", runs["lenet5"], "--open", "--port", port, "--host", host)
    assert status == 0
    address = re.search(r"http://\S+", out).group()
    assert address.startswith(f"http://{reached}:{port}/#/experiments/{experiment('mnist')}/runs/{runs['lenet5']}")
    assert opened == [(address, 200, True)]
    assert is_free(host, port)

"""No request is lost or answered wrongly while all that an operator may do is done to a busy server."""

import contextlib
import itertools
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from serving.local_server import local_server
from serving.protos import model_management_pb2
from serving.tensors import array_from_proto

REQUESTS = 10_000
BROKEN = 1000
ALL, LATEST = "all {}", "latest { num_versions: 1 }"


def model_of(version):
    """Neighbouring versions answer differently."""
    return "plus_two" if version % 2 else "plus_three"


def right_answer(version, x):
    return [x * 0.5 + (2 if version % 2 else 3)]


def only(*versions):
    return "specific { " + " ".join(f"versions: {version}" for version in versions) + " }"


class History:
    """Which version had to answer at which time; while a change is under way, more than one may."""

    def __init__(self, version):
        self._entries = [(0.0, {version})]

    @contextlib.contextmanager
    def moving_to(self, version, *, by_way_of=None):
        """Around what makes the change, and what waits until it is in force."""
        former = self._entries[-1][1]
        self._entries.append((time.monotonic(), {*former, by_way_of or version, version}))
        yield
        self._entries.append((time.monotonic(), {version}))

    def between(self, asked, answered):
        """The versions of a time span."""
        entries = list(self._entries)
        ends = [start for start, _ in entries[1:]] + [answered]
        during = [
            versions for (start, versions), end in zip(entries, ends, strict=True) if start <= answered and end >= asked
        ]
        return set().union(*during)


class Operator:
    """Publishes versions of one model and configures the server, by its config file and by reloads."""

    def __init__(self, folder, library, configure):
        self.base_path = folder / "m"
        self.config_file = folder / "models.config"
        self._library, self._configure = library, configure
        self.newest, self.stable = History(1), History(1)
        self.client = self.log = None
        self.put(1)
        self.write(ALL, stable=1)

    def put(self, version, model=""):
        self._library.put(model or model_of(version), self.base_path, version)

    def write(self, policy, stable):
        """Writes the config file, of which the server takes notice when it next looks."""
        draft = self.config_file.with_suffix(".draft")
        draft.write_text(self._config(policy, stable))
        draft.rename(self.config_file)

    def reload(self, policy, stable):
        """Sends a config to the server, which goes by it when this returns."""
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(self._config(policy, stable), request.config)
        self.client.models.HandleReloadConfigRequest(request)

    def write_and_reload(self, policy, stable):
        """As `zoo` does it: what is only sent, the server takes back when it next looks at the file."""
        self.write(policy, stable)
        self.reload(policy, stable)

    def _config(self, policy, stable):
        extra = f'model_version_policy {{ {policy} }} version_labels {{ key: "stable" value: {stable} }}'
        return f"model_config_list {{ {self._configure('m', self.base_path, extra)} }}"

    def pause(self):
        """Lets requests come that only one version may answer."""
        time.sleep(0.3)

    def wait_for(self, version, state):
        """As all waiting here, for as long as pytest's timeout allows."""
        while self.client.states("m").get(version) != state:
            time.sleep(0.02)

    def wait_for_stable(self, version):
        while set(self.client.states("m", label="stable")) != {version}:
            time.sleep(0.02)

    def delete(self, version):
        shutil.rmtree(self.base_path / str(version))
        self.wait_for(version, "END")

    def change_by_folders_and_file(self, old, new):
        """The new version comes by its folder, the old one goes with its own; the config file moves the label."""
        with self.newest.moving_to(new):
            self.put(new)
            self.wait_for(new, "AVAILABLE")
        self.pause()
        with self.stable.moving_to(new):
            self.write(ALL, stable=new)
            self.wait_for_stable(new)
        self.delete(old)

    def change_by_reloads(self, old, new):
        """The same, but by configs that say which versions are served."""
        steps = [(only(old), old, old), (only(old, new), new, old), (only(old, new), new, new), (only(new), new, new)]
        for policy, newest, stable in steps:
            with self.newest.moving_to(newest), self.stable.moving_to(stable):
                self.write_and_reload(policy, stable)
            self.pause()
            if policy == only(old):
                self.put(new)
        self.delete(old)
        self.write_and_reload(ALL, stable=new)

    def change_with_mistakes(self, old, new):
        """As by folders and file, amid what goes wrong in practice, none of which a request may notice."""
        # Where only the latest version is wanted and does not load, the former one stays.
        self.write_and_reload(LATEST, stable=old)
        self.put(BROKEN, "broken")
        self.wait_for(BROKEN, "END")
        self.pause()
        self.write_and_reload(ALL, stable=old)
        with pytest.raises(grpc.RpcError, match="which is not currently available for inference"):
            self.reload(ALL, stable=BROKEN)
        self.write(ALL, stable=BROKEN)
        while "New config refused" not in self.log.read_text():
            time.sleep(0.02)
        self.change_by_folders_and_file(old, new)
        # A config that is sent and not written holds until the server next looks at the file.
        self.put(old)
        self.wait_for(old, "AVAILABLE")
        with self.newest.moving_to(new, by_way_of=old), self.stable.moving_to(new, by_way_of=old):
            self.reload(only(old), stable=old)
            self.wait_for_stable(new)
        self.delete(old)


class Load:
    """Clients that ask on and on over both transports, for the newest version and for the stable one."""

    def __init__(self, operator):
        self._client = operator.client
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self.count = 0
        self.errors, self.wrong, self.seen = [], [], set()
        kinds = itertools.product(
            (self._over_grpc, self._over_rest), ((None, operator.newest), ("stable", operator.stable))
        )
        self._threads = [
            threading.Thread(target=self._ask, args=(ask, label, history, start))
            for start, (ask, (label, history)) in enumerate(list(kinds) * 2)
        ]

    def _over_grpc(self, label, x):
        """The answer, and the number of the version that gave it."""
        response = self._client.prediction.Predict(self._client.request("m", {"x": np.float32([x])}, label=label))
        return array_from_proto(response.outputs["y"]).tolist(), response.model_spec.version.value

    def _over_rest(self, label, x):
        """The answer; REST does not say which version gave it."""
        status, answer = self._client.rest(f"m/labels/{label}:predict" if label else "m:predict", {"inputs": [x]})
        assert status == 200, answer
        return answer["outputs"], None

    def _ask(self, ask, label, history, start):
        for number in itertools.count(start):
            if self._stopping.is_set():
                return
            x, asked = number % 1000, time.monotonic()
            try:
                answer, version = ask(label, x)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a lost request
                self.errors.append(f"{ask.__name__} {label}: {error!r}")
                continue
            possible = history.between(asked, time.monotonic())
            by = [each for each in possible if version in (None, each) and answer == right_answer(each, x)]
            if not by:
                self.wrong.append(f"{ask.__name__} {label} {x}: {answer} of {version}, not of {possible}")
            with self._lock:
                self.count += 1
                if len(possible) == 1:
                    self.seen.add((ask.__name__, label, *possible))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def test_ten_thousand_requests_while_versions_labels_and_configs_change(library, tmp_path, configure, connect):
    operator = Operator(tmp_path, library, configure)
    changes = [
        operator.change_by_folders_and_file,
        operator.change_by_reloads,
        operator.change_with_mistakes,
        operator.change_by_reloads,
        operator.change_by_folders_and_file,
    ]
    flags = ["--model_config_file_poll_wait_seconds=1", "--max_num_load_retries=0"]
    with local_server([f"--model_config_file={operator.config_file}", *flags]) as server:
        server.wait_for("m", 1)
        client = connect(*(int(address.rpartition(":")[2]) for address in (server.grpc_address, server.rest_address)))
        operator.client, operator.log = client, server.log
        with Load(operator) as load:
            for old, change in enumerate(changes, start=1):
                change(old, old + 1)
            while load.count < REQUESTS:
                time.sleep(0.05)
        newest = len(changes) + 1
        assert client.states("m") == {newest: "AVAILABLE", **dict.fromkeys([*range(1, newest), BROKEN], "END")}
        broken = client.rest(f"m/versions/{BROKEN}")[1]["model_version_status"][0]["status"]
        assert "Cannot load" in broken["error_message"]
        assert "Traceback" not in server.log.read_text()
        client.close()
    assert not load.errors, f"{len(load.errors)} requests failed: {load.errors[:3]}"
    assert not load.wrong, f"{len(load.wrong)} answers were wrong: {load.wrong[:3]}"
    # Both models had their turn, by every way of asking.
    assert {(way, label, model_of(version)) for way, label, version in load.seen} == set(
        itertools.product(("_over_grpc", "_over_rest"), (None, "stable"), ("plus_two", "plus_three"))
    )

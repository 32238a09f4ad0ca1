"""No request is lost or answered wrongly while everything that an operator may do is done to a busy server."""

import itertools
import shutil
import threading
import time

import grpc
import numpy as np
import pytest

from serving.local_server import local_server
from serving.protos import model_management_pb2
from serving.tensors import array_from_proto

REQUESTS = 10_000
ROUNDS = 4
BROKEN = 1000
ALL = "all {}"


class History:
    """Which versions a request could be answered by, and since when: two, while a change is under way."""

    def __init__(self, version):
        self._entries = [(0.0, {version})]

    def changing(self, *versions):
        self._entries.append((time.monotonic(), set(versions)))

    def settled(self, version):
        self.changing(version)

    def between(self, asked, answered):
        """The versions at any moment of a time span."""
        ends = [start for start, _ in self._entries[1:]] + [float("inf")]
        during = [
            versions
            for (start, versions), end in zip(list(self._entries), ends, strict=False)
            if start <= answered and end >= asked
        ]
        return set().union(*during)


class Load:
    """Clients that ask on and on over both transports, for the newest version and for the stable one."""

    def __init__(self, client, newest, stable):
        self._client = client
        self._stopping = threading.Event()
        self.errors, self.wrong, self.answered = [], [], set()
        self.count = 0
        self._lock = threading.Lock()
        ways = itertools.product((self._over_grpc, self._over_rest), ((None, newest), ("stable", stable)))
        self._threads = [
            threading.Thread(target=self._run, args=(ask, label, history, number))
            for number, (ask, (label, history)) in enumerate(list(ways) * 2)
        ]

    def _over_grpc(self, label, x):
        """The answer, and the number of the version that gave it."""
        response = self._client.prediction.Predict(self._client.request("m", {"x": np.float32([x])}, label=label))
        return array_from_proto(response.outputs["y"]).tolist(), response.model_spec.version.value

    def _over_rest(self, label, x):
        """The answer; REST does not say which version gave it."""
        path = f"m/labels/{label}:predict" if label else "m:predict"
        status, answer = self._client.rest(path, {"inputs": [x]})
        if status != 200:
            raise AssertionError(f"{status} {answer}")
        return answer["outputs"], None

    def _run(self, ask, label, history, number):
        for x in itertools.count(number):
            if self._stopping.is_set():
                return
            x %= 1000
            asked = time.monotonic()
            try:
                answer, version = ask(label, x)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a lost request
                self.errors.append(f"{ask.__name__} {label}: {error!r}")
                continue
            possible = history.between(asked, time.monotonic())
            by = [each for each in possible if version in (None, each) and answer == [right_answer(each, x)]]
            if not by:
                self.wrong.append(f"{ask.__name__} {label} {x}: {answer} by {version}, of {possible}")
            with self._lock:
                self.count += 1
                if len(possible) == 1:
                    self.answered.add((ask.__name__, label, *possible))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count):
        while self.count < count:
            time.sleep(0.05)


def model_of(version):
    """Neighbouring versions answer differently."""
    return "plus_two" if version % 2 else "plus_three"


def right_answer(version, x):
    return x * 0.5 + (2 if version % 2 else 3)


class Operator:
    """Publishes versions of one model and writes its config, and tells the histories what that changes."""

    def __init__(self, folder, library, configure):
        self.base_path = folder / "m"
        self.config_file = folder / "models.config"
        self._library, self._configure = library, configure
        self.newest, self.stable = History(1), History(1)
        self.put(1)
        self.write(ALL, stable=1)

    def connect(self, client):
        self.client = client

    def put(self, version, name=None):
        return self._library.put(name or model_of(version), self.base_path, version)

    def config(self, policy, stable):
        extra = f'model_version_policy {{ {policy} }} version_labels {{ key: "stable" value: {stable} }}'
        return f"model_config_list {{ {self._configure('m', self.base_path, extra)} }}"

    def write(self, policy, stable):
        """Writes the config file, of which the server takes notice when it next looks."""
        draft = self.config_file.with_suffix(".draft")
        draft.write_text(self.config(policy, stable))
        draft.rename(self.config_file)

    def reload(self, policy, stable):
        """Sends a config to the server, which has changed over when this returns."""
        from google.protobuf import text_format

        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(self.config(policy, stable), request.config)
        self.client.models.HandleReloadConfigRequest(request)

    def wait_for_stable(self, version):
        while set(self.client.states("m", label="stable")) != {version}:
            time.sleep(0.02)

    def wait_for(self, version, state):
        while self.client.states("m").get(version) != state:
            time.sleep(0.02)


def only(*versions):
    return "specific { " + " ".join(f"versions: {version}" for version in versions) + " }"


def by_folders_and_file(operator, old, new):
    """The next version comes and the last one goes with its folder; the label moves by the config file."""
    operator.newest.changing(old, new)
    operator.put(new)
    operator.wait_for(new, "AVAILABLE")
    operator.newest.settled(new)
    operator.stable.changing(old, new)
    operator.write(ALL, stable=new)
    operator.wait_for_stable(new)
    operator.stable.settled(new)
    shutil.rmtree(operator.base_path / str(old))
    operator.wait_for(old, "END")


def by_reload(operator, old, new):
    """The same by configs that are sent, and written to the file, too, as `zoo` does."""
    operator.put(new)
    for policy, stable in ((only(old), old), (only(old, new), old), (only(old, new), new), (only(new), new)):
        operator.newest.changing(old, new)
        operator.stable.changing(old, new)
        operator.write(policy, stable)
        operator.reload(policy, stable)
        operator.newest.settled(new if str(new) in policy else old)
        operator.stable.settled(stable)
    operator.wait_for(old, "END")


def with_mistakes(operator, old, new):
    """As by folders, with what goes wrong in practice: it must not be seen by any request."""
    operator.put(BROKEN, "broken")
    operator.wait_for(BROKEN, "END")
    # A label for the version that does not load, by both ways.
    with pytest.raises(grpc.RpcError, match="which is not currently available for inference"):
        operator.reload(ALL, stable=BROKEN)
    operator.write(ALL, stable=BROKEN)
    time.sleep(1.5)
    operator.write(ALL, stable=old)
    by_folders_and_file(operator, old, new)
    # A config that is sent but not written holds until the server next looks at the file.
    operator.put(old)
    operator.wait_for(old, "AVAILABLE")
    operator.stable.changing(old, new)
    operator.reload(ALL, stable=old)
    operator.wait_for_stable(new)
    operator.stable.settled(new)
    shutil.rmtree(operator.base_path / str(old))
    operator.wait_for(old, "END")


def test_ten_thousand_requests_while_versions_labels_and_configs_change(library, tmp_path, configure, connect):
    operator = Operator(tmp_path, library, configure)
    flags = ["--model_config_file_poll_wait_seconds=1", "--max_num_load_retries=0"]
    with local_server([f"--model_config_file={operator.config_file}", *flags]) as server:
        server.wait_for("m", 1)
        client = connect(*(int(address.rpartition(":")[2]) for address in (server.grpc_address, server.rest_address)))
        operator.connect(client)
        with Load(client, operator.newest, operator.stable) as load:
            steps = [by_folders_and_file, by_reload, with_mistakes, by_reload, by_folders_and_file]
            for old, step in enumerate(steps, start=1):
                step(operator, old, old + 1)
            load.wait_for(REQUESTS)
        last = len(steps) + 1
        states = client.states("m")
        status = client.rest(f"m/versions/{BROKEN}")[1]["model_version_status"][0]
        log = server.log.read_text()
        client.close()
    print(load.count, len(load.errors), len(load.wrong))
    assert not load.errors, (len(load.errors), load.errors[:3])
    assert not load.wrong, (len(load.wrong), load.wrong[:3])
    assert "Traceback" not in log

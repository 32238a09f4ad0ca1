"""Ten thousand requests that no honest client sends: the server refuses them in its own words, and stays as it was."""

import json
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import keras
import numpy as np
import psutil
import pytest

from serving.export import export_saved_model
from serving.local_server import local_server
from serving.tensors import array_to_proto
from tests.serving.model_server import fuzz_grpc, fuzz_rest
from tests.serving.model_server.fuzz_basics import LARGE_IMAGE, Rest

CASES, WARM_UP, THREADS = 10_000, 3_000, 4
KINDS = fuzz_rest.KINDS + fuzz_grpc.KINDS
# Those that take most memory; what stays of their peaks shall be there before anything is measured.
HEAVY = [
    fuzz_rest.BOMB,
    fuzz_rest.request_of("half:predict", '{"instances": ' + "[" * 100_000),
    fuzz_rest.request_of("many:predict", {"signature_name": "doubles", "inputs": [0.5] * 300_000}),
    fuzz_grpc.predict(
        "image",
        "predict_bytes",
        {"image_bytes": array_to_proto(np.array([LARGE_IMAGE], object), as_content=False)},
    ),
]
# The last one is TensorFlow's where it gets no memory.
FAULTS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
MEMORY = 8 * 2**30
# glibc hands back what is freed, so that what is left is what is held.
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


@pytest.fixture
def seed():
    """ZOO_FUZZ_SEED makes the same cases again; without it they are others each time."""
    seed = int(os.environ.get("ZOO_FUZZ_SEED") or random.randrange(2**32))
    print(f"ZOO_FUZZ_SEED={seed}")
    return seed


@pytest.fixture(scope="module")
def server(library, tmp_path_factory, configure):
    """A server, as a process of its own, of small models and of an export that decodes images."""
    root = tmp_path_factory.mktemp("fuzz")
    library.put("plus_two", root / "half", 1)
    library.put("many", root / "many", 1)
    library.put("judging", root / "judging", 1)
    pixels = keras.Input((8, 8, 1))
    network = keras.Model(pixels, keras.layers.Dense(3)(keras.layers.Flatten()(pixels)))
    (root / "image").mkdir()
    export_saved_model(
        network,
        root / "image" / "1",
        name="image",
        class_names=["a", "b", "c"],
        samples=np.zeros((2, 8, 8, 1), np.uint8),
        lineage={},
    )
    models = configure("half", root / "half", 'version_labels { key: "stable" value: 1 }')
    models += "".join(configure(name, root / name) for name in ("many", "judging", "image"))
    (root / "models.config").write_text(f"model_config_list {{ {models} }}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ALLOCATOR.items():
            patch.setenv(name, value)
        with local_server([f"--model_config_file={root / 'models.config'}"]) as server:
            server.wait_for("image", 1)
            if sys.platform == "linux":
                # A request that takes all memory there is shall end in a refusal here, not in another process's death.
                psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_DATA, (MEMORY, MEMORY))
            yield server


def make_cases(seed, numbers):
    """What each case is called, and its request, which follows from the seed and the number."""
    for number in numbers:
        kind = KINDS[number % len(KINDS)]
        yield f"case {number} ({kind.__name__})", kind(random.Random(f"{seed} {number}"))


class Prober:
    """Sends cases from several threads, and collects what is wrong with the answers."""

    def __init__(self, server):
        self._server = server
        self._local = threading.local()
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(server.grpc_address, options=options)
        self.complaints, self.codes = [], set()

    def probe(self, cases):
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._try, cases))

    def _try(self, case):
        name, request = case
        if self._server.process.poll() is not None:
            return  # which of the last cases ended it is among the complaints already
        try:
            complaint = self._ask_rest(request) if isinstance(request, Rest) else self._ask_grpc(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
            complaint = repr(error)
        if complaint:
            self.complaints.append(f"{name}: {complaint:.500} after {request!s:.500}")

    def _ask_rest(self, request):
        if not hasattr(self._local, "http"):
            self._local.http = httpx.Client(base_url=self._server.rest_address, timeout=60)
        answer = self._local.http.request(
            request.method,
            "/",
            content=request.body,
            headers=request.headers,
            extensions={"target": request.target.encode()},
        )
        self.codes.add(answer.status_code)
        if answer.status_code == 429 or (answer.status_code >= 500 and answer.status_code not in (501, 504)):
            return f"{answer.status_code} {answer.text}"
        if request.method == "HEAD":
            return ""
        # Strings that are not UTF-8 leave as the bytes they are.
        document = json.loads(answer.content.decode("utf-8", "surrogateescape"))
        if answer.status_code >= 400 and not isinstance(document.get("error"), str):
            return f"{answer.status_code} without a reason: {answer.text}"
        return "" if request.answer in (None, document) else f"not {request.answer} but {document}"

    def _ask_grpc(self, request):
        ask = self._channel.unary_unary(request.path, lambda message: message, lambda message: message)
        try:
            ask(request.body, timeout=60)
        except grpc.RpcError as error:
            self.codes.add(error.code().name)
            return f"{error.code().name} {error.details()}" if error.code().name in FAULTS else ""
        self.codes.add("OK")
        return ""

    def close(self):
        self._channel.close()


def test_ten_thousand_malformed_requests(server, connect, seed):
    process = psutil.Process(server.process.pid)
    prober = Prober(server)

    def memory_after(cases):
        prober.probe(cases)
        shown = "\n".join(prober.complaints[:10])
        assert not prober.complaints, f"{len(prober.complaints)} of the cases of ZOO_FUZZ_SEED={seed}:\n{shown}"
        log = server.log.read_text("utf-8", "replace")
        assert server.process.poll() is None, log[-2000:]
        assert "Traceback" not in log
        return process.memory_info().rss

    memory_after(("heavy", request) for request in HEAVY * 2 * THREADS)
    before = memory_after(make_cases(seed, range(WARM_UP)))
    after = memory_after(make_cases(seed, range(WARM_UP, CASES)))
    # Three kilobytes left of each case would be more. (TensorFlow itself keeps one of each run that fails within a time
    # limit, which REST's have.)
    grown = after - before
    assert grown < 20 * 2**20 or sys.platform != "linux", (
        f"ZOO_FUZZ_SEED={seed}: {before} bytes of memory, {grown} more"
    )
    # The cases were of all sorts, right ones among them.
    assert {200, 400, 404, 413, "OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"} <= prober.codes
    prober.close()

    client = connect(*(int(address.rpartition(":")[2]) for address in (server.grpc_address, server.rest_address)))
    assert client.predict("half", {"x": np.float32([1])}) == {"y": [2.5]}
    assert client.rest("half/labels/stable:predict", {"instances": [1]}) == (200, {"predictions": [2.5]})
    client.close()

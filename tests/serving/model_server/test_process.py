"""The server as a process: flags, start-up mistakes, signals."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

from serving.model_server.flags import FlagError, Flags, ignored_flags, parse_flags, usage

ROOT = Path(__file__).parents[3]


def run(*arguments):
    command = [sys.executable, "-m", "serving.model_server", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def assert_refused(result, status, *fragments):
    """One sentence on stderr, no traceback."""
    assert result.returncode == status
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    for fragment in fragments:
        assert fragment in result.stderr


def test_flags_in_tensorflow_servings_form():
    flags = parse_flags(
        [
            "--port=0",
            "--rest_api_port=8501",
            "--model_config_file=/c",
            "--enable_batching",
            "--flush_filesystem_caches=0",
        ]
    )
    assert (flags.port, flags.rest_api_port, flags.model_config_file) == (0, 8501, "/c")
    assert flags.enable_batching
    assert not flags.flush_filesystem_caches
    assert flags.host == "127.0.0.1"
    assert parse_flags(["--model_base_path=/m", "--enable_model_warmup=false"]).enable_model_warmup is False
    assert Flags().port == 8500


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--prot=1"], "Unknown flag --prot; did you mean --port?"),
        (["--port"], "--port needs a value"),
        (["--port=x"], "--port=x is not a whole number"),
        (["--port=70000"], "--port=70000 is not a port"),
        (["--drain_seconds=x"], "--drain_seconds=x is not a number"),
        (["--enable_batching=maybe"], "--enable_batching=maybe is neither true nor false"),
        (["model"], "Unexpected argument 'model'"),
        ([], "No model to serve"),
        (["--model_base_path=/m", "--port=0"], "Nothing to listen on"),
        (["--model_base_path=/m", "--port=9", "--rest_api_port=9"], "both 9"),
        (["--model_base_path=/m", "--batching_parameters_file=/b"], "needs --enable_batching"),
    ],
)
def test_flags_that_are_wrong(arguments, fragment):
    with pytest.raises(FlagError) as caught:
        parse_flags(arguments)
    assert fragment in str(caught.value)


def test_flags_without_effect_are_named_once():
    assert ignored_flags(["--enable_profiler", "--port=1", "--enable_profiler=true"]) == ["--enable_profiler"]


FLAGS_OF_TENSORFLOW_SERVING = """
    port rest_api_port rest_api_timeout_in_ms model_name model_base_path model_config_file
    model_config_file_poll_wait_seconds file_system_poll_wait_seconds monitoring_config_file enable_batching
    batching_parameters_file allow_version_labels_for_unavailable_models max_num_load_retries
    load_retry_interval_micros enable_model_warmup enable_grpc_healthcheck_service ssl_config_file
    rest_api_enable_cors_support grpc_socket_path grpc_channel_arguments per_process_gpu_memory_fraction
    tensorflow_session_parallelism tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism
    rest_api_num_threads num_load_threads num_unload_threads grpc_max_threads saved_model_tags platform_config_file
    version flush_filesystem_caches enable_signature_method_name_check xla_cpu_compilation_enabled
    prefer_tflite_model enable_serialization_as_tensor_content
"""


def test_every_flag_of_tensorflow_serving_is_known():
    for name in FLAGS_OF_TENSORFLOW_SERVING.split():
        assert f"  --{name}: " in usage()


def test_help_does_not_wait_for_tensorflow():
    code = "import sys, serving.model_server.__main__ as m; m.main(['--help']); sys.exit('tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout == usage() + "\n"


def test_an_unknown_flag():
    assert_refused(run("--modle_name=m"), 2, "--modle_name", "--model_name")


def test_a_config_that_does_not_parse(tmp_path):
    config = tmp_path / "models.config"
    config.write_text("model_config_list { config { nam: 'm' } }")
    expected = "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:30"
    assert_refused(run(f"--model_config_file={config}"), 1, expected)


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(run(f"--port={port}", f"--model_base_path={tmp_path}"), 1, str(port), "--port")
        arguments = ["--port=0", f"--rest_api_port={port}", f"--model_base_path={tmp_path}"]
        assert_refused(run(*arguments), 1, str(port), "--rest_api_port")


def test_sigterm_answers_requests_in_flight(library, tmp_path, ports, connect):
    library.put("many", tmp_path / "m", 1)
    grpc_port, rest_port = ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command += ["--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--enable_profiler", "--drain_seconds=60"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        if "Exporting HTTP/REST API at:" in line:
            break
    answers = []

    def ask():
        url = f"http://127.0.0.1:{rest_port}/v1/models/m:predict"
        answers.append(httpx.post(url, json={"signature_name": "slow", "inputs": 120_000}, timeout=60).json())

    client = connect(grpc_port, rest_port)
    asking = threading.Thread(target=ask)
    asking.start()
    asked = client.prediction.Predict.future(client.request("m", {"n": np.int64(120_000)}, signature="slow"))
    asking.join(0.4)
    os.kill(process.pid, signal.SIGTERM)
    log += process.stderr.readlines()
    asking.join()
    assert process.wait(60) == 0
    assert answers == [{"outputs": 120_000}]
    assert list(asked.result().outputs["i"].int64_val) == [120_000]
    client.close()
    text = "".join(log)
    assert "Traceback" not in text
    assert text.count("--enable_profiler has no effect") == 1
    for line in (
        "m version 1: LOADING",
        "m version 1: AVAILABLE",
        f"Running gRPC ModelServer at 127.0.0.1:{grpc_port}",
    ):
        assert line in text

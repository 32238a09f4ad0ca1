"""How long the local model server takes until it answers, beside what importing TensorFlow takes by itself.

    python benchmarks/server_start.py --rounds 5

Milliseconds from the start of a process: to the end of `import tensorflow`, and to the server's first prediction by a
small model, over REST. It is quicker than the plain import where that brings Keras along, which the server leaves out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from contest import ratios, summary, take_turns, told

from serving.ports import free_ports
from serving.quiet import import_tensorflow


def save_small_model(path: Path) -> None:
    """y = x / 2 + 2, with a variable."""
    import_tensorflow()
    import tensorflow as tf

    module = tf.Module()
    module.two = tf.Variable(2.0)
    spec = tf.TensorSpec([None], tf.float32, name="x")
    module.answer = tf.function(lambda x: {"y": x / 2 + module.two}, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures=module.answer)


def import_alone() -> float:
    """Milliseconds until a process has imported TensorFlow."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow"], stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def first_answer(base_path: Path) -> float:
    """Milliseconds until a server has answered."""
    grpc_port, rest_port = free_ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    url = f"http://127.0.0.1:{rest_port}/v1/models/default:predict"
    began = time.perf_counter()
    server = subprocess.Popen([*command, f"--model_base_path={base_path}"], stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                with urllib.request.urlopen(url, json.dumps({"instances": [2]}).encode(), timeout=10) as answer:
                    if json.load(answer) == {"predictions": [3.0]}:
                        return (time.perf_counter() - began) * 1000
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.01)
        sys.exit(f"The server ended with status {server.returncode}.")
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        save_small_model(Path(folder) / "1")
        contestants = {"import tensorflow": import_alone, "first answer": lambda: first_answer(Path(folder))}
        reached = take_turns(contestants, options.rounds)
    times = {name: summary(values) for name, values in reached.items()}
    ratio = ratios(reached["first answer"], reached["import tensorflow"])
    if options.json:
        print(json.dumps({"milliseconds": times, "ratio": ratio}))
        return
    for name, found in times.items():
        print(f"{name:<18} {told(found)} ms")
    print(f"{'ratio':<18} {told(ratio, '.2f')}")


if __name__ == "__main__":
    main()

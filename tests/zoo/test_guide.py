"""The code in docs/networks.md runs as it stands there."""

import re
from pathlib import Path

import numpy as np

GUIDE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text("utf-8")


def test_the_guides_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 2
    names = {
        "images": np.zeros((2, 28, 28, 1), "float32"),
        "padded_images": np.zeros((2, 32, 32, 1), "float32"),
    }
    for block in blocks:
        exec(block, names)
    assert names["small"].count_params() == 4_408
    assert set(names["maps"]) == {"c1", "s2"}
    assert len(names["training"].outputs) == 3
    assert len(names["serving"].outputs) == 1
    assert {"c1", "s2", "c3"} <= {row.name for row in names["rows"]}
    assert names["patches"].shape == (2 * 28 * 28, 25)
    assert names["matrix"].shape == (25, 6)

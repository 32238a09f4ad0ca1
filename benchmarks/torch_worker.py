"""PyTorch's part in benchmarks/training.py: python torch_worker.py DATA.npz BATCH EPOCHS prints images per second.

The network `mnist_cnn_dropout` in eager mode, channels last, on images in memory.
"""

import sys
import time

import numpy as np
import torch
from torch import nn


def main() -> None:
    """Train an epoch that is not measured, then so many that are."""
    path, batch, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with np.load(path) as data:
        images = torch.from_numpy(data["images"].astype("float32") / 255).permute(0, 3, 1, 2)
        labels = torch.from_numpy(data["labels"])
    images = images.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(1)
    network = nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 40, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Dropout(0.5), nn.Linear(640, 1000), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(1000, 1000), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(1000, 10)),
    ).to(memory_format=torch.channels_last)
    assert sum(weight.numel() for weight in network.parameters()) == 1_672_570
    # Faster than the default, which updates the weights one by one.
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    loss_of = nn.CrossEntropyLoss()
    steps = len(images) // batch
    seconds = []
    for _ in range(epochs + 1):
        begun = time.perf_counter()
        order = torch.randperm(len(images))
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            inputs = images[chosen].contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            loss_of(network(inputs), labels[chosen]).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - begun)
    print(epochs * steps * batch / sum(seconds[1:]))


if __name__ == "__main__":
    main()

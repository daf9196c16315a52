"""The graph that whet writes is the network that the teacher is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.models.teachers.maxim import Maxim
from whet.studio.graph_network import GraphNetwork
from whet.studio.maxim_graph import maxim_graph
from whet.studio.tiles import Tiling


@pytest.fixture(scope="module")
def teacher() -> Maxim:
    torch.manual_seed(0)
    network = Maxim().eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.ndim == 1:  # norms and biases start at 1 and 0, which would hide a mix-up
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_graph_equals_the_teacher(teacher: Maxim) -> None:
    shape = (64, 128)  # where the grid's cells are not square, and no layout is the other
    weights = {key: value.numpy() for key, value in teacher.state_dict().items()}
    tiling = Tiling(size=128, overlap=32, multiple=64)
    image = np.random.default_rng(1).random((*shape, 3), np.float32)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = teacher(planes)[0].permute(1, 2, 0).numpy()
    network = GraphNetwork(lambda h, w: maxim_graph(weights, h, w), tiling, "onnxruntime", 1)
    restored = network.prepare(*shape)(image)
    assert np.abs(expected - image).max() > 0.05  # it does something
    np.testing.assert_allclose(restored, expected, atol=2e-5)

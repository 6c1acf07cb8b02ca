"""Zero-cost proxies against their definitions, written out slowly."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from rungwise.errors import InputError
from rungwise.nas.proxies import K, jacob_cov, synflow
from rungwise.nas.torch import network

NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def small(cell: str = NONE.replace("none", "nor_conv_1x1")) -> nn.Module:
    torch.manual_seed(0)
    return network(cell, shape=(1, 6, 6), classes=3, channels=2, cells=1, stages=2)


def test_synflow_of_layers_in_a_row_is_the_sum_over_paths() -> None:
    """Without biases each layer's θ ∂R/∂θ sums up to R, the sum over all paths of the product of |weights|."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    paths = sum(
        abs(model[0].weight[middle, start].item() * model[3].weight[end, middle].item())
        for start in range(3)
        for middle in range(4)
        for end in range(2)
    )
    assert synflow(model, (3,)) == pytest.approx(math.log(2 * paths))


def test_synflow_by_differences() -> None:
    """|θ ∂R/∂θ| by finite differences of R, in a network of a cell with its biases."""
    model = small()
    flow = 0.0
    straight = copy.deepcopy(model).double()
    for name, module in list(straight.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent = straight.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Identity())
    with torch.no_grad():
        for parameter in straight.parameters():
            parameter.abs_()
        ones = torch.ones(1, 1, 6, 6, dtype=torch.float64)
        for layer in straight.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                for place in np.ndindex(layer.weight.shape):
                    was = float(layer.weight[place])
                    outputs = []
                    for change in (1e-4, -1e-4):
                        layer.weight[place] = was * (1 + change)
                        outputs.append(float(straight(ones).sum()))
                    layer.weight[place] = was
                    flow += (outputs[0] - outputs[1]) / 2e-4
    assert synflow(model, (1, 6, 6)) == pytest.approx(math.log(flow), rel=1e-6)


def test_jacob_cov_by_its_definition() -> None:
    model = small()
    inputs = torch.randn(5, 1, 6, 6)
    rows = []
    for row in range(5):  # with batch normalization each input changes all outputs
        given = inputs.clone().requires_grad_()
        copy.deepcopy(model).train()(given).sum().backward()
        rows.append(given.grad[row].flatten().numpy())
    eigenvalues = np.linalg.eigvals(np.corrcoef(np.array(rows, dtype=float))).real
    assert jacob_cov(model, inputs) == pytest.approx(-np.sum(np.log(eigenvalues + K) + 1 / (eigenvalues + K)))


def test_inputs_that_are_alike_to_the_model_score_low() -> None:
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
    inputs = torch.randn(6, 8)
    alike = inputs[:1] + 1e-3 * inputs
    assert jacob_cov(model, inputs) > jacob_cov(model, alike)


@pytest.mark.parametrize("proxy", [lambda model: synflow(model, (1, 6, 6)), lambda model: jacob_cov(model, IMAGES)])
def test_the_model_stays_as_it_is(proxy) -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    first = proxy(model)
    assert math.isfinite(first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert proxy(model) == first


IMAGES = torch.linspace(-1, 1, 4 * 36).sin().reshape(4, 1, 6, 6)


def test_a_network_that_answers_to_nothing() -> None:
    deaf = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    nn.init.zeros_(deaf[1].weight)
    assert jacob_cov(deaf, IMAGES) == -math.inf
    assert synflow(deaf, (1, 6, 6)) == -math.inf
    with pytest.raises(InputError, match="2 or more"):
        jacob_cov(small(), IMAGES[:1])
    assert synflow(small(NONE), (1, 6, 6)) == -math.inf

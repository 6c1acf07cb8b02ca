"""How good may a network be, by a look at it before training? Zero-cost proxies, for `rungwise.ScreenedSearch`.

Abdelfattah, Mehrotra, Dudziak and Lane, "Zero-Cost Proxies for Lightweight NAS", ICLR 2021, sections 3.2 and 3.3, from
where both are taken as they stand there. Needs torch.
"""

from __future__ import annotations

import copy
import math

import numpy as np

from rungwise.errors import InputError

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError:
    raise ImportError("rungwise.nas.proxies needs torch: pip install 'rungwise[nas]'") from None

K = 1e-5  # keeps logarithm and inverse of an eigenvalue finite: Mellor et al., arXiv 2006.04647v1, equation 2


def synflow(model: nn.Module, shape: tuple[int, ...]) -> float:
    """SynFlow: the log of the sum of |θ ∂R/∂θ| over the weights of convolutions and linear layers.

    R is the sum of the outputs for an input of ones, of `shape` (without the batch dimension), with all parameters made
    positive and without batch normalization: how much flows along the paths from input to output. It needs no data, and
    the only randomness is that of the initial weights. (Tanaka, Kunin, Yamins and Ganguli, NeurIPS 2020, equation 3;
    without normalization, as in the second paper.) The model is not changed. -inf if nothing flows.

    >>> from torch import nn
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, -0.5)
    >>> synflow(layer, (2,))
    0.0
    """
    own = copy.deepcopy(model).double().eval()
    for module in own.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(lambda module, given, output: given[0])
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.abs_()
    own(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
    layers = (layer for layer in own.modules() if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)))
    flow = sum((layer.weight * layer.weight.grad).sum().item() for layer in layers if layer.weight.grad is not None)
    return math.log(flow) if flow > 0 else -math.inf


def jacob_cov(model: nn.Module, inputs: Tensor) -> float:
    """How differently the model responds to changes in different `inputs`; higher is more.

    It is -Σ log(λ + k) + 1 / (λ + k), with λ the eigenvalues of the correlations between the rows of J, and row i of J
    the gradient of the summed outputs with respect to input i. (Mellor, Turner, Storkey and Crowley, "Neural
    Architecture Search without Training", first version of 2020, section 3.) Batch normalization is in training mode.
    The model is not changed. -inf if the gradient for some input is constant. Raises `InputError` for fewer than 2
    inputs.
    """
    if len(inputs) < 2:
        raise InputError("jacob_cov compares inputs; give it 2 or more")
    own = copy.deepcopy(model).train()
    given = inputs.detach().clone().requires_grad_()
    (gradients,) = torch.autograd.grad(own(given).sum(), given, allow_unused=True, materialize_grads=True)
    rows = gradients.flatten(1).double().numpy()
    if not np.isfinite(rows).all() or (rows.std(axis=1) == 0).any():
        return -math.inf
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows)).clip(min=0)  # below 0 by rounding only
    return -float(np.sum(np.log(eigenvalues + K) + 1 / (eigenvalues + K)))

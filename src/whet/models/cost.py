"""What a network costs and how far it sees, measured by running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Cost", "measure"]


@dataclass(frozen=True)
class Cost:
    """Attributes:
    parameters: number of weights and biases.
    kmac_per_px: multiply-accumulates of convolutions per input pixel, in thousands.
    receptive_field_px: side of the square of input pixels that one output pixel may depend on.
    """

    parameters: int
    kmac_per_px: float
    receptive_field_px: int


def measure(network: nn.Module, size: int = 512, multiple: int = 1) -> Cost:
    """Measure ``network`` on one ``size x size`` image.

    The receptive field is the extent of non-zero input gradients, seen from a
    whole block of output pixels' worst member, with every weight made positive
    so that no path cancels another.

    Args:
        network: float32 NCHW in [0, 1] in and out; it is changed, pass a copy.
        size: side of the probe image; must exceed the receptive field by a good margin.
        multiple: the network's size multiple; pixels see differently far within it.
    """
    macs = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d)
        macs += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    network.eval()
    probe = torch.full((1, 3, size, size), 0.5)
    with torch.no_grad():
        network(probe)
    for hook in hooks:
        hook.remove()
    return Cost(
        parameters=sum(p.numel() for p in network.parameters()),
        kmac_per_px=macs / size**2 / 1000,
        receptive_field_px=_receptive_field(network, size, multiple),
    )


def _receptive_field(network: nn.Module, size: int, multiple: int) -> int:
    # What a look finds reaches everywhere, by way of the code; tiles are told it.
    restore = getattr(network, "forward_told_nothing", network)
    with torch.no_grad():
        for parameter in network.parameters():
            # Small and positive: activations stay finite, ReLUs stay open, no path cancels.
            parameter.copy_(torch.full_like(parameter, 1.0 / max(1, parameter[0].numel())))
    reach = 0
    # How far a pixel sees depends on where it lies in its block: take the widest.
    for offset in range(0, multiple, 4):
        probe = torch.full((1, 3, size, size), 0.5, requires_grad=True)
        centre = size // 2 + offset
        residual = restore(probe) - probe
        (gradient,) = torch.autograd.grad(residual[0, :, centre, centre].sum(), probe)
        touched = gradient[0].abs().sum(0).sum(0).nonzero()
        reach = max(reach, int(touched.max() - touched.min()) + 1)
    return reach

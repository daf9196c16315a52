"""MAXIM-3S, the teacher whose public weights restore GoPro motion blur.

Architecture: Tu et al., "MAXIM: Multi-Axis MLP for Image Processing", CVPR 2022
(the authors' JAX original is Apache-2.0, Google LLC; see NOTICE). This is our
own PyTorch implementation. Submodules carry the Flax names of the original, so
a state dict keyed by Flax paths loads without a table of renames.

The network is strong on blur averaged in sRGB, as GoPro's ``blur`` frames are,
and weak on blur averaged in linear light. It is not an identity on sharp input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whet.errors import InputError
from whet.models.checkpoints import load_state, load_strict
from whet.models.teachers.maxim_axes import Conv, cells_at
from whet.models.teachers.maxim_blocks import (
    LEVELS,
    WIDTH,
    Bottleneck,
    CrossGating,
    Decoder,
    Encoder,
    Resize,
    SupervisedAttention,
)

__all__ = ["VARIANTS", "Maxim", "load_teacher"]

Variant = Literal["gopro", "sidd"]

VARIANTS: dict[Variant, str] = {"gopro": "maxim-gopro", "sidd": "maxim-sidd"}
"""Variant -> name under which ``whet data fetch`` knows its public weights."""

STAGES = 3
BOTTLENECKS = 2
MULTIPLE = 64
"""Sides are padded to this: three halvings, then cells of 8 x 8."""
SMALLEST = 16


class Maxim(nn.Module):
    """MAXIM-3S: float32 NCHW RGB in [0, 1], any size from 16 x 16 -> the same shape, unclamped."""

    def __init__(self) -> None:
        super().__init__()
        for stage in range(STAGES):
            self._add_stage(stage)

    def _add_stage(self, stage: int) -> None:
        prefix, later, last = f"stage_{stage}_", stage > 0, stage == STAGES - 1
        widths = [WIDTH << level for level in range(LEVELS)]
        for level, (below, width) in enumerate(zip([WIDTH, *widths], widths, strict=False)):
            cells = cells_at(level)
            above = widths[min(level + 1, LEVELS - 1)]
            self.add_module(f"{prefix}input_conv_{level}", Conv(3, width, 3))
            if later:
                self.add_module(f"{prefix}input_fuse_sam_{level}", CrossGating(width, cells, width))
            self.add_module(
                f"{prefix}encoder_block_{level}", Encoder(level, below + width, gated=later)
            )
            self.add_module(
                f"{prefix}cross_gating_block_{level}", CrossGating(width, cells, 3 * width, above)
            )
            self.add_module(f"{prefix}decoder_block_{level}", Decoder(level, above))
            if not last:
                self.add_module(
                    f"{prefix}supervised_attention_module_{level}", SupervisedAttention(width)
                )
        for block in range(BOTTLENECKS):
            self.add_module(f"{prefix}global_block_{block}", Bottleneck(widths[-1]))
        if last:
            self.add_module(f"{prefix}output_conv_0", Conv(WIDTH, 3, 3))
        for number, (source, target) in enumerate(_resizes()):
            self.add_module(
                f"UpSampleRatio_{18 * stage + number}",
                Resize(widths[source], widths[target], 2.0 ** (source - target)),
            )

    def forward(self, degraded: Tensor) -> Tensor:
        """Restore (N, 3, H, W); height and width of at least 16 pixels.

        Memory grows with the area, about 7 kB per pixel of a batch: larger
        pictures than 512 x 512 are for :meth:`restore_tiled`.

        Raises:
            InputError: the picture is too small.
        """
        padded, (top, left) = _pad(degraded)
        height, width = degraded.shape[-2:]
        # Autocast is refused: half precision gains little here and loses the residual's last bits.
        with torch.autocast(degraded.device.type, enabled=False):
            restored = self._restore(padded.permute(0, 2, 3, 1).contiguous())
        return restored.permute(0, 3, 1, 2)[
            ..., top : top + height, left : left + width
        ].contiguous()

    def restore_tiled(self, degraded: Tensor, tile: int = 384, overlap: int = 96) -> Tensor:
        """Restore a picture of any size in overlapping square tiles, blended by linear ramps.

        Not equal to :meth:`forward` on the whole, as the grid spans a tile, but
        bounded in memory. Tiles below 256 with less overlap show as blocks.

        Args:
            degraded: (N, 3, H, W), float32, RGB in [0, 1].
            tile: side of the tiles in pixels, at least 64.
            overlap: pixels that neighbours share at least, at most half a tile.

        Raises:
            InputError: ``tile`` or ``overlap`` is out of range.
        """
        if tile < MULTIPLE or not 0 < overlap <= tile // 2:
            raise InputError(
                f"a tile of {tile} with an overlap of {overlap} pixels cannot be used; choose a "
                f"tile of at least {MULTIPLE} and an overlap of 1 to {tile // 2}"
            )
        height, width = degraded.shape[-2:]
        total = torch.zeros_like(degraded)
        weight = degraded.new_zeros(height, width)
        rows, columns = _ramp(min(tile, height), overlap), _ramp(min(tile, width), overlap)
        window = (rows[:, None] * columns).to(degraded)
        for top in _starts(height, tile, overlap):
            for left in _starts(width, tile, overlap):
                here = (..., slice(top, top + tile), slice(left, left + tile))
                total[here] += self(degraded[here]) * window
                weight[here] += window
        return total / weight

    def _restore(self, x: Tensor) -> Tensor:
        """Restore NHWC whose sides are multiples of :data:`MULTIPLE`."""
        # Half-pixel nearest neighbours, as the original shrinks its inputs.
        pictures = [x, x[:, 1::2, 1::2].contiguous(), x[:, 2::4, 2::4].contiguous()]
        attended: Sequence[Tensor] = ()
        previous: Sequence[Tensor] = ()
        decoded: Sequence[Tensor] = ()
        for stage in range(STAGES):
            encoded, decoded = self._stage(stage, pictures, attended, previous)
            if stage < STAGES - 1:
                attended = [
                    self._part(stage, "supervised_attention_module", i)(decoded[i], pictures[i])
                    for i in range(LEVELS)
                ]
                previous = [a + b for a, b in zip(encoded, decoded, strict=True)]
        residual: Tensor = self._part(STAGES - 1, "output_conv", 0)(decoded[0])
        return residual + x

    def _part(self, stage: int, kind: str, number: int) -> nn.Module:
        return self.get_submodule(f"stage_{stage}_{kind}_{number}")

    def _gather(self, number: int, features: Sequence[Tensor]) -> list[Tensor]:
        """Resize the features of every level with three consecutive resizers."""
        return [
            self.get_submodule(f"UpSampleRatio_{number + j}")(x) for j, x in enumerate(features)
        ]

    def _stage(
        self,
        stage: int,
        pictures: Sequence[Tensor],
        attended: Sequence[Tensor],
        previous: Sequence[Tensor],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return what the encoders and the decoders see, by level.

        ``attended`` and ``previous`` come from the stage before and are empty
        in the first: supervised-attention features, and encoder plus decoder.
        """
        scaled = [self._part(stage, "input_conv", i)(pictures[i]) for i in range(LEVELS)]
        if stage > 0:
            scaled = [
                self._part(stage, "input_fuse_sam", i)(scaled[i], attended[i])[0]
                for i in range(LEVELS)
            ]
        encoded: list[Tensor] = []
        x = scaled[0]
        for i in range(LEVELS):
            joined = torch.cat((x, scaled[i]), dim=-1)
            features, x = self._part(stage, "encoder_block", i)(
                joined, previous[i] if previous else None
            )
            encoded.append(features)
        for block in range(BOTTLENECKS):
            x = self._part(stage, "global_block", block)(x)

        number = 18 * stage
        skips: list[Tensor] = []  # from the deepest level up, as the resizers are numbered
        guide = x
        for i in reversed(range(LEVELS)):
            signal = torch.cat(self._gather(number, encoded), dim=-1)
            skip, guide = self._part(stage, "cross_gating_block", i)(signal, guide)
            skips.append(skip)
            number += LEVELS
        decoded: list[Tensor] = []
        for i in reversed(range(LEVELS)):
            x = self._part(stage, "decoder_block", i)(x, self._gather(number, skips))
            decoded.append(x)
            number += LEVELS
        return encoded, decoded[::-1]


def _resizes() -> list[tuple[int, int]]:
    """(source level, target level) of a stage's 18 resizers, in the order of their numbers."""
    downwards = range(LEVELS)
    upwards = downwards[::-1]
    return [(j, i) for i in upwards for j in downwards] + [(j, i) for i in upwards for j in upwards]


def _pad(x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Centre NCHW in sides that are multiples of :data:`MULTIPLE`; return it with (top, left)."""
    height, width = x.shape[-2:]
    if min(height, width) < SMALLEST:
        raise InputError(
            f"MAXIM needs pictures of at least 16 x 16 pixels, not {width} x {height}; enlarge it"
        )
    top, left = (-height % MULTIPLE) // 2, (-width % MULTIPLE) // 2
    bottom, right = -height % MULTIPLE - top, -width % MULTIPLE - left
    # A reflection needs more pixels than it adds; the edge is repeated otherwise.
    for pad, longest, side in (
        ((left, right, 0, 0), right, width),
        ((0, 0, top, bottom), bottom, height),
    ):
        if longest:
            x = F.pad(x, pad, mode="reflect" if longest < side else "replicate")
    return x, (top, left)


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: evenly spread, sharing at least ``overlap`` pixels."""
    if side <= tile:
        return [0]
    steps = math.ceil((side - tile) / (tile - overlap))
    return [round(step * (side - tile) / steps) for step in range(steps + 1)]


def _ramp(length: int, overlap: int) -> Tensor:
    """Weights along a tile: 1 inside, falling linearly over ``overlap`` pixels at both ends."""
    nearest_end = torch.arange(1, length + 1).minimum(torch.arange(length, 0, -1))
    return (nearest_end / (overlap + 1)).clamp(max=1.0)


def load_teacher(weights: Path | None, variant: Variant = "gopro") -> Maxim:
    """Return MAXIM-3S, frozen, in eval mode and float32.

    Args:
        weights: safetensors file keyed by Flax paths, in any float type; None
            means the public weights that ``whet data fetch`` has cached.
        variant: which of those, a key of :data:`VARIANTS`: ``gopro`` removes
            motion blur, ``sidd`` phone-camera noise.

    Raises:
        InputError: there is no such variant.
        ModelError: the weights are missing, unreadable or do not fit.
    """
    if variant not in VARIANTS:
        raise InputError(f"MAXIM has no variant {variant!r}; choose one of: {', '.join(VARIANTS)}")
    if weights is None:
        from whet.fetch.weights import fetched

        weights = fetched(VARIANTS[variant])
    teacher = Maxim()
    load_strict(teacher, load_state(weights), str(weights))
    return teacher.eval().requires_grad_(False)

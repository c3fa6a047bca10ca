"""Where to compute: devices that torch can use."""

from __future__ import annotations

import torch

from kraft.core.errors import OptionError


def check_device(device: str) -> None:
    """Raise OptionError unless torch can compute on this device."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise OptionError(f"Unknown device {device!r}; choose cpu, cuda or cuda:0.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            "Device cuda was asked for, but torch finds no usable GPU. Install a CUDA build of "
            "torch, or choose --device cpu."
        )

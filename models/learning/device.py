"""Where tensors live: the device that is asked for, or the best one there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: `auto` (an accelerator where there is one, else the CPU), `cpu`, `cuda` or `cuda:<n>`.

    Raises:
        ValueError: The name is none of these, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"the device must be auto, cpu, cuda or cuda:<n> (got {name!r})")
    found = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        raise ValueError(
            f"device {name!r} was asked for, but torch {torch.__version__} finds {found} CUDA "
            "devices here; use auto or cpu, or install a torch build for the machine's GPU"
        )
    return device


def held_gigabytes(device: torch.device) -> float:
    """The memory that is held right now, in GB: tensors on an accelerator, on a CPU the process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 1e9
    return float(psutil.Process().memory_info().rss) / 1e9


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works in one thread within, so that sums come in the same order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

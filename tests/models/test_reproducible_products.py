"""Importing `models` puts oneMKL into its reproducible mode."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch without oneMKL")
@pytest.mark.parametrize(
    ("own", "mode"), [({}, "AUTO"), ({"MKL_CBWR": "COMPATIBLE"}, "COMPATIBLE")]
)
def test_products_are_reproducible_and_the_users_choice_is_kept(own: dict[str, str], mode: str):
    program = "import torch, models; torch.ones(64, 64) @ torch.ones(64, 64)"
    inherited = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=inherited | {"MKL_VERBOSE": "1"} | own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"CNR:{mode}" in done.stdout

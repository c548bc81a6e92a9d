from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.relatron.probes import GAINS, PROBES, probe_signals
from tests.models.relatron.planted_task import QUICK, by_name, inputs_of, planted, shuffled

CONFIG = replace(QUICK, probe_channels=16, probe_fan_outs=(8, 2))

CERTAIN = ("probe_depth_1", "probe_depth_2", "probe_networks", "probe_together")


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    # What activities' columns say is all there is to be known.
    made = planted(interaction=0.0, noise=0.1, degree=4)
    return inputs_of(made, tmp_path_factory.mktemp("probes"), features=True)


def test_probes_find_what_columns_say_and_nothing_in_shuffled_labels(inputs):
    found = by_name(probe_signals(inputs, CONFIG, quiet))
    lost = by_name(probe_signals(shuffled(inputs), CONFIG, quiet))
    assert found.keys() == {f"{n}_{p}" for n in (*PROBES, *GAINS) for p in ("frozen", "rolling")}
    for name in PROBES:
        one = found[f"{name}_rolling"]
        sure = 3 if name in CERTAIN else 1
        assert one.value > sure * one.error
        assert abs(lost[f"{name}_rolling"].value) < 3 * lost[f"{name}_rolling"].error
    difference = found["probe_depth_2_rolling"].value - found["probe_depth_1_rolling"].value
    assert found["gain_depth_rolling"].value == pytest.approx(difference)
    # Paired: both are measured on the same rows.
    assert found["gain_depth_rolling"].error < found["probe_depth_1_rolling"].error


def test_without_features_networks_alone_are_probed(inputs):
    said: list[str] = []
    found = by_name(probe_signals(replace(inputs, features=None), CONFIG, said.append))
    assert np.isnan(found["probe_depth_1_rolling"].value)
    assert np.isnan(found["gain_network_rolling"].value)
    assert np.isfinite(found["probe_networks_rolling"].value)
    assert any("no DFS features" in line for line in said)


def test_without_validation_rows_there_is_nothing_to_score(inputs):
    table = inputs.training_table.filter(inputs.training_table["split"] == "train")
    found = probe_signals(replace(inputs, training_table=table), CONFIG, quiet)
    assert all(np.isnan(one.value) for one in found)

"""What Dagster's UI shows of the demo: groups in order, descriptions, keys, jobs, schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.pretraining import OBJECTIVES
from assets.workplace import STAGES, as_of_fault
from models.pretraining.config import Pretext
from models.settings import Settings
from tests.end_to_end.installation import new_installation

TABLES = ("categories", "products", "campaigns", "customers", "orders", "order_items",
          "shipments", "returns", "reviews", "support_contacts")  # fmt: skip
TASKS = ("customer_churn", "customer_spend", "product_units")
KEYS = {
    "shop/database",
    *(f"shop/staging/{table}" for table in TABLES),
    *(
        f"shop/{task}/{stage}"
        for task in TASKS
        for stage in ("training_table", "features", "signals", "routing", "model", "predictions")
    ),
    *(f"shop/{table}/task_vectors" for table in ("customers", "products")),
    "shop/temporal_graph",
    *(f"shop/pretrained_encoder/{objective}" for objective in OBJECTIVES),
    "synthetic/corpus",
    "performance_bank",
}
JOBS = {
    *(f"shop__{kind}" for kind in ("pipeline", "retrain", "score")),
    *(f"shop__{task}__{kind}" for task in TASKS for kind in ("pipeline", "retrain", "score")),
    "synthetic_corpus",
    "performance_bank_edition",
}


def test_every_objective_of_the_library_has_an_asset():
    assert set(OBJECTIVES) == {str(objective) for objective in Pretext}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("catalogue")
    installation = new_installation(folder, "shop")
    empty = new_installation(folder / "empty")
    with pytest.MonkeyPatch.context() as patch:
        # Importing the module builds the definitions of the environment's installation.
        patch.setenv("RELFORGE_HOME", str(empty.home))
        patch.setenv("RELFORGE_DBT_PROJECT", str(empty.project))
        # Both, so that there is something to route; other tests leave the networks out.
        patch.setenv("RELFORGE_FAMILIES", "lightgbm,rdl")
        return installation.definitions()


def specs(definitions: Any) -> list[Any]:
    return list(definitions.resolve_all_asset_specs())


def test_the_demos_assets_are_these(shop: Any):
    assert {"/".join(spec.key.path) for spec in specs(shop)} == KEYS


def test_every_asset_has_a_description_and_kinds(shop: Any):
    for spec in specs(shop):
        assert len(spec.description or "") > 20, spec.key
        assert spec.kinds, spec.key


def test_groups_sort_in_the_order_of_the_pipeline(shop: Any):
    groups = sorted({spec.group_name for spec in specs(shop)})
    stages = [f"shop_{number:02}_{stage}" for number, stage in enumerate(STAGES, start=1)]
    assert groups == ["performance_bank", *stages, "synthetic_corpus"]
    order = {spec.key: groups.index(spec.group_name) for spec in specs(shop)}
    for spec in specs(shop):
        for dependency in spec.deps:
            assert order[dependency.asset_key] < order[spec.key]


def test_the_demos_jobs_and_schedules_are_these(shop: Any):
    jobs = {job.name for job in shop.resolve_all_job_defs()} - {"__ASSET_JOB"}
    assert jobs == JOBS
    schedules = {schedule.name for schedule in shop.schedules}
    assert schedules == {f"shop__{task}__newest_as_of" for task in TASKS}


def test_every_check_that_stops_a_run_is_declared_blocking(shop: Any):
    checks = [spec for gate in shop.asset_checks for spec in gate.check_specs]
    assert {spec.name for spec in checks if not spec.blocking} == {
        "constant_columns", "class_rate", "label_drift"
    }  # fmt: skip
    checked = {"/".join(spec.asset_key.path) for spec in checks}
    assert checked == {
        key
        for key in KEYS
        if key == "shop/database" or "/staging/" in key or key.endswith("training_table")
    }
    assert all(spec.description for spec in checks)


def test_a_date_is_valid_from_the_first_event_to_today(shop: Any, tmp_path: Path):
    from models.database.dbt import load_manifest
    from models.database.manifest import read_databases

    installation = new_installation(tmp_path, "shop")
    settings = Settings(installation.home, installation.project)
    manifest = load_manifest(settings.dbt_project, settings.home / "dbt")
    schema = read_databases(manifest)["shop"].checked()
    assert as_of_fault(schema, "2021-01-01") == ""
    for wrong in ("2020-12-31", "2999-01-01", "2021-1-1", "2021-02-30", "yesterday", ""):
        assert f"as_of {wrong!r} is no date of database 'shop'" in as_of_fault(schema, wrong)

"""From a Postgres server to predictions: import, review, declare a task, run."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.synthetic.shop import ShopConfig, generate_shop
from tests.end_to_end.installation import Installation, new_installation
from tests.postgres_server import PostgresServer
from tests.postgres_server import postgres_server as postgres_server

pytestmark = pytest.mark.end_to_end

TABLES = {
    "customers": "customer_id bigint primary key, signed_up_at timestamptz not null, region text",
    "orders": "order_id bigint primary key, ordered_at timestamptz not null, channel text, "
    "customer_id bigint not null references customers",
    # No declared keys: these are proposed.
    "reviews": "review_id bigint not null, customer_id bigint, reviewed_at timestamp, rating int",
}
TASK_SQL = """
{% set population %}
select t.timestamp, c.customer_id from timestamps t join customers c on c.signed_up_at <= t.timestamp
{% endset %}
{% call training_table(reads=['retail__customers', 'retail__orders'], population=population) %}
select p.timestamp, p.customer_id, cast(count(o.order_id) = 0 as integer) as churned
from population p left join orders o on o.customer_id = p.customer_id
    and o.ordered_at > p.timestamp and o.ordered_at <= p.timestamp + interval '{{ window() }}'
group by all
{% endcall %}
"""
TASK_YAML = """
version: 2
models:
  - name: retail__churn
    description: No order in the next 30 days.
    config: {meta: {relforge: {task: {
      entity_table: retail__customers, entity_column: customer_id, label_column: churned,
      type: binary_classification, window: 30 days, validation_span: 60 days,
      evaluation_cutoffs: 2}}}}
"""


def load(server: PostgresServer) -> None:
    psycopg2: Any = pytest.importorskip("psycopg2")
    shop = generate_shop(ShopConfig(customers=150, days=400, products=30))
    server.execute("create database retail")
    with contextlib.closing(
        psycopg2.connect(
            host="127.0.0.1",
            port=server.port,
            user=server.user,
            password=server.password,
            dbname="retail",
        )
    ) as connection:
        cursor = connection.cursor()
        for table, definition in TABLES.items():
            cursor.execute(f"create table {table} ({definition})")
            names = [part.split()[0] for part in definition.split(", ")]
            rows = io.StringIO(shop[table].select(names).write_csv(include_header=False))
            cursor.copy_expert(f"copy {table} ({', '.join(names)}) from stdin csv", rows)
        connection.commit()


@pytest.fixture(scope="module")
def installation(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    load(postgres_server)
    return new_installation(tmp_path_factory.mktemp("postgres"))


def run(
    installation: Installation, server: PostgresServer, password: str, *arguments: object
) -> Any:
    source = server.url("retail")
    module = ("orchestration.run", "--source", source, *arguments)
    return installation.start_module(*module, PGPASSWORD=password).finish()


def test_a_postgres_database_is_imported_reviewed_and_predicted_from(
    installation: Installation, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    refused = run(installation, postgres_server, "wrong")
    assert refused.returncode == 2
    assert "PGPASSWORD" in refused.stdout
    assert not (installation.project / "models" / "retail").exists()

    imported = run(installation, postgres_server, postgres_server.password)
    assert imported.returncode == 0, imported.stdout
    assert "no task" in imported.stdout
    folder = installation.project / "models" / "retail"
    assert "reviews" in (folder / "REVIEW.md").read_text()
    written = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert postgres_server.password not in written

    (folder / "tasks").mkdir()
    (folder / "tasks" / "retail__churn.sql").write_text(TASK_SQL)
    (folder / "tasks" / "retail__churn.yml").write_text(TASK_YAML)
    done = run(installation, postgres_server, postgres_server.password, "--output", tmp_path)
    assert done.returncode == 0, done.stdout
    predictions = pl.read_parquet(tmp_path / "retail" / "churn" / "predictions.parquet")
    customers = generate_shop(ShopConfig(customers=150, days=400, products=30))["customers"]
    assert set(predictions["entity"]) <= set(customers["customer_id"])
    assert predictions["prediction"].is_between(0, 1).all()
    # No date was given, so it is that of the newest row: nothing after it is known.
    assert "the future is not known yet" in done.stdout
    assert predictions["cutoff_time"].n_unique() == 1


def test_a_new_row_in_postgres_is_noticed_by_the_next_run(
    installation: Installation, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    arguments = ("--output", tmp_path)
    run(installation, postgres_server, postgres_server.password, *arguments)
    again = run(installation, postgres_server, postgres_server.password, *arguments)
    assert " 0 computed" in again.stdout, again.stdout
    postgres_server.execute(
        "insert into orders values (999999, '2021-12-31 10:00+00', 'web', 1)", "retail"
    )
    changed = run(installation, postgres_server, postgres_server.password, *arguments)
    assert changed.returncode == 0, changed.stdout
    assert "computed" in changed.stdout
    assert " 0 computed" not in changed.stdout

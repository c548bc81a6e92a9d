"""getML's FastProp on its own engine, one thread.

The engine's features come without a target in mind (an arbitrary one is made up): as many as the
aggregates and columns give. `fit` enumerates, computes and ranks them; `transform` computes them
for all rows. Both are reported.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import getml  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import psutil  # noqa: E402

from benchmarks.case import (  # noqa: E402
    Case,
    CaseTable,
    Measurement,
    Request,
    Step,
    write_measurements,
)
from benchmarks.metering import Meter  # noqa: E402

getml.utilities.progress.FORCE_TEXTUAL_OUTPUT = True
NAMES = {"mean": "AVG", "std": "STDDEV"}


@contextmanager
def engine(home: str) -> Iterator[None]:
    """A running engine whose files lie in `home`."""
    getml.engine.launch(home_directory=home, quiet=True, launch_browser=False)
    try:
        getml.engine.set_project("benchmark")
        yield
    finally:
        getml.engine.shutdown()


def engine_processes(home: str) -> list[int]:
    """The ids of the processes that the engine consists of: it detaches itself from this one."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if home in " ".join(process.info["cmdline"] or []):
            found += [process.pid, *(child.pid for child in process.children(recursive=True))]
    return sorted(set(found) - {psutil.Process().pid})


def peripheral(table: CaseTable) -> Any:
    """A table in the engine, with the same roles of columns."""
    keys = [table.primary_key, *(key for key, _ in table.foreign_keys)]
    frame = pd.read_parquet(table.file)
    for key in keys:
        frame[key] = frame[key].astype("int64").astype(str)
    for name in table.categorical:
        frame[name] = frame[name].fillna("").astype(str)
    roles = getml.data.Roles(
        join_key=keys,
        time_stamp=[table.time_column] if table.time_column is not None else [],
        numerical=list(table.numerical),
        categorical=list(table.categorical),
    )
    return getml.data.DataFrame.from_pandas(frame, table.name, roles)


def data_model(
    case: Case, paths: tuple[tuple[Step, ...], ...], population: Any, tables: Any
) -> Any:
    """The joins of every schema path, each with an instance of its table.

    Raises:
        NotImplementedError: A path goes down to children twice. The engine bounds the second
            step's rows by the time of the first step's, which is another feature.
    """
    model = getml.data.DataModel(population.to_placeholder("population"))
    key = case.table(case.entity_table).primary_key
    to_one = getml.data.relationship.many_to_one
    entity = tables[case.entity_table].to_placeholder(case.entity_table)
    model.population.join(entity, on=key, relationship=to_one)
    placed: dict[tuple[Step, ...], Any] = {(): model.population}
    for path in paths:
        step, parent = path[-1], placed[path[:-1]]
        if step.forward:
            child = tables[step.parent].to_placeholder(step.parent)
            parent.join(child, on=(step.column, primary(case, step.parent)), relationship=to_one)
        elif len(path) == 1:
            child = tables[step.table].to_placeholder(step.table)
            at = case.table(step.table).time_column
            parent.join(
                child, on=(key, step.column), time_stamps=("cutoff_time", at) if at else None
            )
        else:
            raise NotImplementedError("nested aggregates see other rows there")
        placed[path] = child
    return model


def primary(case: Case, table: str) -> str:
    """The primary key's name."""
    return case.table(table).primary_key


def run(request: Request) -> list[Measurement]:
    """Compute, write and measure."""
    case = request.case
    key = primary(case, case.entity_table)
    others = lambda: engine_processes(request.home)  # noqa: E731
    with engine(request.home):
        with Meter(others) as setup:
            rows = pd.read_parquet(case.seeds)
            wanted = rows.assign(
                target=np.random.default_rng(0).random(len(rows)),
                **{key: rows["entity"].astype("int64").astype(str)},
            )[[key, "cutoff_time", "target"]]
            roles = getml.data.Roles(join_key=[key], time_stamp=["cutoff_time"], target=["target"])
            population = getml.data.DataFrame.from_pandas(wanted, "population", roles)
            tables = {table.name: peripheral(table) for table in case.tables}
        container = getml.data.Container(train=population)
        container.add(**tables)
        aggregates = [
            getattr(getml.feature_learning.aggregations, NAMES.get(name, name).upper())
            for name in request.primitives or ()
        ]
        learner = getml.feature_learning.FastProp(
            aggregation=aggregates,
            num_features=100_000,
            num_threads=1,
            sampling_factor=0.0,
            loss_function=getml.feature_learning.loss_functions.SquareLoss,
        )
        model = data_model(case, request.paths, population, tables)
        pipeline = getml.Pipeline(data_model=model, feature_learners=[learner])
        with Meter(others) as fit:
            pipeline.fit(container.train, check=False)
        with Meter(others) as transform:
            values = pipeline.transform(container.train)
        sql = {feature.name: feature.sql for feature in pipeline.features}
        names = pipeline.features.names
    known = [name_here(request, sql.get(name, name)) or name for name in names]
    columns = {name: values[:, at] for at, name in enumerate(known)}
    pd.DataFrame({"row_id": rows["row_id"], **columns}).to_parquet(request.result)
    label = f"getml {version('getml')} FastProp"
    figures = (len(rows), rows["cutoff_time"].nunique(), values.shape[1])
    peak = max(fit.peak_mb, transform.peak_mb)
    both = (fit.wall_s + transform.wall_s, fit.cpu_s + transform.cpu_s)
    return [
        Measurement(f"{label}, fit + transform", *figures, *both, setup.cpu_s, peak),
        Measurement(
            f"{label}, transform only",
            *figures,
            transform.wall_s,
            transform.cpu_s,
            setup.cpu_s,
            transform.peak_mb,
        ),
    ]


def name_here(request: Request, sql: str) -> str | None:
    """This project's name of a feature, None where there is none or it isn't certain.

    The engine's SQL names the table, but of a joined parent only the column. Its STDDEV is the
    population's and its MODE reads numbers, so these have no name here.
    """
    case = request.case
    found = re.search(r'SELECT (\w+)\( (\*|t2\."[^"]+") \).*?JOIN "(\w+)__STAGING', sql, re.DOTALL)
    if found is None:
        column = sql.rpartition("__")[2]
        return column if column in case.table(case.entity_table).numerical else None
    aggregate, read, child = found[1], found[2], found[3].lower()
    if aggregate == "COUNT" and read == "*":
        return f"COUNT({child})"
    aggregate = {"AVG": "MEAN"}.get(aggregate, aggregate)
    joined, column = "__" in read, read.removeprefix('t2."').rstrip('"').rpartition("__")[2]
    candidates = [
        f"{aggregate}({'.'.join([child, *(step.parent for step in path[1:]), name])})"
        for path in request.paths
        if not path[0].forward and path[0].table == child and joined == (len(path) > 1)
        for name in case.table(path[-1].parent if joined else child).numerical
        if name.lower() == column
    ]
    certain = aggregate in ("MEAN", "MIN", "MAX") and len(candidates) == 1
    return candidates[0] if certain else None


if __name__ == "__main__":
    answer = run(Request.read(Path(sys.argv[1])))
    write_measurements(Path(sys.argv[2]), answer)

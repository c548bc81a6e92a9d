"""Where studies live: a database, or a journal file of a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

JOURNAL = "studies.journal"
SQLITE_SECONDS = 60
"""How long a transaction waits for those of other processes."""


def open_storage(place: str | Path) -> BaseStorage:
    """The storage at a URL (`sqlite:///...`, `postgresql://...`), or in a folder's journal file.

    Raises:
        ModuleNotFoundError: The driver of the database is not installed.
    """
    if "://" not in str(place):
        Path(place).mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(Path(place) / JOURNAL)))
    url = str(place)
    if not url.startswith("sqlite"):
        # Which driver goes without saying depends on SQLAlchemy's version.
        return _reached(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    file = Path(url.split("///", 1)[-1])
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create the tables of one file at a time disturb each other.
    with FileLock(f"{file}.lock"):
        storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": SQLITE_SECONDS}})
    _serialise(storage.engine)
    return storage


def _serialise(engine: sqlalchemy.Engine) -> None:
    """Every transaction of a SQLite file takes the write lock before it reads.

    SQLite knows no `for update`, by which Optuna lets one worker win a trial elsewhere: two would
    read that it is free, and both take it.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("begin immediate")

    engine.dispose()


def _reached(url: str, attempts: int = 5) -> BaseStorage:
    for attempt in range(attempts):
        try:
            return RDBStorage(url)
        except ImportError as fault:
            kind = url.split("://", 1)[0]
            raise ModuleNotFoundError(
                f"the driver of {kind} is not installed; for Postgres: pip install 'relforge[postgres]'"
            ) from fault
        except sqlalchemy.exc.SQLAlchemyError:
            if attempt == attempts - 1:
                raise
            time.sleep(1 + attempt)
    raise AssertionError("unreachable")

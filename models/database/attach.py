"""Reads any database that DuckDB can attach: Postgres, MySQL, SQLite, DuckDB, folders of files.

A database is attached read-only and read from one snapshot. Passwords come from the environment
only and appear in no object, message or file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb

from models.database.profile import TableProfile, parquet_relation, profile_table
from models.database.quoting import literal, quote
from models.database.schema import SourceDeclaration
from models.database.semantic_types import staged_expression
from models.database.text import (
    DRIVER_OPTIONS,
    PASSWORD_VARIABLE,
    DeclaredKeys,
    Location,
    SourceError,
    escaped,
    folder_tables,
    group_keys,
    keys_query,
    read_location,
    redact,
    tables_query,
)

__all__ = ["AttachedDatabase", "DeclaredKeys", "SourceError", "open_source", "parse_location"]

CONNECT_SECONDS = 5
_SNAPSHOT = "BEGIN TRANSACTION READ ONLY"
_DEFAULT_PORT = {"postgres": "5432", "mysql": "3306"}
_DEFAULT_SCHEMA = {"postgres": "public", "sqlite": "main", "duckdb": "main"}
# MySQL would group and sort text by its collation, in which 'a' equals 'A'.
_MYSQL_SETTINGS = {
    "mysql_aggregate_pushdown_enabled": "false",
    "mysql_order_pushdown_enabled": "false",
    "mysql_incomplete_dates_as_nulls": "true",
    "mysql_session_time_zone": "+00:00",
}
_PROBLEMS = (
    (r"database .* does not exist|Unknown database", "the server has no such database"),
    (r"Access denied .* to database", "the server has no such database, or the user no access"),
    (r"authentication failed|Access denied|no password supplied|role .* does not exist",
     "the server refused the user or the password; check the user and set {variable}"),
    (r"no pg_hba.conf entry|SSL|certificate", "the server refused this kind of connection; "
     "see the ssl options, or ask its administrator to admit this host and user"),
    (r"timeout|timed out|refused|closed the connection|connect to server",
     "the server does not answer; check the host, the port and the network"),
    (r"set lock|database is locked", "another process writes to the file; close it or copy it"),
    (r"not a valid|not a database|malformed", "the file is damaged or of another kind"),
)  # fmt: skip


T = TypeVar("T")


def parse_location(location: str) -> SourceDeclaration:
    """The declaration of an attached database, from what a person types.

    Args:
        location: `postgresql://user@host:5432/db?schema=shop`, `mysql://...`, `sqlite:///file`,
            a path to a `.sqlite`, `.db` or `.duckdb` file or to a folder of Parquet or CSV files,
            or `env:NAME` for a URL (which may hold a password) kept in an environment variable.
            `?views=true` reads views too.

    Raises:
        SourceError: the location holds a password, or its scheme, option or file type is unknown.
    """
    location = location.strip()
    if location.startswith("env:"):
        if not location.removeprefix("env:").isidentifier():
            raise SourceError("'env:' must be followed by the name of an environment variable")
        return SourceDeclaration("attached", location)
    options = read_location(location).options
    return SourceDeclaration("attached", location, tuple(sorted(options.items())))


def open_source(source: SourceDeclaration) -> AttachedDatabase:
    """Attach the database that `source` declares.

    Raises:
        SourceError: the source cannot be reached or read; raised within seconds.
    """
    text, variable = source.location.strip(), ""
    if text.startswith("env:"):
        variable = text.removeprefix("env:")
        text = os.environ.get(variable, "").strip()
        if not text:
            raise SourceError(f"environment variable {variable} is not set; it must hold the URL")
    location = read_location(text, secret=bool(variable))
    options = {**location.options, **dict(source.options)}
    password = location.password or os.environ.get(PASSWORD_VARIABLE.get(location.kind, ""), "")
    return AttachedDatabase(source, replace(location, options=options, password=password))


class AttachedDatabase:
    """A database attached read-only to an in-memory DuckDB. Use it as a context manager.

    Columns are offered as they are staged: zoned timestamps as naive UTC, decimals as doubles,
    times and intervals as seconds, UUID, enum and JSON as text, infinite dates as null. Columns
    that have no such form (blobs, lists, structs) are left out and named in `dropped`.
    """

    def __init__(self, source: SourceDeclaration, location: Location) -> None:
        self.source = source
        self._location = location
        self._schema = location.options.get("schema", _DEFAULT_SCHEMA.get(location.kind, ""))
        if location.kind == "mysql":
            self._schema = location.database
        self._scratch = tempfile.mkdtemp(prefix="relforge-attach-")
        self._columns: dict[str, list[tuple[str, str]]] = {}
        self._keys: DeclaredKeys | None = None
        self._in_snapshot = False
        self.connection = duckdb.connect(
            config={"autoinstall_known_extensions": False, "temp_directory": self._scratch}
        )
        try:
            self.connection.execute("SET TimeZone = 'UTC'")
            self._relations = self._attach()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AttachedDatabase({self._location.label!r})"

    def close(self) -> None:
        """Detach and remove scratch files."""
        self.connection.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def table_names(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(self._relations)

    def columns(self, table: str) -> list[tuple[str, str]]:
        """Every column of a table with the type it has in the source."""
        if table not in self._columns:
            rows = self.query(f"DESCRIBE SELECT * FROM {self._relation(table)}", table)
            self._columns[table] = [(row[0], row[1]) for row in rows]
        return self._columns[table]

    def staged_columns(self, table: str) -> list[tuple[str, str]]:
        """The columns that are staged, with the type they have then."""
        rows = self.query(f"DESCRIBE SELECT * FROM {self.staged(table)}", table)
        return [(row[0], row[1]) for row in rows]

    def dropped(self, table: str) -> tuple[str, ...]:
        """A note for every column that cannot be staged."""
        return tuple(
            f"{table}.{name}: type {kind} is not supported; the column is left out"
            for name, kind in self.columns(table)
            if staged_expression(name, kind) is None
        )

    def staged(self, table: str) -> str:
        """SQL table expression with the columns as they are staged.

        Raises:
            SourceError: the table is unknown, or none of its columns can be staged.
        """
        chosen = [(name, staged_expression(name, kind)) for name, kind in self.columns(table)]
        items = ", ".join(f"{sql} AS {quote(name)}" for name, sql in chosen if sql)
        if not items:
            raise SourceError(f"table {table!r} has no column of a supported type; leave it out")
        return f"(SELECT {items} FROM {self._relation(table)})"

    def row_count(self, table: str) -> int:
        """Number of rows."""
        return int(self.query(f"SELECT count(*) FROM {self._relation(table)}", table)[0][0])

    def content_fingerprint(self, table: str) -> str:
        """Hash of a table's staged columns and rows, in one scan and whatever the row order."""
        columns = self.staged_columns(table)
        names = ", ".join(quote(name) for name, _ in columns)
        # DuckDB's hash of several columns is linear in the last one; hashing it again is not.
        rows = self.query(
            "SELECT count(*), bit_xor(h), sum(h::HUGEINT)::VARCHAR"
            f" FROM (SELECT hash(hash({names})) AS h FROM {self.staged(table)})",
            table,
        )
        content = json.dumps([columns, [str(value) for value in rows[0]]])
        return hashlib.sha256(content.encode()).hexdigest()

    def copy_to_parquet(self, table: str, path: Path) -> tuple[str, ...]:
        """Write the staged form of a table, rows ordered by primary key, else by all columns.

        Returns:
            The notes of `dropped`.

        Raises:
            SourceError: the table cannot be read; no file is left behind.
        """
        columns = [name for name, _ in self.staged_columns(table)]
        key = [name for name in self.declared_keys().primary.get(table, ()) if name in columns]
        order = ", ".join(f"{quote(name)} NULLS FIRST" for name in key or columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        copy = f"COPY (FROM {self.staged(table)} ORDER BY {order}) TO {literal(str(partial))}"
        try:
            self.query(f"{copy} (FORMAT parquet, ROW_GROUP_SIZE 122880)", table)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return self.dropped(table)

    def last_event(self, columns: Mapping[str, str | None]) -> datetime | None:
        """The latest event over the time columns given by table; None without any event."""
        latest = [
            self.query(
                f"SELECT max(TRY_CAST({quote(name)} AS TIMESTAMP)) FROM {self.staged(table)}", table
            )[0][0]
            for table, name in columns.items()
            if name
        ]
        return max((event for event in latest if event is not None), default=None)

    def profile(self, table: str) -> TableProfile:
        """Statistics of the staged columns of a table."""
        relation = self.staged(table)
        return self._guard(lambda: profile_table(relation, self.connection), table)

    def query(self, sql: str, what: str) -> list[tuple[Any, ...]]:
        """Rows of a query over `staged` tables; `what` names its subject in errors.

        Raises:
            SourceError: the query fails.
        """
        return self._guard(lambda: self.connection.execute(sql).fetchall(), what)

    def declared_keys(self) -> DeclaredKeys:
        """Primary, unique and foreign keys as the database declares them (none for files)."""
        if self._keys is None:
            query = keys_query(self._location.kind, self._schema)
            self._keys = group_keys(self.query(query, "the keys") if query else [], self._relations)
        return self._keys

    def _relation(self, table: str) -> str:
        """SQL table expression of the raw table."""
        if table not in self._relations:
            known = self.table_names()
            raise SourceError(f"{self._location.label} has no table {table!r} (has: {known})")
        if self._relations[table].lower().endswith((".csv", ".csv.gz")):
            # Types are sniffed on first use only: it reads the whole file.
            self._relations[table] = self._csv_relation(self._relations[table], table)
        return self._relations[table]

    def _csv_relation(self, path: str, table: str) -> str:
        """A read_csv call with the types of the whole file, codes such as 00123 kept as text."""
        read = f"read_csv({literal(path)}, header = true, nullstr = ['', 'NULL', '\\N']"
        rows = self.query(f"DESCRIBE SELECT * FROM {read}, sample_size = -1)", table)
        types = {row[0]: row[1] for row in rows}
        numbers = [name for name, kind in types.items() if kind in ("BIGINT", "DOUBLE")]
        if numbers:
            tests = ", ".join(f"bool_or({quote(name)} SIMILAR TO '0[0-9].*')" for name in numbers)
            padded = self.query(f"SELECT {tests} FROM {read}, all_varchar = true)", table)[0]
            types |= {name: "VARCHAR" for name, code in zip(numbers, padded, strict=True) if code}
        listed = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
        return f"{read}, types = {{{listed}}})"

    def _attach(self) -> dict[str, str]:
        """Attach the location and name its tables, each with its SQL expression or CSV path."""
        kind, path = self._location.kind, self._location.path
        if kind in PASSWORD_VARIABLE:
            _check_port(self._location)
        elif not path.exists():
            raise SourceError(
                f"{path.absolute()} does not exist (in a URL, an absolute path takes four slashes)"
            )
        if kind == "folder":
            return {
                name: parquet_relation(file) if is_parquet else str(file)
                for name, (file, is_parquet) in folder_tables(path).items()
            }
        if kind != "duckdb":
            _load_extension(self.connection, kind)
        self._connect()
        # One transaction is one snapshot: all tables are read as of the same moment.
        self.connection.execute(_SNAPSHOT)
        self._in_snapshot = True
        views = self._location.options.get("views", "").lower() in ("1", "true", "yes")
        names = self.query(tables_query(kind, self._schema, views), "the list of tables")
        found = {row[1] for row in names}
        twins = sorted(name for name in found if sum(name.lower() == n.lower() for n in found) > 1)
        if twins:
            raise SourceError(f"tables {twins} differ in upper and lower case only; rename one")
        if not found:
            raise SourceError(
                f"{self._location.label} has no tables in schema {self._schema!r}; name another "
                "with ?schema=..., or read views with ?views=true"
            )
        return {name: f"src.{quote(self._schema)}.{quote(name)}" for name in found}

    def _connect(self) -> None:
        """Run ATTACH. Server parameters travel in a secret, which DuckDB never prints."""
        at, kind = self._location, self._location.kind
        known = DRIVER_OPTIONS.get(kind, ())
        given = {key: value for key, value in at.options.items() if key in known}
        options = f"TYPE {kind}, READ_ONLY"
        name = str(at.path)
        if kind in PASSWORD_VARIABLE:
            values = {"HOST": at.host, "PORT": at.port, "DATABASE": at.database, "USER": at.user}
            values["PASSWORD"] = at.password
            listed = "".join(f", {k} {literal(v)}" for k, v in values.items() if v)
            self.query(f"CREATE TEMPORARY SECRET relforge (TYPE {kind}{listed})", "the credentials")
            if kind == "postgres":
                given = {"connect_timeout": str(CONNECT_SECONDS), **given}
                options += f", SCHEMA {literal(self._schema)}"
            else:
                self._set_up_mysql()
            name = " ".join(f"{key}='{escaped(value)}'" for key, value in given.items())
            options += ", SECRET relforge"
        self.query(f"ATTACH {literal(name)} AS src ({options})", "")

    def _set_up_mysql(self) -> None:
        """Settings of the extension; older versions lack some."""
        known = {row[0] for row in self.query("SELECT name FROM duckdb_settings()", "the settings")}
        for name, value in _MYSQL_SETTINGS.items():
            if name in known:
                self.query(f"SET {name} = {literal(value)}", "the session")

    def _guard(self, read: Callable[[], T], what: str) -> T:
        """Read; a failure becomes a SourceError that holds no secret."""
        try:
            return read()
        except duckdb.Error as error:
            problem = str(error)
            if self._in_snapshot:
                # A failed statement aborts the transaction; later reads need a new one.
                self.connection.rollback()
                self.connection.execute(_SNAPSHOT)
        # Raised outside the handler, so that no traceback carries the driver's own message.
        at = self._location
        hidden = {at.password, literal(at.password)[1:-1], escaped(at.password)}
        problem = redact(problem.split("\n\n")[0].strip(), hidden)
        advice = next((text for pattern, text in _PROBLEMS if re.search(pattern, problem)), "")
        advice = advice.format(variable=PASSWORD_VARIABLE.get(at.kind, ""))
        subject = f"cannot read {what} of {at.label}" if what else f"cannot open {at.label}"
        raise SourceError(f"{subject}: {advice + ' ' if advice else ''}({problem})")


def _check_port(at: Location) -> None:
    """Fail fast where nothing listens: a driver may wait for minutes."""
    # A path is a Unix socket, a comma separates several hosts: both are the driver's business.
    if not at.host or at.host.startswith("/") or "," in at.host:
        return
    address = (at.host, int(at.port or _DEFAULT_PORT[at.kind]))
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise SourceError(
            f"cannot open {at.label}: nothing answers at {address[0]}:{address[1]} "
            f"({error.strerror or error}); check the host, the port and the network"
        ) from None


def _load_extension(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Load DuckDB's scanner from its wheel, so that nothing is downloaded at run time."""
    package = f"duckdb_extension_{kind}_scanner"
    spec = importlib.util.find_spec(package)
    folder = Path(next(iter(spec.submodule_search_locations or []), "")) if spec else Path()
    version = f"v{duckdb.__version__}"
    file = folder / "extensions" / version / f"{kind}_scanner.duckdb_extension"
    try:
        connection.execute(f"LOAD {literal(str(file)) if file.is_file() else kind + '_scanner'}")
    except duckdb.Error as error:
        raise SourceError(
            f"DuckDB {duckdb.__version__} has no {kind} extension; run `pip install "
            f"'relforge[attach]' '{package.replace('_', '-')}=={duckdb.__version__}'` ({error})"
        ) from None

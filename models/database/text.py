"""Text that people and databases hand over: locations, catalogue queries, identifiers, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from models.database.quoting import literal
from models.database.schema import ForeignKey

# Prefixes that warehouses put before a table's noun; they never appear in a key's name.
_TABLE_PREFIXES = {"dim", "fact", "fct", "tbl", "stg", "src", "raw", "vw", "mart"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_IRREGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman"}
_SCHEMES = {name: name for name in ("postgres", "mysql", "sqlite", "duckdb")}
_SCHEMES |= {"postgresql": "postgres", "mariadb": "mysql"}
_SUFFIXES = {".duckdb": "duckdb", ".ddb": "duckdb", ".sqlite": "sqlite", ".sqlite3": "sqlite"}
# What the drivers may be told beside host, user and database. No option here is a secret.
DRIVER_OPTIONS = {
    "postgres": ("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout"),
    "mysql": ("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "socket"),
}
PASSWORD_VARIABLE = {"postgres": "PGPASSWORD", "mysql": "MYSQL_PWD"}


class SourceError(ValueError):
    """A database that cannot be located, opened or read; the message says how to mend it."""


class DeclaredKeys(NamedTuple):
    """Keys that the database itself declares, restricted to the tables that are read."""

    primary: dict[str, tuple[str, ...]]
    unique: dict[str, list[tuple[str, ...]]]
    foreign: list[ForeignKey]


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed location. `label` names it in messages; the password stays out of the repr."""

    kind: str
    label: str
    path: Path = Path()
    host: str = ""
    port: str = ""
    user: str = ""
    database: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    password: str = field(default="", repr=False)


def read_location(text: str, *, secret: bool = False) -> Location:
    """Take a location apart.

    Args:
        text: a URL or a path.
        secret: the text comes from the environment, so that it may hold a password and no message
            may quote it.

    Raises:
        SourceError: the text holds a password without `secret`, or its scheme, option or file type
            is unknown.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _read_path(text, secret)
    # SQLAlchemy writes the driver into the scheme: postgresql+psycopg2.
    kind = _SCHEMES.get(scheme.partition("+")[0].lower(), "")
    if not kind:
        shown = "in that variable" if secret else repr(scheme)
        raise SourceError(f"unknown scheme {shown}; use one of {sorted(_SCHEMES)} or a path")
    if kind in PASSWORD_VARIABLE:
        return _read_server(kind, rest, secret)
    path, _, query = rest.partition("?")
    # Three slashes begin a relative path and four an absolute one, as in SQLAlchemy.
    file = Path(unquote(path).removeprefix("/"))
    return Location(kind, f"{kind} file {file}", file, options=_options(kind, query, secret))


def _read_path(text: str, secret: bool) -> Location:
    """The location of a file or a folder."""
    plain, _, query = text.partition("?")
    path = Path(plain).expanduser()
    suffix = path.suffix.lower()
    kind = _SUFFIXES.get(suffix, "folder")
    if path.is_dir():
        kind = "folder"
    elif suffix == ".db":
        kind = _sniff(path)
    elif suffix in (".parquet", ".csv", ".gz"):
        raise SourceError(f"{'the file' if secret else path} is one table; give its folder instead")
    elif suffix and suffix not in _SUFFIXES:
        known = sorted([*_SUFFIXES, ".db"])
        raise SourceError(
            f"unknown file extension {suffix!r}; use one of {known}, a folder of Parquet or CSV "
            "files, or a URL such as postgresql://user@host/database"
        )
    return Location(kind, f"{kind} {path}", path, options=_options(kind, query, secret))


def _sniff(path: Path) -> str:
    """Both SQLite and DuckDB files are called `.db`; the first bytes tell them apart."""
    if not path.is_file():
        return "sqlite"
    with path.open("rb") as file:
        return "duckdb" if file.read(12)[8:] == b"DUCK" else "sqlite"


def _read_server(kind: str, rest: str, secret: bool) -> Location:
    """The location of a server. Messages name no part of the text before it is known to be safe."""
    # user:password@, also where the password has unescaped characters and is no port.
    held = r"[^:/?#@]*:(?!\d+/).*@"
    if not secret and re.match(held, rest):
        raise SourceError(
            "the location holds a password, which would end up in files and logs; leave it out and "
            f"set {PASSWORD_VARIABLE[kind]}, or keep the whole URL in an environment variable and "
            "use 'env:NAME' as the location"
        )
    try:
        parts = urlsplit(f"{kind}://{rest}")
        port = str(parts.port or "")
    except ValueError:
        parts, port = SplitResult("", "", "", "", "malformed"), ""
    database = unquote(parts.path.removeprefix("/"))
    if parts.fragment or "@" in parts.path or "/" in parts.path[1:]:
        raise SourceError(
            f"the {kind} URL is not of the form {kind}://user@host:port/database; percent-encode "
            "special characters such as @ / # ? in its parts"
        )
    if kind == "mysql" and not database:
        raise SourceError("a MySQL URL must name its database: mysql://user@host:3306/database")
    options = _options(kind, parts.query, secret)
    label = f"{kind} database {database or '(default)'!r} at {parts.hostname or 'the local socket'}"
    label += f":{port}" if port else ""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    host = unquote(parts.hostname or "")
    return Location(kind, label, Path(), host, port, user, database, options, password)


def _options(kind: str, query: str, secret: bool) -> dict[str, str]:
    """The options after the question mark."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    allowed = {"views", *DRIVER_OPTIONS.get(kind, ())}
    allowed |= {"schema"} if kind in ("postgres", "duckdb") else set()
    unknown = sorted(set(options) - allowed)
    if unknown:
        quotable = not secret and all(name.isidentifier() for name in unknown)
        named = f"option {unknown[0]!r}" if quotable else "an option"
        hint = ""
        if any(word in name.lower() for name in unknown for word in ("pass", "pwd")):
            hint = f"; a password belongs in {PASSWORD_VARIABLE.get(kind, 'the environment')}"
        raise SourceError(f"{named} of a {kind} location is unknown{hint}; use {sorted(allowed)}")
    return options


def folder_tables(folder: Path) -> dict[str, tuple[Path, bool]]:
    """Tables of a folder: one a Parquet or CSV file, one a sub-folder of Parquet parts.

    Returns:
        Path by table name, and whether it is Parquet.

    Raises:
        SourceError: there is no table, or two entries give the same table.
    """
    tables: dict[str, tuple[Path, bool]] = {}
    for entry in sorted(folder.iterdir()):
        name = re.sub(r"\.(parquet|csv|csv\.gz)$", "", entry.name, flags=re.IGNORECASE)
        is_parquet = entry.name.lower().endswith(".parquet")
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir() and any(entry.rglob("*.parquet")):
            name, is_parquet = entry.name, True
        elif not entry.is_file() or name == entry.name:
            continue
        if name.lower() in {known.lower() for known in tables}:
            raise SourceError(f"{folder} holds table {name!r} twice; remove or rename one of them")
        tables[name] = (entry, is_parquet)
    if not tables:
        raise SourceError(f"folder {folder} holds no .parquet, .csv or .csv.gz file")
    return tables


def keys_query(kind: str, schema: str) -> str:
    """SQL (for DuckDB, with the database attached as `src`) for the keys of a schema.

    One row a key column, in key order: kind (p, u or f), constraint, table, column, parent, parent
    column. Empty for files, which declare none.
    """
    at = literal(schema)
    if kind == "postgres":
        return _remote("postgres_query", _POSTGRES_KEYS.format(schema=at))
    if kind == "mysql":
        return _remote("mysql_query", _MYSQL_KEYS.format(schema=at))
    if kind == "sqlite":
        return _remote("sqlite_query", _SQLITE_KEYS)
    return _DUCKDB_KEYS.format(schema=at) if kind == "duckdb" else ""


def group_keys(rows: list[tuple[Any, ...]], tables: Mapping[str, str]) -> DeclaredKeys:
    """The catalogue's rows, one a key column, as keys."""
    real = {name.lower(): name for name in tables}
    grouped: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
    for kind, constraint, table, column, parent, parent_column in rows:
        # SQLite keeps the spelling of the REFERENCES clause, not the table's own.
        parent = real.get(parent.lower(), "") if parent else ""
        if table in tables and (kind != "f" or parent):
            key = (kind, constraint, table, parent)
            grouped.setdefault(key, []).append((column, parent_column))
    keys = DeclaredKeys({}, {}, [])
    # Foreign keys last: they may need their parent's primary key.
    ordered = sorted(grouped.items(), key=lambda item: item[0][0] == "f")
    for (kind, _, table, parent), pairs in ordered:
        columns, targets = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
        if kind == "p":
            keys.primary[table] = columns
        elif kind == "u":
            keys.unique.setdefault(table, []).append(columns)
        else:
            # SQLite may leave the parent's columns out, meaning its primary key.
            targets = targets if all(targets) else keys.primary.get(parent, ())
            keys.foreign.append(ForeignKey(table, columns, parent, targets))
    return keys


def tables_query(kind: str, schema: str, views: bool) -> str:
    """SQL (for DuckDB) for the schema and name of every table, and of every view if wanted."""
    at = literal(schema)
    if kind == "postgres":
        # A partition's rows are read through the table it is a part of.
        kinds = "'r','p','f','m'" + (",'v'" if views else "")
        return _remote(
            "postgres_query",
            "SELECT n.nspname::text, c.relname::text FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE n.nspname = {at} AND c.relkind IN ({kinds}) AND NOT c.relispartition",
        )
    if kind == "mysql":
        only = "" if views else " AND table_type = 'BASE TABLE'"
        names = "SELECT table_schema AS s, table_name AS t FROM information_schema.tables"
        return _remote("mysql_query", f"{names} WHERE table_schema = {at}{only}")
    name = "SELECT schema_name, table_name FROM duckdb_tables()"
    where = f" WHERE database_name = 'src' AND schema_name = {at} AND NOT internal"
    found = f"{name}{where} AND table_name NOT LIKE 'sqlite_%'"
    if not views:
        return found
    return f"{found} UNION SELECT schema_name, view_name FROM duckdb_views(){where}"


def escaped(value: str) -> str:
    """A value for between single quotes in a connection string."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


def words(name: str) -> tuple[str, ...]:
    """Lower-case words of an identifier: `homeTeam_ID` gives ('home', 'team', 'id')."""
    return tuple(word.lower() for word in _WORD.findall(name))


def singular(word: str) -> str:
    """The singular of an English plural, by the spelling rules that table names need."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def table_nouns(table: str) -> list[tuple[str, ...]]:
    """Forms of a table's name that a key may carry: singular and as written, without a prefix."""
    name = words(table)
    if len(name) > 1 and name[0] in _TABLE_PREFIXES:
        name = name[1:]
    if not name:
        return []
    one = (*name[:-1], singular(name[-1]))
    return [one] if one == name else [one, name]


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced, the longest first so that no tail of one survives."""
    for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _remote(function: str, query: str) -> str:
    """A query that the attached server answers itself."""
    return f"SELECT * FROM {function}('src', {literal(query)})"


_POSTGRES_KEYS = """
SELECT kind, name, relname, attname, parent, parent_column FROM (
  SELECT CASE WHEN i.indisprimary THEN 'p' ELSE 'u' END AS kind, i.indexrelid::text AS name,
         c.relname::text, a.attname::text, NULL::text AS parent, NULL::text AS parent_column, k.ord
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
  WHERE n.nspname = {schema} AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
    AND k.ord <= i.indnkeyatts
  UNION ALL
  SELECT 'f', f.oid::text, c.relname::text, a.attname::text, p.relname::text, b.attname::text, k.ord
  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.oid = p.relnamespace
  CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k(child, parent, ord)
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.child
  JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = k.parent
  WHERE n.nspname = {schema} AND f.contype = 'f'
) AS keys ORDER BY kind, relname, name, ord"""

_MYSQL_KEYS = """
SELECT CASE c.constraint_type WHEN 'PRIMARY KEY' THEN 'p' WHEN 'UNIQUE' THEN 'u' ELSE 'f' END AS a,
       c.constraint_name AS b, c.table_name AS c, k.column_name AS d,
       k.referenced_table_name AS e, k.referenced_column_name AS f
FROM information_schema.table_constraints c JOIN information_schema.key_column_usage k
  ON k.constraint_schema = c.constraint_schema AND k.constraint_name = c.constraint_name
  AND k.table_schema = c.table_schema AND k.table_name = c.table_name
WHERE c.table_schema = {schema} AND c.constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY')
  AND (k.referenced_table_schema IS NULL OR k.referenced_table_schema = c.table_schema)
ORDER BY c.table_name, c.constraint_name, k.ordinal_position"""

_SQLITE_KEYS = """
SELECT kind, name, tbl, col, parent, parent_col FROM (
  SELECT 'p' AS kind, 'p' AS name, m.name AS tbl, t.name AS col, NULL AS parent,
         NULL AS parent_col, t.pk AS ord
  FROM sqlite_master m JOIN pragma_table_info(m.name) t WHERE m.type = 'table' AND t.pk > 0
  UNION ALL
  SELECT 'u', l.name, m.name, i.name, NULL, NULL, i.seqno
  FROM sqlite_master m JOIN pragma_index_list(m.name) l JOIN pragma_index_info(l.name) i
  WHERE m.type = 'table' AND l."unique" = 1 AND l.partial = 0 AND l.origin <> 'pk'
    AND i.name IS NOT NULL
  UNION ALL
  SELECT 'f', CAST(f.id AS TEXT), m.name, f."from", f."table", f."to", f.seq
  FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'
) ORDER BY kind, tbl, name, ord"""

_DUCKDB_KEYS = """
SELECT CASE constraint_type WHEN 'PRIMARY KEY' THEN 'p' WHEN 'UNIQUE' THEN 'u' ELSE 'f' END,
       constraint_index::VARCHAR, table_name, unnest(constraint_column_names),
       referenced_table, unnest(referenced_column_names)
FROM (SELECT * FROM duckdb_constraints() WHERE database_name = 'src' AND schema_name = {schema}
      AND constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY')
      ORDER BY table_name, constraint_index)"""

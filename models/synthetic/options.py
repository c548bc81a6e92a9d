"""What a synthetic database is made from, as SOURCE and the options of a declaration spell it.

synthetic:seed=7,preset=plurel,tasks=3
synthetic:schema=shop.sql,seed=7,rows=orders=5000+customers=800,without=orders.photo
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from models.database.dbt_folder import DeclarationError, identifier
from models.database.schema import SourceDeclaration
from models.synthetic.database import Generator, Place
from models.synthetic.presets import preset
from models.synthetic.schema_layout import ColumnChoice, SchemaLayout, TableChoice

KIND = "synthetic"
"""The kind of source, and what SOURCE begins with."""
DEFAULT_PRESET = "relforge"


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """How to make a database and ask about it; equal options make equal bytes.

    Attributes:
        seed: What every draw comes from.
        preset: The generator's name, see `models.synthetic.presets`.
        tasks: Tasks to sample when the database is declared, at most.
        schema: SQL file whose CREATE TABLEs to fill; empty for a schema out of nothing.
        dialect: Of that file, as sqlglot names it.
        rows: Rows by table of that file, `orders=5000+customers=800`.
        without: Its columns and keys that are not made, `orders.photo+staff.manager_id`.
    """

    seed: int = 0
    preset: str = DEFAULT_PRESET
    tasks: int = 1
    schema: str = ""
    dialect: str = "postgres"
    rows: str = ""
    without: str = ""

    @classmethod
    def from_location(cls, location: str) -> Self:
        """The options that `synthetic:<option>=<value>,...` names; the SQL file's path made whole.

        Raises:
            DeclarationError: an option is unknown, comes twice, or has a value that cannot be.
        """
        given: dict[str, str] = {}
        for part in location.removeprefix(f"{KIND}:").split(","):
            name, sign, value = (text.strip() for text in part.partition("="))
            if not part.strip():
                continue
            if not sign or not value:
                raise DeclarationError(
                    f"{KIND}: {part.strip()!r} is not of the form option=value, as in "
                    f"{KIND}:seed=7,tasks=3"
                )
            if name in given:
                raise DeclarationError(f"{KIND}: {name} is given twice; leave one of them out")
            given[name] = value
        if "schema" in given:
            given["schema"] = str(Path(given["schema"]).expanduser().resolve())
        return cls.from_declared(given)

    @classmethod
    def from_declared(cls, given: Mapping[str, str]) -> Self:
        """The options of a declaration.

        Raises:
            DeclarationError: an option is unknown, or has a value that cannot be.
        """
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in known]:
            raise DeclarationError(
                f"{KIND}: unknown option {', '.join(unknown)}; there are {', '.join(known)}"
            )
        alone = [name for name in ("dialect", "rows", "without") if name in given]
        if alone and not given.get("schema"):
            raise DeclarationError(
                f"{KIND}: {' and '.join(alone)} can only be given with schema=<file.sql>"
            )
        texts = {name: value for name, value in given.items() if name not in ("seed", "tasks")}
        options = cls(
            seed=_number(given, "seed", cls().seed, least=0),
            tasks=_number(given, "tasks", cls().tasks, least=1),
            **texts,  # type: ignore[arg-type]
        )
        try:
            preset(options.preset)
            rows_by_table(options.rows)
            left_out(options.without)
        except ValueError as error:
            raise DeclarationError(f"{KIND}: {error}") from error
        return options

    def declaration(self) -> SourceDeclaration:
        """The source with these options, as dbt declares it; those that say nothing are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if not self.schema:
            del values["dialect"]
        said = sorted((name, f"{value}") for name, value in values.items() if value != "")
        return SourceDeclaration(KIND, options=tuple(said))

    @property
    def name(self) -> str:
        """What the database is called: `synthetic_7`, `plurel_7`, or `shop_7` of shop.sql."""
        made_up = KIND if self.preset == DEFAULT_PRESET else self.preset
        return identifier(f"{Path(self.schema).stem if self.schema else made_up}_{self.seed}")

    def layout(self) -> SchemaLayout | None:
        """The layout of the SQL file; None where the preset makes the schema up too.

        Raises:
            DeclarationError: the file cannot be read.
            ValueError: its SQL cannot be parsed, or no database can be made for its tables.
        """
        if not self.schema:
            return None
        path = Path(self.schema)
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise DeclarationError(
                f"{KIND}: the schema {path} cannot be read ({error}); give an SQL file with CREATE "
                "TABLE statements"
            ) from error
        return SchemaLayout.from_ddl(
            text,
            path.stem,
            self.dialect,
            tables=rows_by_table(self.rows),
            columns=left_out(self.without),
        )

    def generator(self) -> Generator:
        """The three stages.

        Raises:
            ValueError: see `layout`.
        """
        layout = self.layout()
        made_up = preset(self.preset)
        return replace(made_up, layout=layout) if layout else made_up


def rows_by_table(text: str) -> dict[str, TableChoice]:
    """Row counts of the form `orders=5000,customers=800`, or with + between them.

    Raises:
        ValueError: names the part that is not of this form.
    """
    found = {}
    for part in _parts(text):
        table, _, count = part.rpartition("=")
        if not table or not count.isdecimal() or int(count) < 1:
            raise ValueError(f"rows: {part!r} is not of the form table=1000")
        found[table.strip()] = TableChoice(rows=int(count))
    return found


def left_out(text: str) -> dict[Place, ColumnChoice]:
    """Columns and keys not to make, `orders.photo,staff.manager_id`, or with + between them.

    Raises:
        ValueError: names the part that is not of this form.
    """
    found = {}
    for part in _parts(text):
        table, _, column = part.rpartition(".")
        if not table or not column:
            raise ValueError(f"without: {part!r} is not of the form table.column")
        found[table, column] = ColumnChoice(left_out=True)
    return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,+]", text) if part.strip()]


def _number(given: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise DeclarationError(f"{KIND}: {name}={text} is not a whole number from {least}")
    return int(text)

"""An index that grows by copies of the crowd that a server wrote: the same rows under other UIDs, names and numbers,
so that a million instances are there in minutes. The audit trail alone stays as long as it is, since each row of it
holds what was before it; and a copy has no bytes, which neither ingest nor a search looks at.
"""

import sqlite3
from contextlib import closing

import measured

# UIDs are a kind in front of a number (measured.uid).
PREFIX, DIGITS = 7, 28
OF_FAMILY, FAMILY_AT, FAMILY_DIGITS, PATIENT_DIGITS = 25, 7, 4, 7
TABLES = {"patient": "id", "study": "id", "series": "id", "instance": "id", "change": "sequence"}


class Sqlite:
    def __init__(self, path):
        self.path = path

    def run(self, statements):
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("pragma synchronous = off")
            for statement in ["begin", *statements, "commit"]:
                db.execute(statement)

    def rows(self, sql):
        with closing(sqlite3.connect(self.path)) as db:
            return [str(row[0]) for row in db.execute(sql)]

    def columns(self, table):
        return self.rows(f"select name from pragma_table_info('{table}')")

    def padded(self, expression, digits):
        return f"printf('%0{digits}d', {expression})"

    def numbered(self):
        """New rows have numbers behind those of the copies."""
        return []


class Postgresql:
    def __init__(self, postgres, database):
        self.postgres, self.database = postgres, database

    def run(self, statements):
        self.postgres.ask("begin; " + "; ".join(statements) + "; commit", self.database, timeout_s=3600)

    def rows(self, sql):
        return self.postgres.ask(sql, self.database).split("\n")

    def columns(self, table):
        return self.rows(f"select column_name from information_schema.columns where table_name = '{table}' order by ordinal_position")

    def padded(self, expression, digits):
        return f"lpad(({expression})::text, {digits}, '0')"

    def numbered(self):
        return [f"select setval(pg_get_serial_sequence('{table}', '{key}'), (select max({key}) from {table}))"
                for table, key in TABLES.items()]


def grow(index, crowd, upto):
    """Copies of the so many studies that there are, until there are `upto` at least; how many there are then."""
    assert crowd % OF_FAMILY == 0, f"{crowd} studies are no whole families of {OF_FAMILY}"
    ends = {table: int(index.rows(f"select max({key}) from {table}")[0]) for table, key in TABLES.items()}
    copies = range(1, -(-upto // crowd))
    for copy in copies:
        changes = changed(index, crowd, copy, ends)
        index.run([statement(index, table, changes[table], ends[table]) for table in TABLES])
    index.run([*index.numbered(), "analyze"])
    return crowd * (len(copies) + 1)


def statement(index, table, changes, end):
    columns = index.columns(table)
    values = ", ".join(changes.get(column, column) for column in columns)
    return f"insert into {table} ({', '.join(columns)}) select {values} from {table} where {TABLES[table]} <= {end}"


def changed(index, crowd, copy, ends):
    """Columns that differ in a copy."""
    by = {"study": copy * crowd, "series": copy * crowd * measured.SERIES_OF_STUDY}
    by["instance"] = by["series"] * measured.INSTANCES_OF_SERIES

    def number(column, at, digits, more):
        return index.padded(f"cast(substr({column}, {at}, {digits}) as bigint) + {more}", digits)

    def uid(column, of):
        return f"substr({column}, 1, {PREFIX}) || {number(column, PREFIX + 1, DIGITS, by[of])}"

    def row(column, table):
        return f"{column} + {copy * ends[table]}"

    family = number("name", FAMILY_AT, FAMILY_DIGITS, copy * crowd // OF_FAMILY)
    names = {name: f"replace({name}, substr(name, {FAMILY_AT}, {FAMILY_DIGITS}), {family})" for name in ("name", "name_folded", "name_words")}
    patient_id = number("patient_id", 2, PATIENT_DIGITS, by["study"])
    words = number("search_words", 3, PATIENT_DIGITS, by["study"])
    return {
        "patient": names | {"id": row("id", "patient"), "patient_id": f"'P' || {patient_id}"},
        "study": {"id": row("id", "study"), "patient": row("patient", "patient"), "study_uid": uid("study_uid", "study"),
                  "search_words": f"' P' || {words} || substr(search_words, {PATIENT_DIGITS + 3})"},
        "series": {"id": row("id", "series"), "study": row("study", "study"), "series_uid": uid("series_uid", "series")},
        "instance": {"id": row("id", "instance"), "series": row("series", "series"), "study": row("study", "study"),
                     "sop_instance_uid": uid("sop_instance_uid", "instance")},
        "change": {"sequence": row("sequence", "change"), "study_uid": uid("study_uid", "study"),
                   "series_uid": uid("series_uid", "series"), "sop_instance_uid": uid("sop_instance_uid", "instance")},
    }

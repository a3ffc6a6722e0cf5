"""The table of the audit trail as somebody with the keys of the database sees it, on either engine."""

import shutil
import sqlite3
from contextlib import closing

from . import server
from .database import Postgres


def trail_of(folder):
    return InPostgres(server.DATABASE(folder)) if server.DATABASE else InSqlite(folder)


class InSqlite:
    zero = "x'00'"
    guards = ("drop trigger audit_is_not_changed", "drop trigger audit_is_not_shortened", "drop trigger audit_has_no_gaps")
    intrusions = ("insert or replace into audit select * from audit where sequence = 2",)

    def __init__(self, folder):
        self.file = folder / "index.sqlite"

    def rows(self, sql):
        with closing(sqlite3.connect(self.file)) as index:
            return index.execute(sql).fetchall()

    def columns(self):
        return [name for name, in self.rows("select name from pragma_table_info('audit')")]

    def refuses(self, sql):
        with closing(sqlite3.connect(self.file)) as index:
            try:
                index.execute(sql)
            except sqlite3.IntegrityError:
                return True
        return False

    def copied_to(self, folder):
        self.rows("pragma wal_checkpoint(truncate)")
        shutil.copy(self.file, folder)
        return InSqlite(folder)

    def unguarded(self, statements):
        with closing(sqlite3.connect(self.file, isolation_level=None)) as index:
            for statement in (*self.guards, *statements):
                index.execute(statement)

    def remove(self):
        """It goes with its folder."""


class InPostgres:
    zero = "'\\x00'"
    guards = tuple(f"alter table audit disable trigger {name}" for name in
                   ("audit_is_not_changed", "audit_is_not_shortened", "audit_has_no_gaps"))
    intrusions = ("truncate audit", "insert into audit select * from audit where sequence = 2")

    def __init__(self, address):
        self.address = address

    def ask(self, sql):
        return Postgres.answer(self.address, sql)

    def rows(self, sql):
        done = self.ask(sql)
        assert done.returncode == 0, done.stderr
        cells = [line.split("|") for line in done.stdout.splitlines()]
        return [tuple(int(cell) if cell.isdigit() else cell for cell in row) for row in cells]

    def columns(self):
        sql = "select column_name from information_schema.columns where table_name = 'audit' order by ordinal_position"
        return [name for name, in self.rows(sql)]

    def refuses(self, sql):
        return self.ask(sql).returncode != 0

    def copied_to(self, folder):
        copy, own = server.DATABASE(folder), self.address.rsplit("/", 1)
        name = copy.rsplit("/", 1)[1]
        for sql in (f"drop database {name}", f"create database {name} template {own[1]}"):
            done = Postgres.answer(f"{own[0]}/postgres", sql)
            assert done.returncode == 0, done.stderr
        return InPostgres(copy)

    def unguarded(self, statements):
        done = self.ask("; ".join((*self.guards, *statements)))
        assert done.returncode == 0, done.stderr

    def remove(self):
        server_address, name = self.address.rsplit("/", 1)
        Postgres.answer(f"{server_address}/postgres", f"drop database {name}")

"""Tables of the study database, and how SQLite and PostgreSQL are told to keep what they said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whet.errors import InputError, MissingExtraError

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise MissingExtraError("sqlalchemy", "web") from error

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = [
    "EXTERNAL",
    "PARTICIPANTS",
    "RATINGS",
    "STUDIES",
    "connect",
    "insert_new",
    "people",
    "sa",
]

_WAIT_S = 30
"""How long a writer waits for others; one rating takes milliseconds."""
_CREATING = 0x77686574
"""PostgreSQL's advisory lock under which tables are made: "whet" in ASCII."""

TABLES = sa.MetaData()
STUDIES = sa.Table(
    "whet_studies",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("plan", sa.Text, nullable=False),
)
PARTICIPANTS = sa.Table(
    "whet_participants",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.ForeignKey("whet_studies.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("begun", sa.Boolean, nullable=False, default=False),
    sa.UniqueConstraint("study", "number"),
)
# Apart from the participants, and only in studies that say so: who is paid by a panel.
EXTERNAL = sa.Table(
    "whet_external",
    TABLES,
    sa.Column("participant", sa.ForeignKey("whet_participants.id"), primary_key=True),
    sa.Column("study", sa.ForeignKey("whet_studies.id"), nullable=False),
    sa.Column("external", sa.String(128), nullable=False),
    sa.UniqueConstraint("study", "external"),
)
RATINGS = sa.Table(
    "whet_ratings",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("participant", sa.ForeignKey("whet_participants.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("scene", sa.Text, nullable=False),
    sa.Column("candidate", sa.Text, nullable=False),
    sa.Column("versus", sa.Text, nullable=False),
    sa.Column("answer", sa.SmallInteger, nullable=False),
    sa.Column("elapsed_ms", sa.Integer, nullable=False),
    sa.UniqueConstraint("participant", "position"),
)


def connect(url: str) -> Engine:
    """Open a database and create missing tables.

    Args:
        url: an SQLAlchemy URL of SQLite or PostgreSQL.

    Raises:
        InputError: no such database, or it cannot be reached.
        MissingExtraError: PostgreSQL is named and its driver is not installed.
    """
    try:
        engine = _engine(url)
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # Several servers may start at once on an empty database.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
            TABLES.create_all(connection)
    except sa.exc.SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"no database at {_hidden(url)}: {reason}; check the URL") from error
    return engine


def people() -> sa.Select[Any]:
    """Select participants with how many trials each has answered.

    Answers come in order, so that their number is the position of the next.
    """
    rated = (
        sa.select(sa.func.count())
        .where(RATINGS.c.participant == PARTICIPANTS.c.id)
        .scalar_subquery()
    )
    external = (
        sa.select(EXTERNAL.c.external)
        .where(EXTERNAL.c.participant == PARTICIPANTS.c.id)
        .scalar_subquery()
    )
    return sa.select(PARTICIPANTS, rated.label("rated"), external.label("external"))


def insert_new(engine: Engine, table: sa.Table, row: dict[str, Any]) -> Any:
    """Insert, or do nothing where a unique constraint says that the row is there."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(row).on_conflict_do_nothing()
    return insert.returning(*table.primary_key)


def _engine(url: str) -> Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return _connect_postgresql(parsed)
    if parsed.get_backend_name() != "sqlite":
        raise InputError(
            f"{parsed.get_backend_name()}: no such database; give postgresql:// or sqlite:///"
        )
    engine = sa.create_engine(parsed, connect_args={"timeout": _WAIT_S})

    @sa.event.listens_for(engine, "connect")
    def _prepare(raw: Any, _: object) -> None:
        raw.isolation_level = None  # the listener below begins transactions, not the driver
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its turn before it reads: otherwise two could read the same count and
        # one of them would fail at once instead of waiting.
        reads = connection.get_execution_options().get("whet_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _connect_postgresql(url: sa.URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise MissingExtraError("psycopg", "postgres") from error


def _hidden(url: str) -> str:
    """Return the URL without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "this URL"

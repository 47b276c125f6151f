"""The tables. Each row holds its noun as JSON in `body`; the other columns are what we look things up by.

SQLite and PostgreSQL hold the same: no defaults or functions of one of them, and texts are compared byte by byte.
"""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, LargeBinary, MetaData, Table, text
from sqlalchemy import Integer as SqliteInteger
from sqlalchemy import String as SqliteString
from sqlalchemy import Text as SqliteText

Integer = SqliteInteger().with_variant(BigInteger(), "postgresql")
String = SqliteString().with_variant(SqliteString(collation="C"), "postgresql")
Text = SqliteText().with_variant(SqliteText(collation="C"), "postgresql")

METADATA = MetaData()
HAS_TASK = text("task IS NOT NULL")  # a call that is passed through has none, and costs no page of that index
IS_OPEN = text("state = 'open'")  # a cause has one open alert, whoever sees it first
HAS_FAILED = text("state = 'failed'")  # few documents of a batch have, and those are looked for

MIGRATION = Table(
    "migration",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("applied", String, nullable=False),
)

PROBE = Table(
    "probe",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
)

DATASET = Table(
    "dataset",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task", String, nullable=False, index=True),
    Column("rows", String, nullable=False),
    Column("body", Text, nullable=False),
)

REPORT = Table(
    "report",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("split", String, nullable=False, server_default=text("''")),
    Index("report_by_split", "task", "split", "seq"),
)

ASSESSMENT = Table(
    "assessment",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

RELEASE = Table(
    "release",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("task", String, nullable=False, index=True),
    Column("stage", String, nullable=False),
    Column("body", Text, nullable=False),
    Index("release_by_stage", "task", "stage", "seq"),
)

STAGE_CHANGE = Table(
    "stage_change",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("release", String, nullable=False, index=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

TIGHTENING = Table(
    "tightening",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("release", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

DECLARATION = Table(
    "declaration",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

GATE = Table(
    "gate",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("release", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

TRIAL = Table(
    "trial",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("record", String, nullable=False, unique=True),
    Column("release", String, nullable=False),
    Column("created", String, nullable=False),
    Column("agrees", Boolean),
    Column("worse", Integer, nullable=False),
    Column("slower", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("trial_by_release", "release", "created"),
)

RECORD = Table(
    "record",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task", String),
    Column("release", String),
    Column("tenant", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("input_hash", String, nullable=False),
    Column("confidence", Float),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("created", String, nullable=False),
    Column("body", Text, nullable=False),
    Index("record_by_task", "task", "seq", sqlite_where=HAS_TASK, postgresql_where=HAS_TASK),
)

ENTRY = Table(
    "entry",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("about", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String, nullable=False),
)

OPEN_CALL = Table(
    "open_call",
    METADATA,
    Column("id", String, primary_key=True),
    Column("until", String, nullable=False),
    Column("process", String, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,  # each row lies in one page instead of in two: half as many a commit
)

PENDING = Table(
    "pending",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("record", String, nullable=False, unique=True),
    Column("task", String, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Column("worth", Float, nullable=False, server_default=text("0")),
)
# in the order in which people see them: however many are worth the same, none is sorted
PENDING_BY_WORTH = Index("pending_by_worth", PENDING.c.task, PENDING.c.settled, PENDING.c.worth.desc(), PENDING.c.seq)

DRAW = Table(
    "draw",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("record", String, nullable=False, unique=True),
    Column("release", String, nullable=False),
    Column("created", String, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("verdict", String, nullable=False),
    Index("draw_by_release", "release", "verdict", "created"),
)

LEASE = Table(
    "lease",
    METADATA,
    Column("record", String, primary_key=True),
    Column("holder", String, nullable=False, index=True),
    Column("until", String, nullable=False),
)

ALERT = Table(
    "alert",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("state", String, nullable=False),
    Column("logged", String, nullable=False),
    Column("sent", String, nullable=False),
    Column("body", Text, nullable=False),
    Index("alert_once", "task", "cause", unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
)

REVIEW = Table(
    "review",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("record", String, nullable=False, unique=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

OPINION = Table(
    "opinion",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("record", String, nullable=False, index=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

LESSON = Table(
    "lesson",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

BATCH_ITEM = Table(
    "batch_item",
    METADATA,
    Column("key", String, primary_key=True),
    Column("task", String, nullable=False),
    Column("state", String, nullable=False),
    Column("holder", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("record", String, index=True),
    Column("body", Text, nullable=False),
    Index("batch_item_failed", "task", sqlite_where=HAS_FAILED, postgresql_where=HAS_FAILED),
)

BATCH_WORKER = Table(
    "batch_worker",
    METADATA,
    Column("holder", String, primary_key=True),
    Column("until", String, nullable=False),
)

STORED_FILE = Table(
    "stored_file",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

BATCH = Table(
    "batch",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False, index=True),
    Column("state", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

TENANT_KEY = Table(
    "tenant_key",
    METADATA,
    Column("tenant", String, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

API_KEY = Table(
    "api_key",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("name", String, nullable=False, index=True),
    Column("changed", Integer, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

SPENT = Table(
    "spent",
    METADATA,
    Column("day", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("caller", String, primary_key=True),
    Column("usd", Float, nullable=False),
)

REPLICA = Table(
    "replica",
    METADATA,
    Column("process", String, primary_key=True),
    Column("beat", Integer, nullable=False),
    Column("lease_s", Float, nullable=False),
    Column("duty", Boolean, nullable=False),
)

SHARE = Table(
    "share",
    METADATA,
    Column("account", String, primary_key=True),
    Column("process", String, primary_key=True),
    Column("short", Boolean, nullable=False),
    Column("body", Text, nullable=False),
)

TALLY = Table(
    "tally",
    METADATA,
    Column("kind", String, primary_key=True),
    Column("hour", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("review", Integer, nullable=False),
    Column("spooled", Integer, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("usd", Float, nullable=False),
    sqlite_with_rowid=False,
)

TALLIED = Table(
    "tallied",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("through", Integer, nullable=False),
)

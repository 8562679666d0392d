"""What a process is told from outside: environment variables, read once when it starts and passed down."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.files import BadConfig


class Settings(BaseSettings):
    """`DOCMILL_*` variables, and the two the Anthropic SDK reads. Every default works on a bare laptop."""

    model_config = SettingsConfigDict(env_prefix="DOCMILL_", frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".docmill")
    """Data folder: the SQLite ledger, the embedded broker's files, your own recipes, prices and catalogue."""

    database_url: str = ""
    """SQLAlchemy URL of the ledger. Empty means SQLite in `home`; PostgreSQL is `postgresql://user@host/name`."""

    redis_url: SecretStr = SecretStr("")
    """Broker. Empty means the embedded Valkey that `docmill run` and `docmill up` start."""

    anthropic_api_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("anthropic_api_key", "ANTHROPIC_API_KEY")
    )
    """Empty means the simulator answers, and every answer is marked synthetic."""

    anthropic_base_url: str = Field(
        default="", validation_alias=AliasChoices("anthropic_base_url", "ANTHROPIC_BASE_URL")
    )
    """Empty means Anthropic's own address, or the simulator's where there is no key."""

    simulator_url: str = ""
    """Where a simulator of its own listens, asked where there is no key. Empty means that `docmill up` starts one."""

    connect_timeout_s: float = Field(default=5, gt=0)
    """Longest wait for a connection to Claude."""

    silence_timeout_s: float = Field(default=30, gt=0)
    """Longest wait without a byte from Claude. The whole call has its own deadline, from max_tokens."""

    max_attempts: int = Field(default=5, ge=1)
    """Tries that count before a job becomes a dead letter. Being told to wait (429, 529) is not a try."""

    max_throttles: int = Field(default=200, ge=1)
    """Times one job may be told to wait before it becomes a dead letter."""

    longest_pause_s: float = Field(default=3600, gt=0)
    """A lane that money, a key or a model has stopped is tried again at least so often, by one job."""

    drain_timeout_s: float = Field(default=30, ge=0)
    """Grace at SIGTERM: calls that end within it are kept. `on_crash` says what becomes of those that are cut off then;
    jobs whose calls were not sent go back to their lane."""

    visibility_timeout_s: float = Field(default=60, gt=0)
    """How soon the broker hands out the messages of a worker that died. A living worker refreshes its own, but not
    while it drains: keep it longer than `drain_timeout_s`."""

    owner_timeout_s: float = Field(default=10, gt=0)
    """A worker on another machine that was not seen in the ledger for so long has lost its jobs. It reports itself
    every third of this. On its own machine a dead worker is known at once."""

    on_crash: Literal["hold", "retry"] = "hold"
    """What becomes of a job whose worker died, or stopped at the end of its grace, after the call was sent and before
    its answer was kept: `hold` leaves it to a person as uncertain, `retry` asks again, and may pay twice."""

    job_deadline_s: float = Field(default=86_400, gt=0)
    """A job that is retried for longer than this, from its first try on, becomes a dead letter. Time in which it was
    due and not taken up does not count: its lane was paused, or nobody was running. It begins anew where its worker
    stopped, or its own call parked the lane. The default lets a day's outage pass."""

    dead_letter_days: float = Field(default=30, gt=0)
    """Days until a dead letter that nobody decides about is discarded. What it cost stays in the ledger."""

    slow_start: float = Field(default=0.1, gt=0, le=1)
    """Share of a newly met rate limit that the workers begin with; it doubles each minute. Claude also limits how fast
    usage may grow. 1 begins with all of it."""

    confirm_above_usd: Decimal = Field(default=Decimal(10), ge=0)
    """`submit` and `run` ask before documents whose likely cost in US dollars is above this: a slip of the pen names
    the wrong folder. The simulator's answers cost nothing, and nothing is asked."""

    time_zone: ZoneInfo = ZoneInfo("UTC")
    """When a day begins and ends for costs, budgets and alerts: an IANA name, such as `Europe/Berlin`."""

    total_every_s: float = Field(default=180, gt=0)
    """How often the day's total is counted, and looked at for alerts."""

    alert_urls: SecretStr = SecretStr("")
    """Channels for alerts, as apprise takes them, each with a name of yours before it and blanks between them:
    `ops=mailto://user:password@example.org?to=ops@example.org chat=slack://...`. The log is one of its own accord."""

    alert_webhook_url: SecretStr = SecretStr("")
    """Where alerts are posted as JSON, signed: see `workers.alerts.webhook`. May hold `user:password@`."""

    alert_webhook_secret: SecretStr = SecretStr("")
    """What the webhook's receiver checks the signature by."""

    alert_soft_percent: str = "50,80,100"
    """Shares of a soft budget that are told of, each once a day and budget; 0 tells of none."""

    alert_unusual_factor: float = Field(default=3, ge=0)
    """A day is unusual that costs more than so many times the median of those before it; 0 tells of none."""

    alert_dead_letters: int = Field(default=50, ge=0)
    """Dead letters within an hour that are told of once there are more; 0 tells of none."""

    alert_queue_age_s: float = Field(default=3600, ge=0)
    """A lane is told of once a job has waited longer for its first turn, once a day; 0 tells of none."""

    alert_digest: bool = False
    """Whether each day is told of when it was closed."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Level of our own log lines, which carry ids and numbers and never a document's text."""

    @field_validator("alert_soft_percent")
    @classmethod
    def _percentages(cls, said: str) -> str:
        shares = [share.strip() for share in said.split(",")]
        if not all(share.isdecimal() for share in shares):
            raise ValueError("write whole percentages with commas between them, such as 50,80,100, or 0 for none")
        return ",".join(shares)

    @property
    def soft_percent(self) -> tuple[int, ...]:
        """`alert_soft_percent` in numbers."""
        return tuple(int(share) for share in self.alert_soft_percent.split(",") if int(share))

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL with the driver we ship: psycopg for PostgreSQL, the standard library's for SQLite."""
        if not self.database_url:
            return f"sqlite:///{self.home / 'ledger.sqlite3'}"
        for short in ("postgresql://", "postgres://"):
            if self.database_url.startswith(short):
                return "postgresql+psycopg://" + self.database_url.removeprefix(short)
        return self.database_url

    @property
    def simulated(self) -> bool:
        """Whether the simulator stands in for Claude: no key, and no address of one's own."""
        return not self.anthropic_api_key.get_secret_value() and not self.anthropic_base_url


def load_settings() -> Settings:
    """The settings of this process. Raises `BadConfig`, which names the variable and keeps its value out: a secret."""
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        variable = field.upper() if field.upper().startswith("ANTHROPIC_") else f"DOCMILL_{field.upper()}"
        raise BadConfig(f"{variable}: {problem['msg']}") from None

"""Ask a chat-completions server for verdicts: bounded concurrency, retries and replies."""

import asyncio
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import AsyncOpenAI

from eval.open_ended.judge_access import ADVICE, check_base_url, check_key
from eval.open_ended.verdicts import UnusableReply, Verdict, parse_reply

# Asking again cannot help, and every other row would fail alike.
FATAL_ERRORS: dict[type[openai.APIStatusError], str] = {
    openai.AuthenticationError: "the key was refused; check OPENAI_API_KEY or --api_key_file",
    openai.PermissionDeniedError: "the key may not use this model; check key and --judge_model",
    openai.NotFoundError: "no such model or address; check --judge_model and --base_url",
}
RETRIED_STATUS_CODES = frozenset({408, 409, 425, 429})
MAX_REPLY_BYTES = 64 * 1024
"""Of a response's body; a verdict with everything around it has less than 2 KB."""


class JudgeStopped(Exception):
    """Judging ended before every row had its turn; the message says why and what to do."""


class _RowRefused(Exception):
    """The server will not judge this row, however often it is asked."""


@dataclass(frozen=True)
class JudgeConfig:
    """How the judge is reached and how patient the client is.

    `api_key` and `base_url` of None mean OPENAI_API_KEY and OPENAI_BASE_URL; messages never show
    the key, and the address has none. Waits double from `first_backoff_seconds` up to
    `max_backoff_seconds`, less up to half of it at random.
    `stop_after_failures` rows given up in a row mean that the judge is dead.

    Raises:
        ValueError: a number is out of range, or the address carries a password.
    """

    model: str = "gpt-3.5-turbo-0125"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    num_tasks: int = 16
    max_attempts: int = 10
    first_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 30.0
    timeout_seconds: float = 60.0
    stop_after_failures: int = 16

    def __post_init__(self) -> None:
        for name in ("num_tasks", "max_attempts", "stop_after_failures", "timeout_seconds"):
            if not getattr(self, name) > 0:  # in this form it refuses NaN too
                raise ValueError(f"--{name} is {getattr(self, name)}, expected more than 0")
        for name in ("first_backoff_seconds", "max_backoff_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name} is {getattr(self, name)}, expected 0 or more")
        if self.base_url is not None:
            check_base_url(self.base_url)

    def client(self) -> AsyncOpenAI:
        """A client without retries of its own.

        Raises:
            JudgeStopped: no key is set and the server is OpenAI's; OPENAI_API_KEY is no key, or
                OPENAI_BASE_URL carries a password.
        """
        base_url = self.base_url or os.environ.get("OPENAI_BASE_URL") or None
        try:
            key = self.key()
            check_base_url(base_url or "")
        except ValueError as error:
            raise JudgeStopped(str(error)) from None
        if not key and base_url is None:
            raise JudgeStopped(
                f"no key for the judge: {ADVICE} (a local server needs only --base_url)"
            )
        return AsyncOpenAI(
            api_key=key or "none",
            base_url=base_url,
            timeout=self.timeout_seconds,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_read_limited]}),
        )

    def key(self) -> str | None:
        """The key that is sent, if there is one. Raises ValueError if it cannot be one."""
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        return check_key(key, "OPENAI_API_KEY") if key else None


@dataclass
class Judge:
    """One round of judging. `failures` maps the keys that were given up to the reason."""

    config: JudgeConfig
    on_verdict: Callable[[str, Verdict], None]
    on_done: Callable[[], object] = lambda: None
    failures: dict[str, str] = field(default_factory=dict)
    num_failed_in_a_row: int = 0

    def run(self, requests: Mapping[str, dict[str, Any]]) -> None:
        """Judge `requests` (key -> request), calling `on_verdict` as soon as each is judged.

        Raises:
            JudgeStopped: wrong key, unknown model, no quota, or too many failures in a row.
            OSError: `on_verdict` could not write.
            KeyboardInterrupt: interrupted; verdicts reported so far stand.
        """
        try:
            asyncio.run(self._run(requests))
        except ExceptionGroup as group:  # what ended one worker ends them all
            raise _first(group) from None

    async def _run(self, requests: Mapping[str, dict[str, Any]]) -> None:
        queue = iter(requests.items())
        async with self.config.client() as client, asyncio.TaskGroup() as workers:
            for _ in range(min(self.config.num_tasks, len(requests))):
                workers.create_task(self._work(client, queue))

    async def _work(self, client: AsyncOpenAI, queue: Iterator[tuple[str, dict[str, Any]]]) -> None:
        for key, request in queue:
            try:
                self.on_verdict(key, await self._verdict(client, request))
                self.num_failed_in_a_row = 0
            except _RowRefused as error:
                self._give_up(key, str(error))
            self.on_done()

    def _give_up(self, key: str, reason: str) -> None:
        self.failures[key] = reason
        self.num_failed_in_a_row += 1
        if self.num_failed_in_a_row >= self.config.stop_after_failures:
            raise JudgeStopped(
                f"the judge failed on {self.num_failed_in_a_row} rows in a row, last: {reason}"
            )

    async def _verdict(self, client: AsyncOpenAI, request: dict[str, Any]) -> Verdict:
        reason = ""
        for attempt in range(self.config.max_attempts):
            if attempt:
                await asyncio.sleep(self._backoff_seconds(attempt))
            try:
                return parse_reply(await self._reply(client, request))
            except Exception as error:  # whatever a reply holds, it costs its own row only
                reason = _reason_to_retry(error, self._shown(error))
        raise _RowRefused(f"gave up after {self.config.max_attempts} attempts: {reason}")

    async def _reply(self, client: AsyncOpenAI, request: dict[str, Any]) -> str:
        # The client's own timeout restarts with every byte; a trickling server must not hold a row.
        async with asyncio.timeout(self.config.timeout_seconds):
            completion = await client.chat.completions.create(**request)
        try:
            return str(completion.choices[0].message.content or "")
        except (AttributeError, IndexError, TypeError) as error:
            raise UnusableReply("the server's reply is no chat completion") from error

    def _shown(self, error: Exception) -> str:
        """The error as text that any file and terminal takes, without the key."""
        if isinstance(error, openai.APIStatusError):
            text = f"HTTP {error.status_code}: {error.message[:200]}"
        else:
            cause = error.__cause__ if isinstance(error.__cause__, UnusableReply) else error
            text = str(cause) or type(cause).__name__
        text = text.encode("utf-8", "backslashreplace").decode()
        return text.replace(self.config.key() or "\0", "(the key)")

    def _backoff_seconds(self, attempt: int) -> float:
        doubled = self.config.first_backoff_seconds * 2.0 ** min(attempt - 1, 60)
        return min(self.config.max_backoff_seconds, doubled) * random.uniform(0.5, 1.0)


async def _read_limited(response: Any) -> None:
    """Read the body of an httpx response, as far as the limit: a few bytes may unpack to gigabytes.

    Raises:
        UnusableReply: the body is too long, or packed although it was asked for as it is.
    """
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnusableReply(f"the reply is packed ({encoding!r}), which was not asked for")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_REPLY_BYTES:
            raise UnusableReply(f"the reply has more than {MAX_REPLY_BYTES} bytes")
    response._content = bytes(body)  # where httpx keeps what it has read


def _reason_to_retry(error: Exception, shown: str) -> str:
    """Why the attempt failed; `shown` is the error as text.

    Raises:
        JudgeStopped: every row would fail like this.
        _RowRefused: this row would fail like this again.
    """
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return "no reply in time"
    if not isinstance(error, openai.APIStatusError):
        return shown
    if type(error) in FATAL_ERRORS:
        raise JudgeStopped(f"{FATAL_ERRORS[type(error)]} ({shown})")
    if error.code == "insufficient_quota":
        raise JudgeStopped(f"the account has no quota left ({shown})")
    if error.status_code < 500 and error.status_code not in RETRIED_STATUS_CODES:
        raise _RowRefused(shown)
    return shown


def _first(group: BaseExceptionGroup) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

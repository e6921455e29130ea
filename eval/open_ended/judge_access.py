"""How the judge is reached without a secret in a file, a log or the list of processes."""

from pathlib import Path
from urllib.parse import urlsplit

ADVICE = "set OPENAI_API_KEY, or give a file that holds the key with --api_key_file"


def check_base_url(url: str) -> None:
    """Refuse a URL that carries more than an address.

    Raises:
        ValueError: it has a user name, a password or a query; the message does not repeat them.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            "--base_url carries a user name, a password or a query, which logs and the list of "
            f"processes would show: give the address alone; for a key {ADVICE}"
        )


def check_key(key: str, source: str) -> str:
    """`key`, if it can be one.

    Raises:
        ValueError: empty, or not one word of ASCII; the message does not repeat it.
    """
    if not key or not all(33 <= ord(character) <= 126 for character in key):
        raise ValueError(f"{source} holds no key: expected one word of ASCII characters")
    return key


def read_key(path: Path) -> str:
    """The key in a file, surrounding white space left out.

    Raises:
        ValueError: no such file, or no key in it.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ValueError(f"--api_key_file {path}: {reason}; or set OPENAI_API_KEY") from None
    return check_key(text, f"--api_key_file {path}")

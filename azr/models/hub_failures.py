"""Why the Hugging Face hub gave no model, and what to do: a variable that leads nowhere, a token that is refused, a hub
that is busy or out of reach."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables that hold a token."""


def wrong_variable() -> str:
    """The variable with which the hub cannot be asked at all, and what to do; empty where there is none.

    ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` are not looked at, since the hub's library does not read them.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = "does not exist" if missing else f"holds no certificates ({error.strerror})"
            return f"SSL_CERT_FILE={file}: that file {why}; `unset SSL_CERT_FILE`, or set it to one that does"
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint is not None and not re.match(r"https?://[^/]", endpoint, re.IGNORECASE):
        host = endpoint.rpartition("://")[2].strip("/ '\"")
        fix = f"set HF_ENDPOINT=https://{host}, or `unset HF_ENDPOINT`" if host else "`unset HF_ENDPOINT`"
        return f"HF_ENDPOINT={endpoint} has to begin with https://; {fix}"
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        if os.path.isfile(folder := os.path.expanduser(os.environ.get(name, ""))):  # noqa: PTH111, PTH113
            return f"{name}={folder} is a file; set it to a folder, or `unset {name}`"
    for name in TOKENS:
        if not os.environ.get(name, "").isascii():
            return f"{name} holds a character that no token has; copy the token again, or `unset {name}`"
    return ""


def refused_token(error: HfHubHTTPError) -> str:
    """What to do about a token that the hub does not know (any more); empty for another error.

    The hub answers 401 to a request without a token as well, if the model is private or does not exist.
    """
    if error.response.status_code != 401 or "authorization" not in error.response.request.headers:
        return ""
    for variable in TOKENS:
        if os.environ.get(variable):
            return f"the hub refused the token in {variable} (expired?): `unset {variable}`, since a public model needs none, or renew it"
    return "the hub refused the token of `hf auth login` (expired?): log in again, or `hf auth logout`, since a public model needs none"


def hub_failure(error: Exception, remedy: str) -> str:
    """Why huggingface_hub fetched nothing, and what to do.

    Args:
        error: what it raised.
        remedy: what helps against a network that is not there.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if told := wrong_variable():
        return f"the hub cannot be asked: {told}"
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the library's own words are of its cache
    mirror = os.environ.get("HF_ENDPOINT")
    hub = f"the hub {mirror} (HF_ENDPOINT)" if mirror else "the hub"
    if isinstance(error, HfHubHTTPError):
        if told := refused_token(error):
            return told
        answer = error.response
        words = answer.headers.get("X-Error-Message") or answer.reason_phrase
        busy = answer.status_code == 429 or answer.status_code >= 500
        return f"{hub} answered {answer.status_code} ({words}). {'Try again later' if busy else remedy}"
    words = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")
    return f"{hub} cannot be reached ({words}). {remedy}"

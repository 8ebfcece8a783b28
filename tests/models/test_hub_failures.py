"""What is told where the hub gives no model: each was "the hub cannot be reached", with the name of an exception."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import close_session
from model_folders import TINY

from azr.config.load import load_config
from azr.doctor.checks import fit_findings
from azr.errors import ModelError
from azr.evaluate.models import resolve
from azr.system.hardware import detect
from azr.train.model_source import local_model_folder, require_usable_model


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The hub's library as in a new process: nothing cached, nobody logged in, no client open."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for constant, value in (
        ("HF_HUB_CACHE", str(tmp_path / "hub")),
        ("HF_TOKEN_PATH", str(tmp_path / "token")),
        ("HF_HUB_OFFLINE", False),
    ):
        monkeypatch.setattr(f"huggingface_hub.constants.{constant}", value)
    close_session()
    yield tmp_path
    close_session()


def answer_with(monkeypatch: pytest.MonkeyPatch, status: int, fields: tuple[tuple[str, str], ...]) -> None:
    answers = httpx.MockTransport(lambda _: httpx.Response(status, headers=fields))
    monkeypatch.setattr(
        "huggingface_hub.utils._http._GLOBAL_CLIENT_FACTORY", lambda: httpx.Client(transport=answers)
    )


EXPIRED = (("X-Error-Message", 'User Access Token "x" is expired'),)
INVALID = (("X-Error-Message", "Invalid credentials in Authorization header"),)
GATED = (("X-Error-Code", "GatedRepo"),)
MISSING = (("X-Error-Code", "RepoNotFound"),)


@pytest.mark.parametrize(
    ("status", "fields", "token", "told"),
    [
        (401, EXPIRED, "HF_TOKEN", "refused the token in HF_TOKEN .*`unset HF_TOKEN`, since a public"),
        (401, INVALID, "HF_TOKEN", "refused the token in HF_TOKEN .*`unset HF_TOKEN`, since a public"),
        (401, INVALID, "HUGGING_FACE_HUB_TOKEN", "the token in HUGGING_FACE_HUB_TOKEN"),
        (401, INVALID, "saved", "refused the token of `hf auth login` .*log in again, or `hf auth logout`"),
        (401, (), "", "no such model on the hub.*`hf auth login` first"),
        (404, MISSING, "HF_TOKEN", "no such model on the hub.*`hf auth login` first"),
        (401, GATED, "", "is gated: accept its terms"),
        (403, GATED, "HF_TOKEN", "is gated: accept its terms"),
        (403, (("X-Error-Message", "no right"),), "HF_TOKEN", r"the hub answered 403 \(no right\)"),
        (429, (), "", r"answered 429 \(Too Many Requests\)\. Try again later$"),
        (503, (), "", r"answered 503 \(Service Unavailable\)\. Try again later$"),
        (404, (), "", r"answered 404 \(Not Found\)\. Download it once"),
    ],
)
def test_what_the_hub_answers(
    no_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    fields: tuple[tuple[str, str], ...],
    token: str,
    told: str,
) -> None:
    answer_with(monkeypatch, status, fields)
    if token == "saved":
        (no_cache / "token").write_text("hf_old")
    elif token:
        monkeypatch.setenv(token, "hf_old")
    with pytest.raises(ModelError, match=told) as error:
        local_model_folder("org/name")
    assert "cannot be reached" not in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "SSL_CERT_FILE",
            "{0}/gone.pem",
            r"SSL_CERT_FILE=\S+/gone\.pem: that file does not exist; `unset SSL",
        ),
        ("SSL_CERT_FILE", "{0}", r"SSL_CERT_FILE=\S+: that file holds no certificates \(Is a directory\)"),
        ("HF_ENDPOINT", "hf.example", "HF_ENDPOINT=hf.example has .* set HF_ENDPOINT=https://hf.example, or"),
        ("HF_ENDPOINT", "htps://hf.example/", " set HF_ENDPOINT=https://hf.example, or `unset"),
        ("HF_ENDPOINT", "", "HF_ENDPOINT= has to begin with https://; `unset HF_ENDPOINT`"),
        (
            "HF_TOKEN",
            "hf_\u00fc",
            "HF_TOKEN holds a character that no token has; copy the token again, or `unset HF_TOKEN`",
        ),
        ("HF_HOME", __file__, "test_hub_failures.py is a file; set it to a folder, or `unset HF_HOME`"),
    ],
)
def test_a_variable_that_leads_nowhere(
    no_cache: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    """A run, an evaluation and the doctor say the same."""
    monkeypatch.setenv(variable, value.format(no_cache))
    if variable == "HF_ENDPOINT":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", value.rstrip("/"))
    config = load_config(["recipe=cpu_tiny", "model.path=org/name"]).config
    with pytest.raises(ModelError, match=f"the hub cannot be asked: .*{told}"):
        require_usable_model(config)
    with pytest.raises(ModelError, match=told):
        resolve("org/name")
    (finding,) = (found for found in fit_findings(detect(), config, no_cache) if "not here yet" in found.seen)
    assert finding.fix.startswith(variable) and "unset" in finding.fix


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "HF_ENDPOINT",
            "http://127.0.0.1:9",
            r"the hub http://127\.0\.0\.1:9 \(HF_ENDPOINT\) cannot be reached",
        ),
        ("HF_ENDPOINT", "https://hf.example:port", r"\(InvalidURL: Invalid port: 'port'\)"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", r"\((ImportError: Using SOCKS proxy.*|ConnectError.*)\)"),
    ],
)
def test_a_hub_out_of_reach_is_named(
    no_cache: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    """The last two ended in a traceback."""
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv(variable, value)
    if variable == "HF_ENDPOINT":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", value)
    with pytest.raises(ModelError, match=told):
        local_model_folder("org/name")


def test_with_a_token_that_is_refused_the_cache_is_used(
    no_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit in the cache was "no such model"."""
    snapshot = no_cache / "hub" / "models--org--tiny" / "snapshots" / ("a" * 40)
    shutil.copytree(TINY, snapshot)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    answer_with(monkeypatch, 401, EXPIRED)
    assert local_model_folder(f"org/tiny@{snapshot.name}") == snapshot

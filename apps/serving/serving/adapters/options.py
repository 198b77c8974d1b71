"""Where adapters may come from and how much room they may take: the adapters' part of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.adapters.fetch import FetchLimits

AWS = "https://s3.amazonaws.com"
HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class S3Options:
    endpoint: str  # http://… or https://…
    region: str
    allow: tuple[str, ...]  # "bucket" or "bucket/prefix"
    access_key: str | None = None  # none of the three: public buckets alone
    secret_key: str | None = None
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class HubOptions:
    endpoint: str
    allow: tuple[str, ...]  # "owner" or "owner/name"
    token: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """Where adapters may come from and how much room they may take."""

    cache: Path
    gateway_url: str | None
    internal_secret: str | None
    local: Path | None
    memory_bytes: int
    disk_bytes: int
    limits: FetchLimits
    s3: S3Options | None = None
    hub: HubOptions | None = None


def read_s3(allow: tuple[str, ...], env: Mapping[str, str]) -> S3Options | None:
    """The names that AWS's own tools use, and LoRAX's S3_ENDPOINT_URL."""
    if not allow:
        return None
    return S3Options(
        endpoint=env.get("S3_ENDPOINT_URL") or env.get("AWS_ENDPOINT_URL_S3") or AWS,
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
        allow=allow,
        access_key=env.get("AWS_ACCESS_KEY_ID"),
        secret_key=env.get("AWS_SECRET_ACCESS_KEY"),
        session_token=env.get("AWS_SESSION_TOKEN"),
    )


def read_hub(allow: tuple[str, ...], env: Mapping[str, str]) -> HubOptions | None:
    return HubOptions(env.get("HF_ENDPOINT") or HUB, allow, env.get("HF_TOKEN") or None) if allow else None

"""Who an adapter is: (tenant, repository/version, sha256). Names are checked here, before anything else sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_GROVE_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?/(?:[1-9][0-9]{0,8}|[0-9a-f]{8}-step-[1-9][0-9]{0,6})")
_LOCAL_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w][\w./-]{0,99}))?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY_PART = re.compile(r"[\w!'()*+=,&$@~-][\w!'()*+=,&$@~. -]{0,254}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER_ITEM = re.compile(r"(?P<id>[^@;,\s]+)@(?P<sha>[0-9a-f]{64})(?:;format=(?P<format>raw|chat))?")


class AdapterFailure(Exception):
    """The adapter can't be used for this request; the message goes to the client."""


@dataclass(frozen=True, slots=True)
class AdapterRef:
    tenant: str
    id: str
    sha256: str
    prompt_format: str  # "raw" or "chat"
    source: str  # as x-adapter-source says it

    @property
    def label(self) -> str:
        return f"{self.id}@{self.sha256}"


def check_grove_id(adapter_id: str) -> str:
    if len(adapter_id) > 90 or not _GROVE_ID.fullmatch(adapter_id):
        raise AdapterFailure(
            f"{adapter_id[:80]!r} is not an adapter id; it must be repository/version, for example support-intents/1"
        )
    return adapter_id


def check_local_id(adapter_id: str) -> str:
    parts = adapter_id.split("/")
    if len(parts) > 6 or not all(_LOCAL_PART.fullmatch(part) for part in parts):
        raise AdapterFailure(f"{adapter_id[:80]!r} is not a folder name under the local adapters folder")
    return adapter_id


def split_s3_id(adapter_id: str) -> tuple[str, str]:
    """ "s3://bucket/some/prefix", or the same without the scheme -> ("bucket", "some/prefix")."""
    bucket, _, prefix = adapter_id.removeprefix("s3://").rstrip("/").partition("/")
    parts = prefix.split("/")
    good = len(adapter_id) <= 1024 and _BUCKET.fullmatch(bucket) and ".." not in bucket
    if not good or not all(_KEY_PART.fullmatch(part) for part in parts):
        raise AdapterFailure(f"{adapter_id[:80]!r} is not an adapter in S3; it must be bucket/prefix")
    return bucket, prefix


def split_hub_id(adapter_id: str) -> tuple[str, str]:
    """ "owner/name@revision" -> ("owner/name", "revision"), "main" where none is given."""
    match = _HUB_ID.fullmatch(adapter_id)
    if match is None or ".." in adapter_id or "--" in match["repo"]:
        raise AdapterFailure(f"{adapter_id[:80]!r} is not an adapter on the Hub; it must be owner/name@revision")
    return match["repo"], match["revision"] or "main"


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def parse_internal_header(header: str, tenant: str, ids: list[str]) -> list[AdapterRef]:
    """`x-grove-adapter` of a trusted caller: one `id@sha256;format=raw` for each id, in their order."""
    refs = []
    for item in header.split(","):
        match = _HEADER_ITEM.fullmatch(item.strip())
        if match is None:
            raise AdapterFailure("the x-grove-adapter header is malformed")
        prompt_format = match["format"] or "raw"
        refs.append(AdapterRef(tenant, check_grove_id(match["id"]), match["sha"], prompt_format, "grove"))
    if [ref.id for ref in refs] != ids:
        raise AdapterFailure("the x-grove-adapter header does not name the adapters of the request")
    return refs

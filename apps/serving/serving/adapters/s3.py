"""`adapter_source: s3`: folders in an S3-compatible store, under the server's own credentials and an allow-list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from serving.adapters.fetch import FetchLimits, Sink, Unreachable
from serving.adapters.identity import AdapterFailure, split_s3_id
from serving.adapters.options import S3Options
from serving.adapters.store import FILES

ABSENT = ("NoSuchKey", "NoSuchBucket", "ResourceNotFound", "NoSuchVersion", "NotFound")
BLOCK = 1 << 18


class S3Source:
    def __init__(self, options: S3Options, limits: FetchLimits) -> None:
        url = urlsplit(options.endpoint)
        self._allow = tuple(entry.removeprefix("s3://").strip("/") for entry in options.allow)
        timeout = urllib3.Timeout(connect=limits.connect_s, read=limits.stall_s)
        self._client = Minio(
            url.netloc,
            access_key=options.access_key,
            secret_key=options.secret_key,
            session_token=options.session_token,
            secure=url.scheme == "https",
            region=options.region,
            http_client=urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(0), maxsize=32),
        )

    def check(self, adapter_id: str) -> None:
        place = "/".join(split_s3_id(adapter_id))
        if not any(place == entry or place.startswith(f"{entry}/") for entry in self._allow):
            raise AdapterFailure(f"adapter {adapter_id} is not in a bucket or prefix that this server may use")

    def fixed(self, adapter_id: str) -> bool:
        return False

    def stamp(self, adapter_id: str) -> str:
        """The ETags of both files, in their order."""
        bucket, prefix = split_s3_id(adapter_id)
        with _named(adapter_id):
            return " ".join(str(self._client.stat_object(bucket, f"{prefix}/{name}").etag) for name in FILES)

    def download(self, adapter_id: str, stamp: str, name: str, sink: Sink) -> None:
        bucket, prefix = split_s3_id(adapter_id)
        etag = stamp.split(" ")[FILES.index(name)]
        with _named(adapter_id):
            headers: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{etag}"'}
            response = self._client.get_object(bucket, f"{prefix}/{name}", request_headers=headers)
            try:
                for block in response.stream(BLOCK):
                    sink.write(block)
            finally:
                response.close()
                response.release_conn()


@contextmanager
def _named(adapter_id: str) -> Iterator[None]:
    """S3's errors as ours."""
    try:
        yield
    except S3Error as error:
        if error.code in ABSENT:
            raise AdapterFailure(f"adapter {adapter_id} was not found in S3") from error
        if error.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            raise AdapterFailure(f"this server's credentials do not open adapter {adapter_id} in S3") from error
        if error.code == "PreconditionFailed":
            raise Unreachable(f"adapter {adapter_id} changed in S3 while it was fetched") from error
        raise Unreachable(f"adapter {adapter_id} could not be fetched from S3: {error.code}") from error
    except (urllib3.exceptions.HTTPError, InvalidResponseError, ServerError, OSError) as error:
        raise Unreachable(f"adapter {adapter_id} could not be fetched from S3: {type(error).__name__}") from error

"""`adapter_source: hub`: repositories of the Hugging Face Hub, by an allow-list of owners and repositories.

huggingface_hub finds the file and its commit; the bytes come by our own client, so that its limits of time and size
hold. Every fetch is pinned to one commit. Two files are read, and never a pickle.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from huggingface_hub import HfFileMetadata, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from serving.adapters.fetch import FetchLimits, Sink, Unreachable
from serving.adapters.identity import AdapterFailure, is_sha256, split_hub_id
from serving.adapters.options import HubOptions
from serving.adapters.store import FILES

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubSource:
    def __init__(self, options: HubOptions, limits: FetchLimits) -> None:
        self._options = options
        self._endpoint = options.endpoint.rstrip("/")
        self._limits = limits
        timeout = httpx.Timeout(limits.stall_s, connect=limits.connect_s)
        self._http = httpx.Client(timeout=timeout, follow_redirects=True)

    def check(self, adapter_id: str) -> None:
        repo, _ = split_hub_id(adapter_id)
        if repo not in self._options.allow and repo.split("/")[0] not in self._options.allow:
            raise AdapterFailure(f"adapter {adapter_id} is not of an owner or repository that this server may use")

    def fixed(self, adapter_id: str) -> bool:
        return _COMMIT.fullmatch(split_hub_id(adapter_id)[1]) is not None

    def stamp(self, adapter_id: str) -> str:
        """The commit that the revision means now."""
        repo, revision = split_hub_id(adapter_id)
        with self._named(adapter_id):
            commit = self._metadata(repo, FILES[0], revision).commit_hash
        if commit is None or not _COMMIT.fullmatch(commit):
            raise AdapterFailure(f"the Hub did not say which commit adapter {adapter_id} is at")
        return commit

    def download(self, adapter_id: str, stamp: str, name: str, sink: Sink) -> None:
        repo, _ = split_hub_id(adapter_id)
        with self._named(adapter_id):
            about = self._metadata(repo, name, stamp)
            if about.commit_hash != stamp:
                raise AdapterFailure(f"the Hub answered with another commit of adapter {adapter_id}")
            if (about.size or 0) > self._limits.max_bytes:
                raise AdapterFailure(f"adapter {adapter_id} is larger than {self._limits.max_bytes} bytes")
            size, digest = 0, hashlib.sha256()
            with self._http.stream("GET", about.location, headers=self._headers(about.location)) as response:
                response.raise_for_status()
                for block in response.iter_bytes():
                    size += len(block)
                    digest.update(block)
                    sink.write(block)
        if about.size is not None and size != about.size:
            raise Unreachable(f"adapter {adapter_id}: {name} came with {size} of {about.size} bytes")
        # The ETag of a large file is its SHA-256.
        if about.etag is not None and is_sha256(about.etag) and digest.hexdigest() != about.etag:
            raise Unreachable(f"adapter {adapter_id}: {name} is not what its ETag says")

    def _metadata(self, repo: str, name: str, revision: str) -> HfFileMetadata:
        url = hf_hub_url(repo, name, revision=revision, endpoint=self._endpoint)
        token = self._options.token or False
        return get_hf_file_metadata(url, token=token, timeout=self._limits.connect_s, endpoint=self._endpoint)

    def _headers(self, location: str) -> dict[str, str]:
        """The token goes to the Hub itself, never to the store that it redirects to."""
        same = urlsplit(location)[:2] == urlsplit(self._endpoint)[:2]
        return {"authorization": f"Bearer {self._options.token}"} if same and self._options.token else {}

    @contextmanager
    def _named(self, adapter_id: str) -> Iterator[None]:
        """The Hub's errors as ours."""
        try:
            yield
        except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise AdapterFailure(
                f"adapter {adapter_id} was not found on the Hub with {' and '.join(FILES)} (pickled weights are never "
                "loaded), or this server may not see it"
            ) from error
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in (401, 403):
                raise AdapterFailure(f"this server's token does not open adapter {adapter_id} on the Hub") from error
            raise Unreachable(f"the Hub answered {status} for adapter {adapter_id}") from error
        except AdapterFailure:
            raise
        except Exception as error:  # the client library's transport has errors of its own
            raise Unreachable(f"adapter {adapter_id} could not be fetched from the Hub: {error}") from error

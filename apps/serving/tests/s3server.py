"""A real S3 server (SeaweedFS, one process) with credentials that it checks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3
from minio import Minio
from server import free_port

ACCESS, SECRET_KEY = "test-access", "test-secret-key"
WEED = Path(sys.executable).parent / "weed"


@contextmanager
def s3_server(root: Path) -> Iterator[tuple[str, Minio]]:
    """(its URL, a client that may do everything)"""
    root.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (root / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    grpc = [f"-{name}.port.grpc={free_port()}" for name in ports]
    flags = [f"-{name}.port={port}" for name, port in ports.items()]
    command = [str(WEED), "server", "-s3", f"-dir={root}", "-ip=127.0.0.1", f"-s3.config={root}/s3.json", *flags, *grpc]
    command += [
        "-master.volumeSizeLimitMB=64",
        "-volume.max=4",
        "-master.telemetry=false",
        "-master.electionTimeout=500ms",
        "-master.heartbeatInterval=100ms",
        "-s3.port.iceberg=0",
    ]
    log = (root / "weed.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        client = Minio(
            f"127.0.0.1:{ports['s3']}",
            access_key=ACCESS,
            secret_key=SECRET_KEY,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=urllib3.Retry(0)),
        )
        for _ in range(300):
            try:
                client.list_buckets()
                break
            except Exception:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{ports['s3']}", client
    finally:
        process.kill()
        process.wait()
        log.close()

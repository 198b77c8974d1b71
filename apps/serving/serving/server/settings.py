"""Settings: flags, each with an environment fallback, read once at start."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.adapters.fetch import FetchLimits
from serving.adapters.options import AdapterOptions, read_hub, read_s3
from serving.engine.draft import MOST

GIB = 1 << 30
MAX_RANK = 256  # what the native kernel has room for


@dataclass(frozen=True, slots=True)
class Settings:
    model: Path
    model_id: str
    host: str
    port: int
    device: str
    threads: int
    internal_secret: str | None
    default_tenant: str | None
    adapters: AdapterOptions
    adapter_slots: int
    max_rank: int
    max_concurrent_requests: int
    max_running: int
    max_input_length: int
    max_total_tokens: int
    max_best_of: int
    max_stop_sequences: int
    kv_tokens: int
    step_tokens: int
    mixed_step_tokens: int
    speculative_tokens: int
    preload: tuple[str, ...]
    weights: str
    log_level: str
    log_format: str
    client_timeout_s: float
    drain_s: float


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serving", description="Grove's multi-LoRA inference server")

    def flag(name: str, default: object, kind: type, text: str, variable: str | None = None) -> None:
        variable = variable or "GROVE_SERVING_" + name.upper().replace("-", "_")
        found = env.get(variable)
        parser.add_argument(
            f"--{name}", type=kind, default=kind(found) if found else default, help=f"{text} (or {variable})"
        )

    flag("model", None, Path, "folder of the base model")
    flag("model-id", None, str, "the base model's name in answers; its folder's name otherwise")
    flag("host", "127.0.0.1", str, "address to listen on")
    flag("port", 3000, int, "port to listen on")
    flag("device", "auto", str, "auto, cpu or cuda")
    flag("threads", 0, int, "compute threads; 0: one for each core")
    flag("default-tenant", None, str, "tenant of requests without a token", "GROVE_DEFAULT_TENANT")
    flag("gateway-url", None, str, "where adapters are resolved and fetched", "GROVE_GATEWAY_URL")
    flag("local-adapters", None, Path, "root of adapter_source local", "GROVE_LOCAL_ADAPTERS")
    flag("cache", None, Path, "folder for fetched adapters", "GROVE_SERVING_CACHE")
    flag("adapter-slots", 128, int, "adapters resident at once")
    flag("adapter-memory-gb", 4.0, float, "memory for loaded adapters")
    flag("adapter-disk-gb", 20.0, float, "disk for fetched adapters")
    flag("max-adapter-gb", 2.0, float, "largest adapter file accepted")
    flag("fetch-connect-s", 5.0, float, "how long reaching an adapter's store may take")
    flag("fetch-stall-s", 10.0, float, "how long a download may go without a byte")
    flag("fetch-total-s", 120.0, float, "how long an adapter's download may take, all tries together")
    flag("s3-allow", "", str, "bucket or bucket/prefix of adapter_source s3, comma-separated; none: off")
    flag("hub-allow", "", str, "owner or owner/name of adapter_source hub, comma-separated; none: off")
    flag("max-rank", 64, int, "largest adapter rank accepted")
    flag("max-concurrent-requests", 1024, int, "beyond it the answer is 429")
    flag("max-running", 64, int, "requests in one batch")
    flag("max-input-length", 0, int, "prompt tokens; 0: max-total-tokens - 1")
    flag("max-total-tokens", 0, int, "prompt and answer together; 0: the model's context, at most 4096")
    flag("max-best-of", 4, int, "largest best_of and n")
    flag("max-stop-sequences", 4, int, "stop sequences in one request")
    flag("kv-tokens", 0, int, "tokens of KV cache; 0: eight full contexts")
    flag("step-tokens", 512, int, "prompt tokens computed in one step")
    flag("mixed-step-tokens", 128, int, "the same while other requests are producing tokens")
    flag("speculative-tokens", MOST, int, "tokens of an answer guessed at once by prompt lookup; 0: none")
    flag("preload", "", str, "adapter ids to load at start, comma-separated")
    flag("weights", "auto", str, "base weights: auto, int8 or fp32 (native), torch (fp32), bf16 or fp16")
    flag("log-level", "info", str, "debug, info, warning or error")
    flag("log-format", "text", str, "text or json, one line for each request")
    flag("client-timeout-s", 30.0, float, "how long a client may take to send a request, or read nothing of a stream")
    flag("drain-s", 20.0, float, "how long running requests may go on after SIGTERM")
    return parser


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _adapter_options(args: argparse.Namespace, env: Mapping[str, str]) -> AdapterOptions:
    return AdapterOptions(
        cache=args.cache or Path.home() / ".cache" / "grove-serving",
        gateway_url=args.gateway_url,
        internal_secret=env.get("GROVE_INTERNAL_SECRET") or None,
        local=args.local_adapters,
        memory_bytes=int(args.adapter_memory_gb * GIB),
        disk_bytes=int(args.adapter_disk_gb * GIB),
        limits=FetchLimits(
            args.fetch_connect_s, args.fetch_stall_s, args.fetch_total_s, int(args.max_adapter_gb * GIB)
        ),
        s3=read_s3(_listed(args.s3_allow), env),
        hub=read_hub(_listed(args.hub_allow), env),
    )


def read_settings(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> Settings:
    parser = _parser(env)
    args = parser.parse_args(argv)
    if args.model is None:
        parser.error("--model is required: the folder of the base model")
    for name in ("adapter_slots", "max_rank", "max_concurrent_requests", "max_running", "step_tokens"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.speculative_tokens < 0:
        parser.error("--speculative-tokens must be at least 0")
    if args.log_format not in ("text", "json"):
        parser.error("--log-format must be text or json")
    if args.client_timeout_s <= 0 or args.drain_s < 0:
        parser.error("--client-timeout-s must be over 0 and --drain-s at least 0")
    if args.max_rank > MAX_RANK:
        parser.error(f"--max-rank must be at most {MAX_RANK}")
    return Settings(
        model=args.model,
        model_id=args.model_id or args.model.resolve().name,
        host=args.host,
        port=args.port,
        device=args.device,
        threads=args.threads,
        internal_secret=env.get("GROVE_INTERNAL_SECRET") or None,
        default_tenant=args.default_tenant,
        adapters=_adapter_options(args, env),
        adapter_slots=args.adapter_slots,
        max_rank=args.max_rank,
        max_concurrent_requests=args.max_concurrent_requests,
        max_running=args.max_running,
        max_input_length=args.max_input_length,
        max_total_tokens=args.max_total_tokens,
        max_best_of=args.max_best_of,
        max_stop_sequences=args.max_stop_sequences,
        kv_tokens=args.kv_tokens,
        step_tokens=args.step_tokens,
        mixed_step_tokens=args.mixed_step_tokens,
        speculative_tokens=args.speculative_tokens,
        preload=_listed(args.preload),
        weights=args.weights,
        log_level=args.log_level,
        log_format=args.log_format,
        client_timeout_s=args.client_timeout_s,
        drain_s=args.drain_s,
    )

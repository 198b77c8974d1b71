"""Text on both sides of the engine: tokens of a prompt, text of tokens, and stop sequences."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lora_py.prompts import load_tokenizer
from tokenizers import Tokenizer

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_ONE_BYTE = re.compile("<0x[0-9A-F]{2}>")
# Byte-level tokenizers write each byte as a character that can be seen: most as themselves, the others from U+0100 on.
_SEEN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_BYTE_OF = {chr(byte): byte for byte in _SEEN} | {
    chr(0x100 + index): byte for index, byte in enumerate(sorted({*range(0x100)} - {*_SEEN}))
}


class TextCodec:
    def __init__(self, folder: Path) -> None:
        self.tokenizer: Tokenizer = load_tokenizer(folder)
        told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        added = told.get("added_tokens", [])
        self.special_ids = frozenset(int(token["id"]) for token in added if token.get("special"))
        self._added_ids = frozenset(int(token["id"]) for token in added)
        self._in_bytes = '"ByteLevel"' in json.dumps(told.get("decoder"))
        self._longest = max(map(len, self.tokenizer.get_vocab()))

    def most_chars(self, tokens: int) -> int:
        """No text of more characters has so few tokens; the slack is for white space that a tokenizer drops."""
        return self._longest * tokens + 10_000

    def encode(self, text: str, special: bool = True) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=skip_special))

    def token_text(self, token: int) -> str:
        return self.decode([token], skip_special=False)

    def token_bytes(self, token: int) -> bytes:
        """Its own bytes, also where they are a part of a character only."""
        piece = self.tokenizer.id_to_token(token) or ""
        if token in self._added_ids:
            return piece.encode()
        if self._in_bytes:
            return bytes(_BYTE_OF[char] for char in piece)
        if _ONE_BYTE.fullmatch(piece):  # SentencePiece writes what it has no token for as <0xF0><0x9F>…
            return bytes([int(piece[1:-1], 16)])
        return piece.replace("\u2581", " ").encode()

    def pieces(self, text: str, special: bool = True) -> list[tuple[int, str, int, int]]:
        encoding = self.tokenizer.encode(text, add_special_tokens=special)
        return [
            (token, text[start:stop] if stop > start else self.token_text(token), start, stop)
            for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
        ]


@dataclass(slots=True)
class TokenDecoder:
    """Turns a stream of tokens into a stream of text; half a character waits for its other half."""

    codec: TextCodec
    ids: list[int] = field(default_factory=list)
    _context: int = 0  # where the text that gives the next token its context begins
    _told: int = 0  # tokens whose text has been given out

    def add(self, token: int) -> str:
        self.ids.append(token)
        before = self.codec.decode(self.ids[self._context : self._told], skip_special=False)
        after = self.codec.decode(self.ids[self._context :], skip_special=False)
        if len(after) <= len(before) or after.endswith(_BROKEN):
            return ""
        self._context = self._told
        self._told = len(self.ids)
        return after[len(before) :]

    def flush(self) -> str:
        """What is left at the end: the text of tokens that never made a whole character."""
        before = self.codec.decode(self.ids[self._context : self._told], skip_special=False)
        after = self.codec.decode(self.ids[self._context :], skip_special=False)
        self._context, self._told = self._told, len(self.ids)
        return after[len(before) :]


@dataclass(slots=True)
class StopMatcher:
    """Finds stop sequences in the decoded text, across the borders of tokens."""

    stops: Sequence[str]
    text: str = ""

    def add(self, piece: str) -> int | None:
        """Where the text ends (just behind the stop sequence) when one has appeared."""
        searched = max(0, len(self.text) - max((len(stop) for stop in self.stops), default=0))
        self.text += piece
        ends = [at + len(stop) for stop in self.stops if stop and (at := self.text.find(stop, searched)) >= 0]
        return min(ends, default=None)

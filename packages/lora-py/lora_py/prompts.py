"""How a prompt becomes tokens: one function for the trainer and for serving, so what was trained is what is served."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from lora_py.chat_template import ChatTemplate, one_turn
from lora_py.peft_files import PromptFormat


def load_tokenizer(base: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode_prompt(
    tokenizer: Tokenizer, template: ChatTemplate | None, prompt: str, prompt_format: PromptFormat
) -> list[int]:
    """`raw`: the prompt as written, with what the tokenizer itself puts in front (a BOS, for some bases).
    `chat`: one user turn of the base's template, which writes its own BOS."""
    if prompt_format == "raw":
        ids: list[int] = tokenizer.encode(prompt).ids
        return ids
    if template is None:
        raise ValueError("The base model has no chat template, so only prompt_format raw is possible.")
    turn: list[int] = tokenizer.encode(one_turn(template, prompt), add_special_tokens=False).ids
    return turn


def encode_completion(tokenizer: Tokenizer, completion: str, eos: int, spaced: bool) -> list[int]:
    """The completion is tokenized apart from the prompt, as serving sees the prompt alone. `spaced`: a space goes in
    front where neither the prompt ends nor the completion begins with whitespace; without it "Answer:" + "yes" would
    teach a token that no text of that form contains. Generated text then begins with a space, which readers trim."""
    space = " " if spaced and completion and not completion[0].isspace() else ""
    ids: list[int] = tokenizer.encode(space + completion, add_special_tokens=False).ids
    return [*ids, eos]


def needs_space(prompt: str, prompt_format: PromptFormat) -> bool:
    """Chat turns end where the template says, and their answers begin as written."""
    return prompt_format == "raw" and bool(prompt) and not prompt[-1].isspace()

"""Trains LoRA adapters over one frozen base: a spec file in, event lines out, adapter folders out."""

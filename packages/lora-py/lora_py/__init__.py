"""What the trainer and the serving engine share: base models, adapter folders, chat templates, grouped LoRA."""

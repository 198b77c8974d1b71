"""What the trainer and the serving engine share: base models, adapter folders, chat templates, the grouped LoRA layer."""

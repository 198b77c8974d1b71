"""One job of a trainer process: its rows, adapter, optimizer, schedule, early stop and checkpoints."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainer import schedule
from trainer.batches import epoch_order, validation_sample
from trainer.checkpoint import Position, read_latest, write_checkpoint
from trainer.clock import Clock
from trainer.data import Rows
from trainer.errors import TrainerError
from trainer.events import Emit, Paused, Resumed, Started, StepDone, StoppedBy, Validation, Warning
from trainer.lora import Lora
from trainer.objectives import Measured, Reference
from trainer.optimizers import make_optimizer, optimizer_state, restore_optimizer
from trainer.packing import Example
from trainer.spec import Spec

RECENT = 20  # steps whose mean is the reported training loss
EVENT_GAP = 0.1  # seconds between two step events


class Job:
    def __init__(
        self, spec: Spec, train: Rows, validation: Rows | None, lora: Lora, emit: Emit, now: Callable[[], float]
    ) -> None:
        self.spec, self.train, self.lora, self.emit = spec, train, lora, emit
        training = spec.training
        self.total_steps = schedule.total_steps(training, len(train.examples))
        self._parameter = torch.nn.Parameter(lora.flat)
        self._parameter.grad = lora.flat_grad
        self._optimizer = make_optimizer(training, self._parameter)
        self._now, self._clock = now, Clock(now)
        self._evaluate_every = schedule.every(training.evaluate_every_steps, self.total_steps)
        self._checkpoint_every = schedule.every(training.checkpoint_every_steps, self.total_steps)
        self.evaluations = math.ceil(self.total_steps / self._evaluate_every)
        seen = self.total_steps * min(training.batch_size, len(train.examples))
        examples = () if validation is None else validation.examples
        self.validation_rows = validation_sample(examples, seen, self.evaluations, training.seed)
        self._position = Position(0, 0, 0.0, (), None, None, 0)
        self.reference = Reference()
        self._best: Tensor | None = None
        self._epoch: tuple[int, list[list[int]]] = (-1, [])
        self._last_event = -math.inf
        self.device = ""
        self._validation_count = len(examples)

    @property
    def step(self) -> int:
        return self._position.step

    @property
    def tokens(self) -> int:
        return self._position.tokens

    @property
    def position(self) -> Position:
        return dataclasses.replace(self._position, seconds=self._clock.seconds())

    def start(self, device: str) -> None:
        """Takes up the newest checkpoint, if there is one, and announces the run."""
        self.device = device
        found, ignored = read_latest(self.spec.checkpoint_dir, self._fingerprint())
        for reason in ignored:
            self.emit(Warning("checkpoint_ignored", f"A checkpoint was not used: {reason}"))
        if found is not None:
            self._position, tensors = found
            self._clock = Clock(self._now, self._position.seconds)
            self.lora.restore(tensors["adapter"])
            restore_optimizer(self._optimizer, tensors)
            self._best = tensors.get("best")
        self.emit(
            Started(
                total_steps=self.total_steps,
                train_rows=len(self.train.examples),
                validation_rows=self._validation_count,
                max_length=self.train.max_length,
                rows_cut=self.train.cut,
                rows_dropped=self.train.dropped,
                tokens_per_epoch=self.train.tokens,
                trainable_parameters=self.lora.flat.numel(),
                device=device,
                resumed_from_step=self.step,
                data_kind=self.train.kind,
                lengths=self.train.histogram(),
                labels=self.train.labels,
            )
        )
        self._warn()

    def next_rows(self) -> list[Example]:
        per_epoch = math.ceil(len(self.train.examples) / self.spec.training.batch_size)
        epoch, at = divmod(self.step, per_epoch)
        if self._epoch[0] != epoch:
            lengths = [example.length for example in self.train.examples]
            seed = self.spec.training.seed
            self._epoch = (epoch, epoch_order(lengths, self.spec.training.batch_size, seed, epoch))
        return [self.train.examples[row] for row in self._epoch[1][at]]

    def update(self, measured: Measured, rows: list[Example]) -> None:
        """Clips the gradient that this step left behind, moves the adapter, and tells of it."""
        training, loss = self.spec.training, measured.loss
        gradient = self.lora.flat_grad
        norm = float(gradient.norm())
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainerError(
                "trainer_diverged",
                f"The loss stopped being a number at step {self.step + 1}: no adapter was written. "
                "Lower the learning rate, or lengthen the warm-up.",
            )
        if norm > training.max_grad_norm:
            gradient.mul_(training.max_grad_norm / (norm + 1e-6))
        done = schedule.progress(training, self.step, self.total_steps, self._clock.seconds())
        rate = schedule.learning_rate(training, done, self.total_steps)
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        gradient.zero_()
        self._position = dataclasses.replace(
            self._position,
            step=self.step + 1,
            tokens=self.tokens + sum(row.length for row in rows),
            recent_losses=(*self._position.recent_losses, loss)[-RECENT:],
        )
        self._tell(measured, rate)

    def stopped_by(self) -> StoppedBy | None:
        training = self.spec.training
        patience = training.early_stopping_patience
        if patience is not None and self._position.worse_in_a_row >= patience:
            return "early_stopping"
        if self.step >= self.total_steps:
            return "max_steps" if training.max_steps == self.total_steps else "epochs"
        if training.max_seconds is not None and self._clock.seconds() >= training.max_seconds:
            return "max_seconds"
        return None

    def wants_validation(self, ending: bool) -> bool:
        return bool(self.validation_rows) and (ending or self.step % self._evaluate_every == 0)

    def validated(self, measured: Measured) -> bool:
        loss = measured.loss
        self.emit(Validation(self.step, loss, measured.preferred))
        best = self._position.best_loss
        better = math.isfinite(loss) and (best is None or loss < best)
        self._position = dataclasses.replace(
            self._position,
            validation_loss=loss,
            best_loss=loss if better else best,
            worse_in_a_row=0 if better else self._position.worse_in_a_row + 1,
        )
        if better and self.spec.training.early_stopping_patience is not None:
            self._best = self.lora.snapshot()
        return True

    def pause(self) -> None:
        self._clock.stop()
        self.emit(Paused(self.step, self.tokens, self._clock.seconds()))

    def resume(self) -> None:
        self._clock.go()
        self.emit(Resumed(self.step))

    @property
    def paused(self) -> bool:
        return self._clock.stands

    @property
    def checkpoint_due(self) -> bool:
        return self.step % self._checkpoint_every == 0

    @property
    def checkpoints(self) -> int:
        """Of a run to its last step, after which the adapter itself is written."""
        return (self.total_steps - 1) // self._checkpoint_every

    def save_state(self) -> None:
        """What a later attempt goes on from."""
        tensors = {"adapter": self.lora.flat, **optimizer_state(self._optimizer, self._parameter)}
        if self._best is not None:
            tensors["best"] = self._best
        write_checkpoint(
            self.spec.checkpoint_dir,
            self._fingerprint(),
            self.position,
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        )

    def settle(self) -> None:
        """With early stopping, the adapter that is kept is the best one validated, not the last."""
        if self._best is not None:
            self.lora.restore(self._best)
            self.choose(self._position.best_loss)

    def choose(self, validation_loss: float | None) -> None:
        """The adapter is an earlier one again, of that loss."""
        self._position = dataclasses.replace(self._position, validation_loss=validation_loss)

    @property
    def epochs_done(self) -> float:
        return self.step / math.ceil(len(self.train.examples) / self.spec.training.batch_size)

    @property
    def train_loss(self) -> float:
        losses = self._position.recent_losses
        return sum(losses) / max(1, len(losses))

    def _tell(self, measured: Measured, rate: float) -> None:
        seconds = self._clock.seconds()
        if seconds - self._last_event < EVENT_GAP and self.step < self.total_steps:
            return
        self._last_event = seconds
        done = schedule.progress(self.spec.training, self.step, self.total_steps, seconds)
        self.emit(
            StepDone(
                step=self.step,
                total_steps=self.total_steps,
                epoch=self.epochs_done,
                loss=measured.loss,
                learning_rate=rate,
                tokens=self.tokens,
                tokens_per_second=self.tokens / max(seconds, 1e-9),
                seconds=seconds,
                seconds_left=seconds * (1 - done) / max(done, 1e-9),
                preferred=measured.preferred,
            )
        )

    def _warn(self) -> None:
        if set(self.lora.modules) != set(self.spec.adapter.target_modules):
            text = f"This base has linears of its own names: the adapter is on {', '.join(self.lora.modules)}."
            self.emit(Warning("modules_mapped", text))
        if self.train.dropped:
            text = f"{self.train.dropped} rows were left out: their completion is empty or does not fit the length."
            self.emit(Warning("rows_dropped", text))
        if self.spec.training.early_stopping_patience is not None and not self.validation_rows:
            self.emit(Warning("no_validation", "Early stopping needs validation rows, and there are none."))
        if len(self.validation_rows) < self._validation_count:
            text = f"Validation reads {len(self.validation_rows)} of {self._validation_count} rows, to keep it short."
            self.emit(Warning("validation_sampled", text))

    def _fingerprint(self) -> str:
        """What must be the same for a checkpoint to be gone on from."""
        training, adapter = dataclasses.asdict(self.spec.training), self.spec.adapter.settings()
        settings = [self.spec.base_model.id, self.spec.prompt_format, adapter, training, self.lora.origin]
        text = json.dumps([settings, self.train.sha256, self.train.max_length, list(self.lora.pairs)])
        return hashlib.sha256(text.encode()).hexdigest()

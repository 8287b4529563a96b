"""TRL's SFTTrainer as Tunery uses it: its packing and its loop, our tokens, loss and cards.

Built by tuning/train.py, which adds the callbacks that report, save and stop.
"""

from __future__ import annotations

from typing import Any

from peft import PeftModel
from transformers import PrinterCallback
from trl import SFTTrainer

from presets.problem import printable
from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.training import arguments, loss
from tuning.training.device import Device
from tuning.training.examples import Examples


class _Trainer(SFTTrainer):  # type: ignore[misc]  # trl is untyped
    """SFTTrainer with the loss of loss.py on a CPU, and without a card at every save."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if not return_outputs and self._plain() and loss.fits(self.model, inputs["labels"]):
            return loss.loss(model, inputs, num_items_in_batch)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _plain(self) -> bool:
        """Nothing but the mean negative log-likelihood is asked for, by one process on a CPU."""
        special = self.aux_loss_enabled or self.label_smoother or self.args.loss_type != "nll"
        alone = self.accelerator.num_processes == 1
        return alone and self.args.device.type == "cpu" and not special

    def create_model_card(self, *_: Any, **__: Any) -> None:
        pass


def build(
    run: Run,
    chosen: Device,
    model: PeftModel,
    tokenizer: Any,
    rows: Examples,
    held_out: Examples | None,
) -> SFTTrainer:
    """TRL's trainer around the adapted model. Raises Failure (BAD_CONFIG) when TRL refuses."""
    args = arguments.sft_config(run, chosen, evaluates=held_out is not None)
    try:
        trainer = _Trainer(
            model=model,
            args=args,
            train_dataset=rows.dataset,
            eval_dataset=held_out.dataset if held_out else None,
            processing_class=tokenizer,
        )
    except ValueError as error:
        sentence = f"training_config: {printable(' '.join(str(error).split()))[:300]}"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    trainer.remove_callback(PrinterCallback)
    return trainer

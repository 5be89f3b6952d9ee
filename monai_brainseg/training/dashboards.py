"""What TensorBoard shows of a run beside its curves: patients as pictures, precision and recall, config, comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as summarize_hparams

from monai_brainseg.scoring.probabilities import Histogram, count_above, count_bins, precision_recall
from monai_brainseg.training.pictures import Picture, draw_patient, sort_worst

THRESHOLDS = np.linspace(0, 1, 127)  # of TensorBoard's precision-recall curves


class Dashboard:
    """Show validation patients, a precision-recall curve, the config and the scores of a run in TensorBoard.

    At the first validation, and then at the first one in every ``interval`` epochs, it shows

    - ``fixed_patients/<patient>`` and ``worst_patients/<place>``, drawn by ``draw_patient``;
    - ``validation_voxels``, the precision-recall curve of all their voxels pooled. Only counts are kept, not voxels.

    After each validation it adds ``best/val_mean_dice`` (by the name of the key metric) and ``best/epoch``. These and
    the losses are the scores by which the HParams tab compares runs. A resumed run continues under the same names.

    Attach it to the trainer after the checkpoints, on every rank: each looks at its own patients, rank 0 writes.

    Args:
        writer: of the run, shared with other handlers; None on the ranks that do not write.
        evaluator: the validation engine. Its items have ``image`` (FLAIR is channel 1, LPS), and ``label``, ``pred``
            and ``probability`` on the patient's own grid.
        data: items that the evaluator scores, as in the datalist.
        val_interval: epochs between two validations.
        interval: epochs between two looks at patients.
        fixed: patients that every look shows, spread evenly over ``data``.
        worst: patients with the lowest Dice, chosen anew at every look.
        config: file shown as text, if it is there.
        hparams: columns of the HParams tab, by name.
    """

    def __init__(
        self,
        *,
        writer: SummaryWriter | None,
        evaluator: Engine,
        data: Sequence[Mapping[str, Any]],
        val_interval: int,
        interval: int,
        fixed: int,
        worst: int,
        config: str,
        hparams: Mapping[str, Any],
    ) -> None:
        self.writer = writer
        self.evaluator = evaluator
        names = [name_patient(item, item["label"]) for item in data]
        self.fixed = choose_evenly(names, fixed)
        self.worst = worst
        self.val_interval = val_interval
        self.interval = interval
        self.config = Path(config)
        self.hparams = {name: v if type(v) in (int, float) else str(v) for name, v in hparams.items()}

    def attach(self, engine: Engine) -> None:
        """Follow the trainer ``engine`` and the evaluator."""
        engine.add_event_handler(Events.STARTED, self._describe_run)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._flush)
        engine.add_event_handler(Events.COMPLETED, self._end_run)
        self.evaluator.add_event_handler(Events.EPOCH_STARTED, self._start_look)
        self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._look)
        self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._write_look)
        self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._write_best)

    def _summarize_run(self) -> tuple[Any, Any, Any]:
        # In the run's own folder: SummaryWriter.add_hparams would make a second run of them.
        metric = self.evaluator.state.key_metric_name
        scores = dict.fromkeys((f"best/{metric}", "best/epoch", "train_loss", "val_loss"), 0)
        return summarize_hparams(self.hparams, scores)

    def _describe_run(self, engine: Engine) -> None:
        if self.writer is None or engine.state.epoch > 0:  # a resumed run has this already
            return
        experiment, session, _ = self._summarize_run()
        for summary in (experiment, session):
            self.writer._get_file_writer().add_summary(summary)
        if self.config.is_file():
            self.writer.add_text("config", f"```yaml\n{self.config.read_text(encoding='utf-8')}```")
        self.writer.flush()

    def _start_look(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        self._looks = epoch <= self.val_interval or epoch % self.interval < self.val_interval
        self._shown: list[Picture] = []
        self._least: list[Picture] = []
        self._counts = np.zeros((2, len(THRESHOLDS)), np.int64)

    def _look(self, engine: Engine) -> None:
        if not self._looks:
            return
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            probability, truth = (torch.as_tensor(output[key]).cpu().numpy() for key in ("probability", "label"))
            self._counts += count_bins(probability[1], truth[0] > 0, THRESHOLDS)
            patient = name_patient(item, item["label"].meta.get("filename_or_obj", ""))
            picture = draw_patient(patient, output)
            if patient in self.fixed:
                self._shown.append(picture)
            self._least = sort_worst([*self._least, picture])[: self.worst]

    def _write_look(self, engine: Engine) -> None:
        if not self._looks:
            return
        counts = idist.all_reduce(torch.from_numpy(self._counts).to(engine.state.device)).cpu().numpy()
        ranks = idist.all_gather((self._shown, self._least))
        if self.writer is None:
            return
        pictures = {f"fixed_patients/{picture.patient}": picture for shown, _ in ranks for picture in shown}
        worst = sort_worst([picture for _, least in ranks for picture in least])[: self.worst]
        pictures |= {f"worst_patients/{place}": picture for place, picture in enumerate(worst, start=1)}
        for tag, picture in pictures.items():
            self.writer.add_image(tag, picture.pixels, engine.state.epoch, dataformats="HWC")
        tp, fp, tn, fn, precision, recall = trace_precision_recall(counts)
        self.writer.add_pr_curve_raw("validation_voxels", tp, fp, tn, fn, precision, recall, engine.state.epoch)

    def _write_best(self, engine: Engine) -> None:
        if self.writer is None:
            return
        state = engine.state
        self.writer.add_scalar(f"best/{state.key_metric_name}", state.best_metric, state.epoch)
        self.writer.add_scalar("best/epoch", state.best_metric_epoch, state.epoch)

    def _flush(self, engine: Engine) -> None:
        if self.writer is not None:
            self.writer.flush()

    def _end_run(self, engine: Engine) -> None:
        if self.writer is not None:
            self.writer._get_file_writer().add_summary(self._summarize_run()[-1])
            self.writer.flush()


def name_patient(item: Mapping[str, Any], label: str) -> str:
    """Return a datalist item's patient; if it names none, as with a label server, its label's file name."""
    return str(item.get("patient") or Path(str(label)).name.partition(".")[0])


def choose_evenly(names: Sequence[str], count: int) -> list[str]:
    """Return ``count`` of the names, or all if there are fewer, from the first to the last in even steps."""
    chosen = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[index] for index in chosen]


def trace_precision_recall(counts: Histogram) -> npt.NDArray[np.float64]:
    """Return the rows of ``SummaryWriter.add_pr_curve_raw``, a column for each of ``THRESHOLDS``.

    Args:
        counts: ``[2, thresholds]`` of ``count_bins``, summed over patients.

    Returns:
        TP, FP, TN, FN, precision and recall; both ratios are 0 where there is nothing to divide by, as TensorBoard
        has it.
    """
    false, true = count_above(counts)
    return np.stack([true, false, false[0] - false, true[0] - true, *np.nan_to_num(precision_recall(counts))])

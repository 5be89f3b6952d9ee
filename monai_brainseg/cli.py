"""The ``brainseg`` command: arguments in, one call out, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_brainseg import __version__
from monai_brainseg.doctor import add_doctor
from monai_brainseg.errors import InputError
from monai_brainseg.groupings import Found
from monai_brainseg.layouts import LAYOUTS
from monai_brainseg.phantom import STYLES, WRITERS, write_phantoms
from monai_brainseg.prepare import prepare
from monai_brainseg.studies import PARTS, find_scans, make_scan


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each sets ``call``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="brainseg", description=__doc__)
    parser.add_argument("--version", action="version", version=f"brainseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_benchmark(commands)
    _add_check(commands)
    add_doctor(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_label(commands)
    _add_predict(commands)
    _add_prepare(commands)
    _add_phantom(commands)
    return parser


def _add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "prepare",
        help="make volumes, folds and a datalist of a published data set",
        description="Read a data set as published, check every file, and write NIfTI volumes with a datalist: a test "
        "part and folds of whole patients, balanced by site and tumour size.",
    )
    _add_source(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--test-share", type=float, default=0.15, metavar="SHARE", help="test patients (default: 0.15)")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of the others (default: 5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")
    parser.add_argument("--skip-bad", action="store_true", help="report and leave out bad patients instead of stopping")
    parser.add_argument("--overwrite", action="store_true", help="replace what was prepared in DIR before")
    parser.set_defaults(call=_prepare)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the data set, unpacked")
    parser.add_argument(
        "--layout",
        default="auto",
        metavar="NAME",
        help=f"auto (default), {', '.join(LAYOUTS)}; nnunet covers the Medical Segmentation Decathlon",
    )
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="one file for each sequence and a mask, e.g. 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,post=*_T1ce.nii.gz,"
        "label=*_seg.nii.gz'. A pattern is matched against the end of a path; what its first * stands for, or the "
        "folder where there is none, names the case: flair=FLAIR.nii.gz, flair=images/*.nii.gz, label=masks/*.nii.gz",
    )
    parser.add_argument(
        "--tumor-labels", default="", metavar="N,N", help="labels that are tumour (default: all above 0)"
    )


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="look at a data set before training on it",
        description="Read every patient of a data set, as published or prepared; print a table and what is odd, with "
        "what to do about it, and write check.html, a page with pictures, and check.json. A patient that cannot be "
        "used is listed with the reason, and makes the exit code 1.",
    )
    _add_source(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/check"), metavar="DIR", help="for both files (default: runs/check)"
    )
    parser.set_defaults(call=_check)


def _check(arguments: argparse.Namespace) -> None:
    from monai_brainseg.survey import check  # loads SciPy and scikit-image, which take a second

    survey = check(
        arguments.source,
        arguments.output,
        layout=arguments.layout,
        naming=arguments.naming,
        tumor_labels=_read_labels(arguments.tumor_labels),
    )
    if survey.bad:
        count = f"{len(survey.bad)} of {len(survey.bad) + len(survey.profiles)} patients cannot be used"
        raise InputError(f"{arguments.source}: {count}, as listed; mend them, or leave them out by prepare --skip-bad")


def _prepare(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    prepare(**{**options, "tumor_labels": _read_labels(arguments.tumor_labels)})


def _read_labels(text: str) -> list[int]:
    return _read_numbers("--tumor-labels", text)


def _read_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",") if number]
    except ValueError:
        raise InputError(f"{option} {text}: expected whole numbers with commas, such as 1,2,3") from None


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score predicted masks against the truth of a datalist",
        description="Score <patient>.nii.gz in a folder against a datalist; writes metrics.csv, summary.json and "
        "report.html. A patient without a prediction is scored as a failure (Dice 0) and listed; the exit code stays "
        "0. Where <patient>_probability.nii.gz lie beside all of them there is a precision-recall curve, and on the "
        "training part operating points are chosen.",
    )
    parser.add_argument("--datalist", type=Path, required=True, help="datalist.json, or the prepared folder")
    parser.add_argument("--predictions", type=Path, required=True, help="folder of masks on the truth's grid")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.csv, summary.json, report.html")
    parser.add_argument("--part", choices=("test", "training", "all"), default="test", help="default: test")
    parser.add_argument("--fold", type=int, help="only this fold, with --part training")
    parser.add_argument(
        "--tolerance", type=float, default=2.0, help="of surface Dice, in mm or, where spacing is unknown, voxels; 2"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals; 0")
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="training run whose learning curves are shown")
    parser.add_argument(
        "--operating-points",
        type=Path,
        metavar="SUMMARY_JSON",
        help="summary.json of an evaluation of the folds; its operating points are measured here",
    )
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="score patients too that the weights were trained or selected on; every output then says so",
    )
    parser.set_defaults(call=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from monai_brainseg.evaluation import evaluate  # loads MONAI, which takes seconds
    from monai_brainseg.summary_text import format_summary

    summary = evaluate(
        arguments.datalist,
        arguments.predictions,
        arguments.output,
        part=arguments.part,
        fold=arguments.fold,
        tolerance=arguments.tolerance,
        seed=arguments.seed,
        run=arguments.run,
        operating_points=arguments.operating_points,
        allow_seen=arguments.allow_seen,
        command=sys.argv,
    )
    print(f"wrote {arguments.output / 'report.html'}, metrics.csv, summary.json\n")
    print(format_summary(summary))


def _add_benchmark(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "benchmark",
        help="cross-validate, compare recipes, and show what a split by slice is worth",
        description="Train recipes by monai.bundle on all folds but one, score what was left out, and write one table: "
        "benchmark.md, benchmark.html and benchmark.csv. The same command goes on where it was interrupted; recipes, "
        "folds and seeds can be added to it. A run that fails is listed with the reason, and makes the exit code 1.",
    )
    parser.add_argument("--dataset_dir", type=Path, required=True, metavar="DIR", help="a prepared folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for runs and table")
    parser.add_argument(
        "--recipes", default="best", metavar="A,B", help="of configs/recipes, or paths; compared with the first (best)"
    )
    parser.add_argument("--folds", default="all", metavar="N,N", help="left out in turn: all (default), 0, or 0,1")
    parser.add_argument(
        "--split",
        default="patient",
        metavar="patient|slice",
        help="by patient (default), by slice, which leaks, or both",
    )
    parser.add_argument("--seeds", default="0", metavar="N,N", help="of the trainings; 0")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="cut each training short after so long")
    parser.add_argument("--epochs", type=int, metavar="N", help="of each training, instead of the recipe's own")
    parser.add_argument(
        "--bundle", default="brainseg_unet", metavar="NAME", help="or its folder, whose config runs code; brainseg_unet"
    )
    parser.add_argument("--final", action="store_true", help="score the test part too: once, when all choices are made")
    parser.add_argument("--ensemble", action="store_true", help="score the mean of each recipe's networks on it too")
    parser.add_argument("--processes", type=int, metavar="N", help="runs at a time (default: one a GPU, or one)")
    parser.set_defaults(call=_benchmark)


def _benchmark(arguments: argparse.Namespace) -> None:
    from monai_brainseg.benchmark import carry_out  # loads MONAI, which takes seconds
    from monai_brainseg.benchmark_plan import make_plan
    from monai_brainseg.benchmark_table import write_table

    given = vars(arguments)
    options = {name: given[name] for name in ("dataset_dir", "output", "bundle", "epochs", "final", "ensemble")}
    plan = make_plan(
        recipes=arguments.recipes.split(","),
        splits=arguments.split.split(","),
        folds=None if arguments.folds == "all" else _read_numbers("--folds", arguments.folds),
        seeds=_read_numbers("--seeds", arguments.seeds),
        **options,
    )
    failed = carry_out(plan, arguments.budget, arguments.processes)
    print(write_table(plan, failed))
    print(f"\nwrote {plan.output / 'benchmark.html'}, benchmark.md, benchmark.csv")
    if failed:
        raise InputError(f"{plan.output}: failed, as listed: {'; '.join(failed)}; the same command tries again")


def _add_label(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("label", help="serve bundles to annotators by MONAI Label")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    install = actions.add_parser(
        "install",
        help="put bundles into a MONAI Label app",
        description="Copy bundles into an app that `monailabel apps --download --name monaibundle` wrote, check that "
        "the server can work with them, and print the command that starts it. docs/monai-label.md is the guide.",
    )
    install.add_argument("--app", type=Path, required=True, metavar="DIR", help="the app, such as apps/monaibundle")
    install.add_argument(
        "--bundle", action="append", metavar="NAME", help="or its folder; can be repeated (default: brainseg_unet)"
    )
    install.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights, instead of those of the bundle")
    install.add_argument("--overwrite", action="store_true", help="replace a bundle, and what the server trained of it")
    install.set_defaults(call=_install)


def _install(arguments: argparse.Namespace) -> None:
    from monai_brainseg.serve import format_start, install  # loads MONAI, which takes seconds

    bundles = arguments.bundle or ["brainseg_unet"]
    names = install(arguments.app, bundles, arguments.checkpoint, overwrite=arguments.overwrite)
    print(f"{', '.join(names)} in {arguments.app / 'model'}; start the server by (DIR: the folder of the images)")
    print(format_start(arguments.app, names))


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "export",
        help="write trained weights in another form",
        description="Write trained weights at half their size (float16), as bundles ship them; networks that load them "
        "compute as before. What the weights have seen goes with them.",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="MODEL_PT", help="of a run, e.g. runs/brainseg_unet/models/model.pt"
    )
    parser.add_argument("--format", choices=("half",), default="half", help="default: half")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="to write; never the file itself")
    parser.set_defaults(call=_export)


def _export(arguments: argparse.Namespace) -> None:
    from monai_brainseg.weights import write_half_precision  # loads torch and MONAI, which take seconds

    write_half_precision(arguments.checkpoint, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.1f} MiB")


def _add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "phantom",
        help="make synthetic patients",
        description="Write synthetic patients in the layout of a published data set, for trying things out. A patient "
        "depends on the seed and its number alone; one that is there already is replaced.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make or to add to")
    parser.add_argument("--patients", type=int, default=24, metavar="N", help="how many (default: 24)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other patients (default: 0)")
    parser.add_argument("--layout", choices=WRITERS, default="kaggle_3m", help="default: kaggle_3m")
    parser.add_argument("--size", type=int, default=128, metavar="N", help="columns and rows (default: 128)")
    parser.add_argument("--slices", type=int, default=24, metavar="N", help="slices of a patient (default: 24)")
    parser.add_argument("--style", choices=STYLES, default="usual", help="scanners (default: usual)")
    parser.set_defaults(call=_phantom)


def _phantom(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    names = write_phantoms(**{**options, "style": STYLES[arguments.style]})
    print(f"{len(names)} patients in {arguments.output}")


_PREDICT = """\
Segment studies. An INPUT is a folder or files of slices (.tif, .png: grey FLAIR, or pre-contrast, FLAIR and
post-contrast as colours), NIfTI (FLAIR, these three along a fourth axis, or a file each), a folder of DICOM series, a
prepared folder, or a folder of many of these. FLAIR alone is enough: it stands in for what is missing.

Each mask lies on its input's grid, in its form: DIR/CASE/<slice>_mask.tif (0 and 255), DIR/CASE.nii.gz (0 and 1), for
DICOM also DIR/CASE.dcm, a DICOM SEG. DIR/CASE_preview.png shows it; DIR/run.json says what was done, with warnings. The
same command again does what is missing. A study that fails is listed, and makes the exit code 1. For research only."""

_PREDICT_EXAMPLES = """\
examples:
  brainseg predict patient/ --output masks
  brainseg predict flair.nii.gz --output masks --tta --uncertainty
  brainseg predict --flair F.nii.gz --pre T1.nii.gz --post T1c.nii.gz --output masks
  brainseg predict studies/ --naming 'flair=*_FLAIR.nii.gz,post=*_T1Gd.nii.gz' --output masks
  brainseg predict dicom/ --series 401 --output masks
  torchrun --standalone --nproc_per_node=4 -m monai_brainseg predict studies/ --output masks"""


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict",
        help="segment any study: slices, NIfTI or DICOM in, masks on their grid out",
        description=_PREDICT,
        epilog=_PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="files and folders, see above")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the masks")
    for role, name in (("flair", "FLAIR"), ("pre", "pre-contrast T1"), ("post", "post-contrast T1")):
        parser.add_argument(f"--{role}", type=Path, metavar="PATH", help=f"{name} of one study, instead of INPUT")
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="how NIfTI files are named, e.g. 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,post=*_T1ce.nii.gz'; what the "
        "first * stands for, or the folder where there is none, names the case",
    )
    parser.add_argument("--part", choices=PARTS, default="test", help="of a prepared folder (default: test)")
    parser.add_argument("--fold", type=int, metavar="N", help="of a prepared folder, with --part training")
    parser.add_argument(
        "--series", metavar="NUMBER", help="of DICOM studies: number, UID or part of the description (default: FLAIR)"
    )
    parser.add_argument(
        "--bundle", default="brainseg_unet", metavar="NAME", help="or its folder, whose config runs code; brainseg_unet"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="weights (default: the bundle's models/model.pt); of several the probabilities are averaged",
    )
    parser.add_argument("--tta", action="store_true", help="average with the mirrored study: twice the time")
    parser.add_argument(
        "--operating-point",
        choices=("balanced", "recall"),
        default="balanced",
        help="balanced (default), or recall, which marks more so that less is missed",
    )
    parser.add_argument("--probability", action="store_true", help="also write CASE_probability.nii.gz, 0 to 1")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write CASE_entropy.nii.gz, 0 (sure) to 1 (even odds), and a confidence per case into run.json",
    )
    parser.add_argument(
        "--keep-scale",
        action="store_true",
        help="where no spacing is known, do not bring a head of another size to that of the training data",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:1 (default: a GPU if there is one)")
    parser.set_defaults(call=_predict)


def _predict(arguments: argparse.Namespace) -> None:
    from monai_brainseg.predict import Options, predict  # loads MONAI, which takes seconds

    roles = {role: getattr(arguments, role) for role in ("flair", "pre", "post")}
    if bool(arguments.inputs) == bool(arguments.flair) or (any(roles.values()) and not arguments.flair):
        raise InputError("INPUT or --flair: give one of them; --pre and --post only beside --flair")
    if arguments.flair:
        found = Found([make_scan(**roles, series=arguments.series)])
    else:
        wanted = {name: getattr(arguments, name) for name in ("naming", "part", "fold", "series")}
        found = find_scans(arguments.inputs, leave_out=arguments.output, **wanted)
    if found.left_out:
        some = ", ".join(str(file) for file in found.left_out[:3]) + (", ..." if len(found.left_out) > 3 else "")
        print(f"left out: {len(found.left_out)} files that are no FLAIR, pre- or post-contrast image: {some}")
    names = ("bundle", "tta", "operating_point", "probability", "uncertainty", "keep_scale", "device")
    options = Options(checkpoints=tuple(arguments.checkpoint), **{name: getattr(arguments, name) for name in names})
    bad = predict(found, arguments.output, options, sys.argv)
    count = len(found.scans) + len(found.bad)
    if bad:
        listed = "; ".join(f"{case}: {reason}" for case, reason in bad.items())
        raise InputError(f"{len(bad)} of {count} studies failed: {listed}")
    print(f"{count} studies: masks, previews and run.json in {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an expected failure is one line on stderr and exit code 1."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.call(arguments)
    except (InputError, OSError) as error:
        print(f"brainseg {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"brainseg {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return 0

"""The table of a benchmark: markdown to print and to paste, csv to compute with, and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from monai_brainseg.benchmarking.benchmark import list_ensembles
from monai_brainseg.benchmarking.figures import Scores, average, compare, pair_networks, read_scores, summarise_networks
from monai_brainseg.benchmarking.plan import Plan, list_runs
from monai_brainseg.benchmarking.runs import LEFT_OUT, SAME_SLICES, TEST, Run
from monai_brainseg.benchmarking.slice_splits import SIDES
from monai_brainseg.files import name_folder, write_whole
from monai_brainseg.reporting.pages import Table, render_page
from monai_brainseg.runs.recipes import count_parameters

Row = dict[str, Any]
Sections = dict[str, list[Row]]

# recipe, split and target, and what its networks scored
_Groups = dict[tuple[str, str, str], list[Scores]]

# Scores that the splits are compared by.
_GAP = {"dice": "dice", "slice_dice": "dice of a patient's tumour slices"}

_WORDS = {
    "weights": "those after the last epoch; no epoch is chosen with the patients that are scored",
    "patient split": "whole patients are left out, and their whole volumes are scored",
    "slice split": "some slices of every patient are left out, and the volume of these is scored. It leaks, "
    "and this row shows how much. It trains on as many slices in as many steps. Patients whose left-out slices show no "
    "tumour are not scored",
    "same slices": "what the slice split leaves out, of the patients that the patient split leaves out: only what else "
    "was trained on differs",
    "scores": "a patient's score is its mean over networks; means over patients; pooled scores of all voxels as one "
    "image; slices with tumour alone, each once",
    "brackets": "95 % bootstrap interval over people; it does not cover the variation between trainings",
    "difference": "mean of the first minus mean of the second; p of Wilcoxon's signed-rank test over patients",
    "minutes": "of each training; images per second are those while training",
}


def write_table(plan: Plan, failed: Mapping[str, str]) -> str:
    """Write ``benchmark.md`` and ``.html``, and a ``.csv`` for each of its sections, from the results so far.

    Args:
        plan: the benchmark.
        failed: runs to reasons.

    Returns:
        the markdown.
    """
    sections = {title: rows for title, rows in make_sections(plan, failed).items() if rows}
    facts = _list_facts(plan)
    tables = {title: Table(list(rows[0]), _fill_cells(rows)) for title, rows in sections.items()}
    markdown = "\n\n".join(
        ["# Benchmark", "\n".join(f"- {name}: {fact}" for name, fact in facts.items())]
        + [f"## {title}\n\n{_to_markdown(table)}" for title, table in tables.items()]
    )
    for title, rows in sections.items():
        name = "benchmark" if title == "Scores" else f"benchmark_{title.lower()}"
        write_whole(plan.output / f"{name}.csv", _to_csv(rows).encode())
    write_whole(plan.output / "benchmark.md", (markdown + "\n").encode())
    write_whole(plan.output / "benchmark.html", render_page("benchmarking/table.html", facts=facts, tables=tables))
    return markdown


def make_sections(plan: Plan, failed: Mapping[str, str]) -> Sections:
    """Return the rows of each section: the scores, the differences and the runs."""
    groups = _read_groups(plan)
    items = [*plan.datalist["training"], *plan.datalist["test"]]
    people = {item["patient"] + side: item.get("subject", item["patient"]) for item in items for side in ("", *SIDES)}
    scored = {recipe for recipe, _, _ in groups}
    parameters = {recipe.name: count_parameters(recipe) for recipe in plan.recipes if recipe.name in scored}
    scores = [
        {"recipe": recipe, "split": split, "scored on": target}
        | summarise_networks(networks, people)
        | _describe_runs(plan, recipe, split, parameters[recipe])
        for (recipe, split, target), networks in groups.items()
    ]
    runs = [_describe_run(run, failed.get(run.name)) for run in list_runs(plan)]
    others = [{"run": name, "state": f"FAILED: {why}"} for name, why in failed.items() if name.endswith("ensemble")]
    return {"Scores": scores, "Differences": _compare_all(plan, groups, people), "Runs": runs + others}


def _read_groups(plan: Plan) -> _Groups:
    groups: _Groups = {}
    for run in list_runs(plan):
        for target in run.targets:
            folder = run.folder / target.folder
            if (folder / "summary.json").is_file():
                scores = read_scores((run.fold, run.seed), folder)
                groups.setdefault((run.recipe.name, run.split, target.name), []).append(scores)
    for folder, runs in list_ensembles(plan):
        scored = folder / plan.test.folder
        if (scored / "summary.json").is_file():
            name = f"{TEST}, mean of {len(runs)} networks"
            groups[runs[0].recipe.name, runs[0].split, name] = [read_scores((0, 0), scored)]
    order = {recipe.name: place for place, recipe in enumerate(plan.recipes)}
    return dict(sorted(groups.items(), key=lambda group: (order[group[0][0]], group[0][1:])))


def _compare_all(plan: Plan, groups: _Groups, people: Mapping[str, str]) -> list[Row]:
    """Compare each recipe with the first on the same patients, and the splits of each recipe."""
    rows = []
    reference = plan.recipes[0].name
    for (recipe, split, target), networks in groups.items():
        other = groups.get((reference, split, target))
        if recipe != reference and other:
            pairs = pair_networks(networks, other)
            rows.append(_compare(f"{recipe}, {split} split", f"{reference}, {split} split", target, *pairs, people))
    for recipe in (recipe.name for recipe in plan.recipes):
        slices, whole = (groups.get((recipe, split, LEFT_OUT)) for split in ("slice", "patient"))
        same = groups.get((recipe, "patient", SAME_SLICES))
        names = f"{recipe}, slice split", f"{recipe}, patient split"
        if slices and whole:
            rows += [_compare(*names, "its own left-out part", slices, whole, people, score) for score in _GAP]
        if slices and same:
            rows += [_compare(*names, SAME_SLICES, *pair_networks(slices, same), people, score) for score in _GAP]
    return [row for row in rows if row["people"]]


def _compare(
    name: str,
    other: str,
    target: str,
    left: Sequence[Scores],
    right: Sequence[Scores],
    people: Mapping[str, str],
    score: str = "dice",
) -> Row:
    figures = compare(average(left, score), average(right, score), people)
    return {"of": name, "less": other, "scored on": target, "score": _GAP[score], **figures, "p": figures.get("p")}


def _describe_runs(plan: Plan, recipe: str, split: str, parameters: int) -> Row:
    states = [run.state for run in list_runs(plan) if (run.recipe.name, run.split) == (recipe, split)]
    trained = [state for state in states if "epoch" in state]
    cut = [state for state in trained if not state["finished"]]
    return {
        "parameters": parameters,
        "images per second": sum(state["images_per_second"] for state in trained) / len(trained),
        "minutes": sum(state["minutes"] for state in trained) / len(trained),
        "cut short": f"CUT SHORT: {len(cut)} of {len(trained)} runs" if cut else "",
        "missing": f"{len(states) - len(trained)} of {len(states)} runs" if len(trained) < len(states) else "",
    }


def _describe_run(run: Run, why: str | None) -> Row:
    state = run.state
    epochs = f"{state['epoch']} of {state['epochs']}" if "epoch" in state else ""
    word = "finished" if state["finished"] else "CUT SHORT" if epochs else "not trained"
    return {
        "run": run.name,
        "state": f"FAILED: {why}" if why else word,
        "epochs": epochs,
        "precision": state.get("precision"),
        "images per second": state.get("images_per_second"),
        "minutes": state["minutes"],
    }


def _list_facts(plan: Plan) -> dict[str, str]:
    there = {item["fold"] for item in plan.datalist["training"]}
    data = f"{name_folder(plan.dataset_dir)}: {len(plan.datalist['training'])} patients in {len(there)} folds"
    test = f"{len(plan.datalist['test'])} test patients, " + ("scored" if plan.final else "not touched (no --final)")
    asked = f"folds {_join(plan.folds)}; seeds {_join(plan.seeds)}" + (f"; {plan.epochs} epochs" if plan.epochs else "")
    words = dict(_WORDS)
    if "slice" not in plan.splits:
        words = {name: said for name, said in words.items() if name not in ("slice split", "same slices")}
    return {"data": f"{data}; {test}", "runs": asked, **words}


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _show(value: Any) -> str:
    """Return a cell: a figure with its interval, a number, a text, or nothing."""
    if isinstance(value, Mapping):
        interval = value["interval"]
        return _show(value["value"]) + (f" ({_show(interval[0])} to {_show(interval[1])})" if interval else "")
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.1g}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _fill_cells(rows: Sequence[Row]) -> list[list[str]]:
    return [[_show(row.get(name)) for name in rows[0]] for row in rows]


def _to_markdown(table: Table) -> str:
    lines = [table.headings, ["---"] * len(table.headings), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def _to_csv(rows: Sequence[Row]) -> str:
    """Return rows with a column for each number; an interval's ends are in ``<name> low`` and ``<name> high``."""
    flat = [{part: number for name, value in row.items() for part, number in _flatten(name, value)} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flatten(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(name, value)]
    low, high = value["interval"] or (None, None)
    return [(name, value["value"]), (f"{name} low", low), (f"{name} high", high)]

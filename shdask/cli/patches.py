"""The command that chooses patches for training: `shdask patches`.

Refuses to choose itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from shdask.cli.app import EXIT_CODES, JsonOption, app, console

SizeOption = Annotated[int, typer.Option("--size", min=1, help="Side of a patch in pixels.", show_default=False)]
SchemeOption = Annotated[Literal["grid", "random", "labels"], typer.Option(help="Where patches lie.")]
StrideOption = Annotated[
    int | None, typer.Option("--stride", min=1, help="Pixels from patch to patch.", show_default="as chunks hold them")
]
CountOption = Annotated[int | None, typer.Option(min=1, help="How many are drawn, with --scheme random.")]
LabelsOption = Annotated[
    str | None,
    typer.Option(metavar="FILE|BAND", help="Points or polygons; or classes: a GeoTIFF, or a band such as SCL."),
]
SharesOption = Annotated[
    tuple[float, float, float], typer.Option(metavar="TRAIN VAL TEST", help="Of the blocks, adding up to 1.")
]


@app.command(epilog=EXIT_CODES)
def patches(
    store: Annotated[
        str, typer.Argument(help="The cube: a folder, s3://bucket/prefix; or a job file.", metavar="STORE|JOB")
    ],
    out: Annotated[Path, typer.Argument(help="The table to write.", metavar="OUT.parquet", dir_okay=False)],
    size: SizeOption,
    scheme: SchemeOption = "grid",
    stride: StrideOption = None,
    count: CountOption = None,
    align: Annotated[int, typer.Option(min=1, help="Corners of drawn patches are multiples of it.")] = 1,
    labels: LabelsOption = None,
    class_column: Annotated[str | None, typer.Option(help="Of the labels: the class.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Of the labels: what names one.")] = None,
    date_column: Annotated[str | None, typer.Option(help="Of the labels: when it was so.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Of the labels: train, validation or test.")] = None,
    block_column: Annotated[str | None, typer.Option(help="Of the labels: what stays together in a set.")] = None,
    within_days: Annotated[int, typer.Option(min=0, help="How far a label's date may be from the cube's.")] = 0,
    class_rule: Annotated[Literal["majority", "presence"], typer.Option(help="Which class of several.")] = "majority",
    class_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the pixels that a class needs.")
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Whose pixels are to be valid. Can be repeated.", show_default="all")
    ] = None,
    dates: Annotated[Literal["all", "each", "clearest"], typer.Option(help="Of which dates a patch is.")] = "all",
    min_valid: Annotated[float | None, typer.Option(min=0, max=1, help="Share of valid pixels.")] = None,
    min_clear: Annotated[float | None, typer.Option(min=0, max=1, help="Share of clear ones of these.")] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="No more of one class.")] = None,
    balance: Annotated[bool, typer.Option("--balance", help="As many of each class as of a set's rarest.")] = False,
    shares: SharesOption = (0.7, 0.15, 0.15),
    block: Annotated[float, typer.Option(min=1, help="Metres along a block of ground that stays in one set.")] = 10_000,
    guard: Annotated[float, typer.Option(min=0, help="Metres between patches of different sets.")] = 0,
    seed: Annotated[int, typer.Option(help="Another seed, another choice.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose patches for training, each in train, validation or test, and write them as GeoParquet."""
    from shdask.patches.choosing.sample import sample_patches
    from shdask.patches.parquet import write_patches
    from shdask.patches.summary import count_leakage, summarize

    chosen = sample_patches(
        store,
        size_px=size,
        scheme=scheme,
        stride_px=stride,
        count=count,
        align_px=align,
        labels=labels,
        class_column=class_column,
        id_column=id_column,
        date_column=date_column,
        split_column=split_column,
        block_column=block_column,
        within_days=within_days,
        class_rule=class_rule,
        class_share=class_share,
        layers=layer,
        dates=dates,
        min_valid=min_valid,
        min_clear=min_clear,
        per_class=per_class,
        balance="class" if balance else None,
        shares=shares,
        block_m=block,
        guard_m=guard,
        seed=seed,
    )
    write_patches(chosen, out)
    if as_json:
        leakage = count_leakage(chosen, guard)
        print(json.dumps({**summarize(chosen), "leaking_pairs": leakage.pairs, "path": str(out)}))
    else:
        print(repr(chosen))
        console().print(f"written to {out}", highlight=False, soft_wrap=True)

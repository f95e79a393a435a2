"""cxrscore queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FOLDER,
    Bar,
    complete_plugins,
    device_option,
    handle_errors,
    json_option,
    overwrite_option,
    print_json,
    print_line,
    print_text,
    quiet_option,
    workers_option,
)


@click.command(short_help="List the films to read next.")
@click.argument("scores", type=FILE)
@click.option("-n", "--count", type=click.IntRange(1), default=100, show_default=True, help="Number of films.")
@click.option(
    "--by",
    "rule",
    metavar="RULE",
    required=True,
    help="highest[:FINDING], uncertainty[:FINDING], useful, random, disagreement[:FINDING] or enriched:FINDING.",
)
@click.option("-o", "--output", type=FILE, help="Table to write (CSV). [default: standard output]")
@click.option("--marks", type=FILE, help="Marks file: films with an answer in it are left out.")
@click.option("--reader", metavar="NAME", help="With --marks: leave out the films of this reader only.")
@click.option("--unlabelled", is_flag=True, help="Leave out films that have labels in SCORES.")
@click.option("--other", type=FILE, help="For disagreement: the other scores file.")
@click.option("--films", type=FOLDER, help="For useful: the folder that was scored.")
@click.option(
    "-m", "--model", type=FILE, help="For useful: the model file whose frozen backbone makes the features of the films."
)
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="For useful: backend that computes the features. [default: the fastest installed one]",
)
@device_option
@workers_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@overwrite_option
@json_option
@quiet_option
@handle_errors
def queue(*, as_json: bool, quiet: bool, output: Path | None, **options: Any) -> None:
    """List films of SCORES, a file of `cxrscore score`, in the order in which people should read them.

    \b
      highest       the highest probability of the finding, or relative to the mean of each finding
      uncertainty   the largest entropy of the probability, of the finding or summed over all
      useful        uncertain films that differ from each other, for training (BADGE)
      random        a random sample: for an unbiased prevalence
      disagreement  the largest difference between two scores files
      enriched      a random sample with as many films of each stratum of the probability, with weights

    \b
      cxrscore queue out.h5 -n 200 --by uncertainty -o queue.csv
      cxrscore queue out.h5 -n 200 --by useful --films films -m model.safetensors -o queue.csv
    """
    from cxrscore.reading import QueueOptions, describe_queue, make_queue, queue_csv, queue_record

    bar = Bar(quiet)
    found = make_queue(QueueOptions(output=output, **options), bar)
    bar.close()
    print_line(describe_queue(found), quiet)
    if output is not None:
        print_line(f"wrote {output}", quiet)
    if as_json:
        print_json(queue_record(found, output))
    elif output is None:
        print_text(queue_csv(found).decode().rstrip("\n"))

"""`worker show`: the life of one order."""

import sys
from collections.abc import Iterator

import click

from worker.bootstrap import commands
from worker.cli.shell import EXIT_FOUND, examples, settings_of_environment, translated
from worker.domain.texts import escaped
from worker.status import printed
from worker.status.life import stations_of
from worker.status.proof import proof_of, proof_of_nothing, trades_of
from worker.status.story import Story
from worker.status.telling import nothing_known, tell
from worker.status.wording import counted
from worker.wire import is_order_id


@click.command(
    epilog=examples("worker show order-1", "worker show 1700000000000-0   # by the id of its entry")
)
@click.argument("identifier", metavar="ORDER_ID|ENTRY_ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def show(identifier: str, *, as_json: bool) -> None:
    """Show the life of one order, how it stands now, and in one sentence what became of it.

    It says `Exactly one result` where that was seen, else what is missing, and the command that mends it. An
    order without a row is looked for among the last entries of the orders stream, its result among those
    published since it entered, its dead letter among those buried since it entered: 20,000 entries of
    each at the most. Not found there is not proof that there is none.
    """
    if not is_order_id(identifier):
        raise click.BadParameter("an order id is 1 to 128 characters of A-Z a-z 0-9 . _ : / -")
    settings = settings_of_environment()
    with commands.narrator(settings) as narrator:
        story = narrator(identifier)
        pruned = narrator.pruned(identifier) if story is None else None
    if as_json:
        found = proof_of_nothing(identifier, pruned) if story is None else proof_of(story)
        click.echo(printed(found, indent=2))
    else:
        click.echo(f"{identifier}: {nothing_known(pruned)}" if story is None else "\n".join(lines_of(story)))
    if story is None:
        sys.exit(EXIT_FOUND)


def lines_of(story: Story) -> Iterator[str]:
    """Yield a story in lines, with the sentence at its end; nothing in them moves a terminal."""
    for each in stations_of(story):
        details = ", ".join(f"{name} {escaped(str(value))}" for name, value in each.details.items())
        yield f"{each.at or 'now':<24}  {each.what:<11}  {details}".rstrip()
    for trade in trades_of(story):
        amounts = f"{trade['quantity']} at {trade['price']}, commission {trade['commission']}"
        yield f"{'':<24}  {'trade':<11}  {escaped(str(trade['trade_id']))}: {amounts}"
    if story.duplicates.entry_ids:
        others = counted(len(story.duplicates.entry_ids), "more entry", "more entries")
        looked = f"of this order among the {story.duplicates.searched.looked_at:,} from its own on"
        yield f"{'':<24}  {'duplicates':<11}  {others} {looked}: {', '.join(story.duplicates.entry_ids)}"
    told = tell(story)
    yield ""
    yield escaped(told.sentence) + (f" Next: {told.command}" if told.command else "")

"""The sentences about a pipeline whose commands go to several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when
from redis.exceptions import RedisError

from steps.common.vocabulary import TYPES
from steps.redis_cluster.cluster_routing import TTL

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cluster


@when(
    parsers.cfparse(
        "one pipeline writes and reads {keys:Count} keys and increments a text in between", extra_types=TYPES
    ),
    target_fixture="answers",
)
def run_pipeline(cluster: Cluster, key_prefix: str, keys: int) -> list[object]:
    """Send writes and reads for all nodes at once, with a command in the middle that cannot succeed."""
    with cluster.client() as client, client.pipeline() as pipe:
        for number in range(keys):
            pipe.set(f"{key_prefix}{number}", f"text {number}", ex=TTL)
            pipe.get(f"{key_prefix}{number}")
            if number == keys // 2:
                pipe.incr(f"{key_prefix}{number}")
        answers: list[object] = pipe.execute(raise_on_error=False)
    return answers


@then("the answers are in the order of the commands")
def check_order(answers: list[object]) -> None:
    """Leave out the error and require of each write its OK, followed by what it wrote."""
    seen = [said for said in answers if not isinstance(said, RedisError)]
    expected = [said for number in range(len(seen) // 2) for said in (True, f"text {number}")]
    assert seen == expected


@then("the increment of a text failed, and nothing else")
def check_one_failure(answers: list[object]) -> None:
    """Require one error, at the place of the bad command, with the server's own reason."""
    failed = {place: str(said) for place, said in enumerate(answers) if isinstance(said, RedisError)}
    middle = len(answers) // 2 // 2 * 2 + 2
    assert list(failed) == [middle], f"failed: {failed}, expected is number {middle}"
    assert "not an integer" in failed[middle], failed[middle]

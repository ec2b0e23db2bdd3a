"""A task that sends any command to the broker of its worker, for the test of the guard."""

from __future__ import annotations

from celery import Task, shared_task


@shared_task(bind=True, name="test.send_command")
def send_command(self: Task, *words: str) -> str:
    """Send a command to the server that keeps the results, and return its answer as text."""
    answer = self.backend.client.execute_command(*words)
    return answer.decode() if isinstance(answer, bytes) else str(answer)

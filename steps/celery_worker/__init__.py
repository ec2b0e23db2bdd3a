"""The sentences about Celery."""

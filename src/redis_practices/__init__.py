"""Three ways to use Redis as code to import or to copy: Celery's broker, a cluster, a pure cache; and their tuning."""

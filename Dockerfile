# The Celery worker of docker-compose.yml.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE}

# Logs appear at once; nothing is written beside the sources, so that the file system may be read-only.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 READY_FILE=/tmp/worker.ready

WORKDIR /app

# Before the sources, so that a changed source does not install everything again. The hashes make a package that
# was swapped on its way an error. It is the whole locked set: a second lock for a few MB less would drift.
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.txt

COPY docker/worker_health.py src/ ./

# A task is code that others trigger: it does not run as root, but as a user that owns nothing.
USER 10001:10001
CMD ["celery", "-A", "worker", "worker", "--include", "worker_health", "--loglevel", "INFO"]

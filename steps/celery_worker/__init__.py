"""Bind the sentences about Celery.

module        features/celery_worker/, those it serves most first
delivery      one_trip, outbox, shutdown, twice, delivery
deployment    shutdown, twice, deployment, outbox, delivery, one_trip, bulk
failing       control, pinned, failing, shutdown, hostile, delivery, outbox
order         schedule, order
processing    senders, processing, bulk, failing, hostile, results, pinned, control, workflows, order, twice
results       workflows, results
security      security, hostile
trouble       availability, trouble, deployment, pinned
"""

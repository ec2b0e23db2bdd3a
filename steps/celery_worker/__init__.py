"""Bind the sentences about Celery.

tasks        Send tasks, with the options and settings that features name.
results      Read results; judge states, runs and order; redelivery, recovery, payments, the outbox, random histories.
workers      Start workers and beats; wait until they take tasks; ask whether they live.
running      Judge the workers that run at a broker, their queues and their record of unacknowledged tasks.
broker       The queue, Redis Sentinel, TLS, the rights of the broker's user.
"""

"""Bind the sentences about Celery.

tasks        Send tasks, with the options and settings that features name.
results      Read results; judge states, runs and order.
workers      Start workers and beats; ask whether they live.
delivery     Redelivery, recovery, payments, the outbox, random histories.
broker       Redis Sentinel, TLS, the rights of the broker's user.
"""

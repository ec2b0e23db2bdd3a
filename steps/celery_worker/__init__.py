"""Bind the sentences about Celery.

tasks        send tasks, with the options and settings that features name
results      read results; judge states, runs and order
workers      start workers and beats; ask whether they live
delivery     redelivery, recovery, payments, the outbox, random histories
broker       Redis Sentinel, TLS, the rights of the broker's user
"""

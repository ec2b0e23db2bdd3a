"""Bind the sentences that practices share.

vocabulary     The types of placeholders: durations, bounds, counts, targets, tables.
deployments    Given a deployment, its data and its network; When a fault happens.
keys           Keys that are written and read, and their ttl; workloads of writers and readers.
judgements     Then: what was recorded, the state of a thing, or a probe.
audit          features/*/audit.feature: what servers report, without traffic.
exposure       features/*/exposure.feature: passwords, users, encryption, certificates.
data_path      features/*/data_path.feature: the way of data to a server and back.
dialogues      features/*/commands.feature: the commands of Celery, a cache and a cluster client.
"""

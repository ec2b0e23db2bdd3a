"""Carry tasks through Celery on Redis.

promise                                                      module                features/celery_worker/
An effect happens once, however often a task is delivered.   delivery              twice, outbox
A task that the broker lost is sent again.                   delivery              outbox
A failing task is retried with growing waits.                failing               failing
A chord or chain ends, however a member of it ends.          workflows             workflows, failing
A poison message goes to a dead-letter list.                 failing               outbox
A sender fails within its timeout when the broker is down.   sending               senders, security, hostile
Many tasks are sent in one round trip.                       sending               senders
A waiting caller does not miss a result.                     sending               results, workflows
Length and age of a queue are known.                         queue_age             deployment
A health check tells a consuming worker from a hung one.     consumer              - (docker-compose.yml uses it)
A broker's URL may have any option of redis-py.              access                - (tests/test_options.py)
A user with the fewest rights suffices.                      access                security
A worker refuses an unsigned task.                           access                hostile
A short task costs one round trip.                           batch_transport       one_trip
The settings of a worker, with reasons.                      ../../worker.py       delivery, twice, shutdown
A worker keeps what it holds when a connection is lost.      consumer              trouble, twice, pinned
Finished work is recorded when the broker is back.           transport             trouble
Names of queues of killed processes are removed.             transport             results
Order, schedule and state of a worker.                       ../../worker.py       order, schedule, trouble
A task is sent, processed, and its result comes back.        ../../send_task.py    processing, availability
Celery itself keeps it: no code here.                        -                     audit, control, data_path, pinned
All running workers are asked in one round trip.              control               workers
Workers, queues and held tasks are seen at one moment.        running               workers
Running workers have the settings of this practice.          worker_audit          worker_settings, worker_fleet
Workers fit together, outlive an outage, and take tasks.       fleet_audit           worker_fleet, workers
Queues have readers, which know their tasks.                  queue_audit           workers
The broker is reached by its users alone.                    ../server_info.py     exposure
A rotated login, a new certificate interrupt no task.        ../credentials.py      credentials
Sentinels replace a primary that dies.                       ../sentinels.py       sentinels
The same, for each client at all times.                      -                     clients
The same, for the commands of clients.                       -                     commands
"""

from redis_practices.celery_worker.delivery import Outbox, once

__all__ = ["Outbox", "once"]

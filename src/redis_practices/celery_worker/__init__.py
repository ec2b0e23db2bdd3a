"""Carry tasks through Celery on Redis.

promise                                                      module                features/celery_worker/
an effect happens once, however often a task is delivered    delivery              twice, outbox
a task that the broker lost is sent again                    delivery              outbox
a failing task is retried with growing waits                 failing               failing
a chord or chain ends, however a member of it ends           workflows             workflows, failing
a poison message goes to a dead-letter list                  failing               outbox
a sender fails within its timeout when the broker is down    sending               senders, security, hostile
many tasks are sent in one round trip                        sending               senders
a waiting caller does not miss a result                      sending               results, workflows
length and age of a queue are known                          queue_age             deployment
a health check tells a consuming worker from a hung one      health                - (docker-compose.yml uses it)
a broker's URL may have any option of redis-py               broker_url            - (tests/test_options.py)
a user with the fewest rights suffices                       security              security
a worker refuses an unsigned task                            security              hostile
a short task costs one round trip                            batch_transport       one_trip
the settings of a worker, with reasons                       ../../worker.py       delivery, twice, shutdown
a worker keeps what it holds when a connection is lost       consumer              trouble, twice, pinned
finished work is recorded when the broker is back            outages               trouble
names of queues of killed processes are removed              transport             results
order, schedule and state of a worker                        ../../worker.py       order, schedule, trouble
a task is sent, processed, and its result comes back         ../../send_task.py    processing, availability
Celery itself keeps it: no code here                         -                     audit, control, data_path, pinned
"""

from redis_practices.celery_worker.delivery import Outbox, once

__all__ = ["Outbox", "once"]

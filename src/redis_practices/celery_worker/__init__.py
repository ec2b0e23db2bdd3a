"""Carry tasks through Celery on Redis.

promise                                                      module                features/celery_worker/
an effect happens once, however often a task is delivered    delivery              twice, outbox
a task that the broker lost is sent again                    delivery              outbox
a failing task waits longer each time it is tried            failing               failing
a task that kills its workers is put aside                   failing               outbox
a sender hears within its timeout that a broker is down      sending               senders, security, hostile
many tasks are sent in one round trip                        sending               bulk
a waiting caller does not miss a result                      sending               results, workflows
length and age of a queue are known                          queue_age             deployment
a worker that consumes is told from one that hangs           health                - (docker-compose.yml uses it)
a broker's URL may have any option of redis-py               broker_url            - (tests/test_options.py)
a user of least privilege suffices                           security              security
a worker refuses what is not signed                          security              hostile
a short task costs one round trip                            batch_transport       one_trip
what a worker is set to, and why                             ../../worker.py       delivery, twice, shutdown
what else a worker is set to                                 ../../worker.py       order, schedule, trouble
a task is sent, processed, and its result comes back         ../../send_task.py    processing, availability
Celery itself does so: no code here                          -                     audit, control, data_path, pinned
"""

from redis_practices.celery_worker.delivery import Outbox, once

__all__ = ["Outbox", "once"]

"""Carry tasks through Celery on Redis.

promise                                                      module             features/celery_worker/
an effect happens once, however often a task is delivered    delivery           twice, delivery
a task that the broker lost is sent again                    delivery           outbox
a failing task waits longer each time it is tried            failing            failing
a task that kills its workers is put aside                   failing            outbox, pinned
a sender hears within its time-out that a broker is down     sending            senders, hostile
many tasks are sent in one round trip                        sending            bulk
a waiting caller does not miss a result                      sending            results
length and age of a queue are known                          queue_age          deployment
a worker that consumes can be told from one that hangs       health             deployment
a user of least privilege suffices; tasks are signed         security           security
a short task costs one round trip                            batch_transport    one_trip
"""

from redis_practices.celery_worker.delivery import Outbox, once

__all__ = ["Outbox", "once"]

Feature: The scripts do what the README promises
  They are the first thing anybody tries, and the code that is copied. Output that other programs can
  read, and nothing to install or to configure, decide whether there is a second time.

  Background:
    Given these addresses
      | NAME    | OF                                     |
      | CACHE   | a cache                                |
      | IPV6    | a cache that listens on IPv6 too       |
      | BROKER  | a broker without a worker              |
      | NODE    | a cluster node                         |
      | NOTHING | a port where nothing listens           |

  Rule: Each prints its result on standard output and nothing else

    @gate-026 @waits
    Scenario: a username is cached for 10 seconds and read again after 12
      When somebody runs "python src/cache_example.py"
      Then it exits with 0
      And its standard output is
        """
        Cached username = qiross for 10 seconds.
        Retrieved username = qiross from cache.
        username does not exist or has expired.
        """
      And its standard error is the line "no CACHE_URL and no local cache: started an embedded $ENGINE for this command"
      And the command took between 12 and 18 seconds

    @gate-027
    Scenario: another key, value, ttl and wait
      When somebody runs "python src/cache_example.py --key city --value 'New York' --ttl 0.2 --wait 0.3"
      Then it exits with 0
      And its standard output is
        """
        Cached city = New York for 0.2 seconds.
        Retrieved city = New York from cache.
        city does not exist or has expired.
        """

    @gate-028
    Scenario Outline: <command> sends a task
      When somebody runs "python src/<command>"
      Then it exits with 0
      And its standard output is
        """
        Task result: <result>
        """
      And its standard error is the line "no BROKER_URL and no local broker: started an embedded $ENGINE for this command"

      @slow
      Examples:
        | command               | result |
        | send_task.py          | 12     |
        | send_task.py -20 62.5 | 42.5   |

    @gate-029
    Scenario Outline: <script> explains itself
      When somebody runs "python src/<script> --help"
      Then it exits with 0
      And it says
        """
        usage: <script>
        examples:
        python src/<script>
        """
      And its standard error is empty

      Examples:
        | script             |
        | serve.py           |

      @slow
      Examples: more
        | script             |
        | cache_example.py   |
        | cluster_example.py |
        | send_task.py       |

  Rule: They connect to what they are told, else to what is on this machine

    @gate-030
    Scenario Outline: a value is cached where <told> says
      When somebody runs "<told> python src/cache_example.py --key <key> --value here --ttl 60 --wait 0.001"
      Then it exits with 0
      And its standard error is empty
      And the server at "<where>" holds "here" under "<key>"

      Examples:
        | told                                                 | where  | key         |
        | CACHE_URL=redis://$CACHE                             | $CACHE | a-url       |
        | CACHE_URL=redis://$IPV6/0                            | $IPV6  | ipv6        |
        | CACHE_PORT=$PORT_OF_CACHE                            | $CACHE | a-port      |

      @slow
      Examples: more
        | told                                                 | where  | key         |
        | CACHE_URL= CACHE_PORT=$PORT_OF_CACHE                 | $CACHE | empty-url   |
        | CACHE_URL=redis://$CACHE CACHE_PORT=$PORT_OF_BROKER  | $CACHE | url-first   |

    @gate-031
    Scenario: a task goes to the broker and the worker that somebody started
      Given somebody started "cd src && BROKER_URL=redis://$BROKER exec celery -A worker worker"
      And it has said "[queues]"
      When somebody runs "BROKER_URL=redis://$BROKER python src/send_task.py 20 22 --timeout 20"
      Then it exits with 0
      And its standard output is
        """
        Task result: 42
        """
      And its standard error is empty

  Rule: The cluster's script shows where keys are, and takes its own away again

    @gate-032
    Scenario Outline: keys in the cluster of <told>
      When somebody runs "<told> python src/cluster_example.py --keys 600"
      Then it exits with 0
      And its standard error is empty
      And it shows a cluster of 3 primaries and 3 replicas with all slots and 600 keys
      And each primary's share is between 20 and 47 %
      And the widest deviation it names is the widest of its table
      And the journey of its key is as the cluster at "$NODE" says
      And no key is left in the cluster at "$NODE"

      Examples:
        | told                             |
        | CLUSTER_URL=redis://$NODE        |

      @slow
      Examples: more
        | told                             |
        | CLUSTER_PORT_1=$PORT_OF_NODE     |

    @gate-033
    Scenario: a cluster of its own
      When somebody runs "python src/cluster_example.py"
      Then it exits with 0
      And its standard error is the line "no CLUSTER_URL and no local cluster: started an embedded $ENGINE for this command"
      And it shows a cluster of 3 primaries and 3 replicas with all slots and 1000 keys

  Rule: Whoever reads only the first line sees no error

    @gate-034
    Scenario Outline: <script> with a reader that goes away
      When somebody runs "<told> python src/<script> | head -1"
      Then its standard output is
        """
        <line>
        """
      And its standard error is empty

      Examples:
        | script                      | told                      | line                                     |
        | cache_example.py --wait 0.3 | CACHE_URL=redis://$CACHE  | Cached username = qiross for 10 seconds. |

      @slow
      Examples: more
        | script                      | told                      | line                                     |
        | cluster_example.py          | CLUSTER_URL=redis://$NODE | Wrote 1000 keys and read them back.      |

  Rule: A long wait shows on a terminal that it goes on

    @gate-035
    Scenario: the seconds that are left
      When somebody runs "python src/cache_example.py --ttl 0.1 --wait 1.1" at a terminal
      Then it exits with 0
      And the terminal shows "waiting for username to expire: 2 s left"
      And the terminal shows "waiting for username to expire: 1 s left"

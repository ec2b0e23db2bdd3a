Feature: A script uses the server of its URL, else of its port, else an embedded one
  A script that silently uses another server than its user means is worse than one that fails. It writes into the data of
  other applications, and proves nothing about the right server.

  Background:
    Given these addresses
      | NAME   | DEPLOYMENT                       |
      | CACHE  | a cache                          |
      | IPV6   | a cache that listens on IPv6 too |
      | BROKER | a broker without a worker        |
      | NODE   | a cluster node                   |

  Rule: A URL goes before a port, and a port before an embedded server

    @gate-030
    Scenario Outline: cache_example.py with <SETTING> stores its value at <ADDRESS>
      When I run "<SETTING> python src/cache_example.py --key <KEY> --value here --ttl 60 --wait 0.001"
      Then the command exits with 0
      And the error output is empty
      And the server at "<ADDRESS>" reads "here" from "<KEY>"

      Examples:
        | SETTING                  | ADDRESS | KEY   |
        | CACHE_URL=redis://$CACHE | $CACHE  | a-url |

      @slow
      Examples: more
        | SETTING                                             | ADDRESS | KEY       |
        | CACHE_URL=redis://$IPV6/0                           | $IPV6   | ipv6      |
        | CACHE_PORT=$PORT_OF_CACHE                           | $CACHE  | a-port    |
        | CACHE_URL= CACHE_PORT=$PORT_OF_CACHE                | $CACHE  | empty-url |
        | CACHE_URL=redis://$CACHE CACHE_PORT=$PORT_OF_BROKER | $CACHE  | url-first |

    @gate-031 @slow
    Scenario: send_task.py sends its task to the broker and the worker of BROKER_URL
      Given "cd src && BROKER_URL=redis://$BROKER exec celery -A worker worker" is running
        | OPTION       | VALUE    |
        | first output | [queues] |
      When I run "BROKER_URL=redis://$BROKER python src/send_task.py 20 22 --timeout 20"
      Then the command exits with 0
      And the standard output is "Task result: 42"
      And the error output is empty

    @gate-032
    Scenario Outline: cluster_example.py with <SETTING> shows where its keys are
      When I run "<SETTING> python src/cluster_example.py --keys 600"
      Then the command exits with 0
      And the error output is empty
      And the standard output contains
        """
        Wrote 600 keys and read them back.
        widest deviation from an even spread:
        -> slot
        answers: MOVED
        """

      Examples:
        | SETTING                   |
        | CLUSTER_URL=redis://$NODE |

      @slow
      Examples: more
        | SETTING                      |
        | CLUSTER_PORT_1=$PORT_OF_NODE |

    @gate-033
    Scenario: cluster_example.py starts an embedded cluster without CLUSTER_URL
      When I run "python src/cluster_example.py"
      Then the command exits with 0
      And the error output is "no CLUSTER_URL and no local cluster: started an embedded $ENGINE for this command"
      And the standard output contains
        """
        Wrote 1000 keys and read them back.
        """

Feature: A script that cannot use a server says in one line why
  A traceback hides the cause, and a script without a timeout blocks the terminal. An error that quotes the URL leaks a
  password to a build log.

  Background:
    Given these addresses
      | NAME    | DEPLOYMENT                            |
      | CACHE   | a cache                               |
      | LOCKED  | a server that wants a password        |
      | BROKER  | a broker without a worker             |
      | NODE    | a cluster node                        |
      | PAUSED  | a paused server                       |
      | SILENT  | a port that accepts and never answers |
      | NOTHING | a port where nothing listens          |

  Rule: An unusable server is named with its reason and without its password

    @gate-004
    Scenario Outline: <SCRIPT> with <VARIABLE>=<URL> says why it cannot connect
      When I run "<VARIABLE>=<URL> python src/<SCRIPT> --timeout 0.2"
      Then the command exits with 1
      And the standard output is empty
      And the error output is "<SCRIPT>: <REASON>"
      And the command took at most 20 seconds

      Examples: no server is there
        | VARIABLE  | URL                             | SCRIPT           | REASON                                                       |
        | CACHE_URL | redis://:s3cret@no-host.invalid | cache_example.py | no-host.invalid:6379 does not resolve: check the host's name |

      @slow
      Examples: no server is there, more
        | VARIABLE    | URL                      | SCRIPT             | REASON                                                 |
        | BROKER_URL  | redis://:s3cret@$NOTHING | send_task.py       | $NOTHING refuses the connection: nothing listens there |
        | CACHE_URL   | redis://:s3cret@$NOTHING | cache_example.py   | $NOTHING refuses the connection: nothing listens there |
        | CLUSTER_URL | redis://:s3cret@$NOTHING | cluster_example.py | $NOTHING refuses the connection: nothing listens there |

      Examples: no reply comes
        | VARIABLE  | URL                     | SCRIPT           | REASON                                                                                           |
        | CACHE_URL | redis://:s3cret@$PAUSED | cache_example.py | $PAUSED did not answer within 0.2 s: it is paused or overloaded, or a firewall drops the traffic |

      @slow
      Examples: no reply comes, more
        | VARIABLE    | URL                      | SCRIPT             | REASON                                                                                                                                   |
        | CLUSTER_URL | redis://:s3cret@$PAUSED  | cluster_example.py | $PAUSED did not answer within 0.2 s: it is paused or overloaded, or a firewall drops the traffic                                         |
        | BROKER_URL  | redis://:s3cret@$SILENT  | send_task.py       | $SILENT did not answer within 0.2 s: it is paused or overloaded, or a firewall drops the traffic                                         |
        | BROKER_URL  | redis://$BROKER          | send_task.py       | no worker of $BROKER answered within 0.2 s: start one in src/ with BROKER_URL set: celery -A worker worker                               |
        | CACHE_URL   | redis://:s3cret@$SILENT  | cache_example.py   | $SILENT did not answer within 0.2 s: it is paused or overloaded, or a firewall drops the traffic                                         |
        | CACHE_URL   | rediss://:s3cret@$SILENT | cache_example.py   | $SILENT did not answer within 0.2 s: it is paused or overloaded, or a firewall drops the traffic; where it speaks no TLS, write redis:// |

      Examples: another kind of server is there
        | VARIABLE  | URL                    | SCRIPT           | REASON                                                                                   |
        | CACHE_URL | redis://:wr0ng@$LOCKED | cache_example.py | $LOCKED refuses the user or password: check the URL (special characters percent-encoded) |

      @slow
      Examples: another kind of server is there, more
        | VARIABLE    | URL                    | SCRIPT             | REASON                                                                                   |
        | CLUSTER_URL | redis://$CACHE         | cluster_example.py | $CACHE is a plain server, not a cluster node                                             |
        | BROKER_URL  | redis://$NODE          | send_task.py       | $NODE is a cluster node, and Celery does not run on a Redis Cluster: use one server      |
        | CLUSTER_URL | redis://:wr0ng@$LOCKED | cluster_example.py | $LOCKED refuses the user or password: check the URL (special characters percent-encoded) |
        | BROKER_URL  | redis://$LOCKED        | send_task.py       | $LOCKED refuses the user or password: check the URL (special characters percent-encoded) |
        | CACHE_URL   | redis://$CACHE/99      | cache_example.py   | $CACHE answers: DB index is out of range                                                 |
        | CACHE_URL   | redis://$NODE          | cache_example.py   | $NODE is a cluster node: name a plain server, or give it as CLUSTER_URL                  |

    @gate-005 @slow @waits
    Scenario: send_task.py gives up a paused server after 5 seconds without --timeout
      When I run "BROKER_URL=redis://$PAUSED python src/send_task.py"
      Then the command exits with 1
      And the error output is "send_task.py: $PAUSED did not answer within 5 s: it is paused or overloaded, or a firewall drops the traffic"
      And the command took between 5 and 12 seconds

    @gate-006 @slow @waits
    Scenario Outline: <SCRIPT> --timeout 8 waits 8 seconds for a silent server
      When I run "<VARIABLE>=redis://$SILENT python src/<SCRIPT> --timeout 8"
      Then the command exits with 1
      And the command took between 8 and 20 seconds

      Examples:
        | VARIABLE    | SCRIPT             |
        | CACHE_URL   | cache_example.py   |
        | CLUSTER_URL | cluster_example.py |
        | BROKER_URL  | send_task.py       |

    @gate-007
    Scenario Outline: <SCRIPT> says in one line that its <ROLE> was <FAULT>
      Given an isolated <ROLE>
      And "exec python src/<SCRIPT> <OPTIONS> --timeout 0.5" is running
      Then the <ROLE> has at least 1 key within 20 seconds
      When the <ROLE> is <FAULT>
      Then the command exits with 1
      And the error output contains
        """
        <SCRIPT>: $SERVER <REASON>
        """
      And the output does not contain "Traceback"

      Examples:
        | ROLE   | SCRIPT       | OPTIONS | FAULT  | REASON                      |
        | broker | send_task.py |         | paused | did not answer within 0.5 s |

      @slow
      Examples: more
        | ROLE   | SCRIPT           | OPTIONS    | FAULT  | REASON                      |
        | broker | send_task.py     |            | killed | refuses the connection      |
        | cache  | cache_example.py | --wait 1.5 | paused | did not answer within 0.5 s |
        | cache  | cache_example.py | --wait 1.5 | killed | refuses the connection      |

Feature: The scripts say in one line what is wrong
  A traceback on the first minute is what people remember of a tool, and a terminal that hangs is worse.
  Worst is a password that ends up in the log of a build server.

  Background:
    Given these addresses
      | NAME    | OF                                    |
      | CACHE   | a cache                               |
      | LOCKED  | a server that wants a password        |
      | BROKER  | a broker without a worker             |
      | NODE    | a cluster node                        |
      | PAUSED  | a server that hangs                   |
      | SILENT  | a port that accepts and never answers |
      | NOTHING | a port where nothing listens          |

  Rule: A wrong call is refused before anything is contacted

    @gate-001
    Scenario Outline: <script> <options>
      When somebody runs "python src/<script> <options>"
      Then it exits with 2
      And its standard output is empty
      And its standard error is the line "<script>: <reason> (see --help)"

      Examples:
        | script             | options            | reason                                                                              |
        | cache_example.py   | --ttl -1           | argument --ttl: '-1' is not a number of seconds: give a positive one, at most 1e8   |
        | cache_example.py   | --tll 3            | unrecognized arguments: --tll 3                                                     |
        | serve.py           |                    | the following arguments are required: kind                                          |

      @slow
      Examples: more
        | script             | options            | reason                                                                              |
        | cache_example.py   | --wait 1e9         | argument --wait: '1e9' is not a number of seconds: give a positive one, at most 1e8 |
        | cluster_example.py | --keys 0           | argument --keys: '0' is not a positive whole number                                 |
        | send_task.py       | four 8             | argument X: 'four' is not a number                                                  |
        | serve.py           | cache --port 70000 | argument --port: '70000' is not a port: name one from 1 to 65535                    |

    @gate-002
    Scenario: a port that is none
      When somebody runs "CLUSTER_PORT_1=70000 python src/cluster_example.py"
      Then it exits with 2
      And its standard error is the line "cluster_example.py: CLUSTER_PORT_1: '70000' is not a port: name one from 1 to 65535"

    @gate-003
    Scenario Outline: <variable>=<url>
      A password may stand anywhere in a URL that cannot be read, so none of it is shown.

      When somebody runs "<variable>=<url> python src/<script>"
      Then it exits with 2
      And its standard output is empty
      And its standard error is the line "<script>: <variable> is <what>: write redis://[[user]:password@]host[:port][/db], rediss:// for TLS, special characters percent-encoded"

      Examples:
        | variable    | url                    | script             | what                                          |
        | CACHE_URL   | redis://:s3/cret@host  | cache_example.py   | not a Redis URL                               |
        | CACHE_URL   | unix:///run/redis.sock | cache_example.py   | a unix socket, and a host and port are needed |

      @slow
      Examples: more
        | variable    | url                    | script             | what                                          |
        | CACHE_URL   | localhost              | cache_example.py   | not a Redis URL                               |
        | CACHE_URL   | redis://host:s3cret    | cache_example.py   | not a Redis URL                               |
        | CLUSTER_URL | redis://[::1           | cluster_example.py | not a Redis URL                               |
        | BROKER_URL  | amqp://u:s3cret@host   | send_task.py       | not a Redis URL                               |

  Rule: A server that cannot be used is named with its reason, and never with its password

    @gate-004
    Scenario Outline: <variable>=<value> python src/<script>
      When somebody runs "<variable>=<value> python src/<script> --timeout 0.2"
      Then it exits with 1
      And its standard output is empty
      And its standard error is the line "<script>: <reason>"
      And the command took at most 10 seconds

      Examples: nobody is there
        | variable    | value                           | script             | reason                                                       |
        | CACHE_URL   | redis://:s3cret@no-host.invalid | cache_example.py   | no-host.invalid:6379 does not resolve: check the host's name |
        | BROKER_URL  | redis://:s3cret@$NOTHING        | send_task.py       | $NOTHING refuses the connection: nothing listens there       |

      @slow
      Examples: nobody is there, more
        | variable    | value                           | script             | reason                                                       |
        | CACHE_URL   | redis://:s3cret@$NOTHING        | cache_example.py   | $NOTHING refuses the connection: nothing listens there       |
        | CLUSTER_URL | redis://:s3cret@$NOTHING        | cluster_example.py | $NOTHING refuses the connection: nothing listens there       |

      Examples: who is there does not answer
        | variable    | value                    | script             | reason                                                                                                     |
        | CACHE_URL   | redis://:s3cret@$PAUSED  | cache_example.py   | $PAUSED did not answer within 0.2 s: it hangs, or a firewall swallows the traffic                          |
        | CLUSTER_URL | redis://:s3cret@$PAUSED  | cluster_example.py | $PAUSED did not answer within 0.2 s: it hangs, or a firewall swallows the traffic                          |
        | BROKER_URL  | redis://:s3cret@$SILENT  | send_task.py       | $SILENT did not answer within 0.2 s: it hangs, or a firewall swallows the traffic                          |
        | BROKER_URL  | redis://$BROKER          | send_task.py       | no worker of $BROKER answered within 0.2 s: start one in src/ with BROKER_URL set: celery -A worker worker |

      @slow
      Examples: who is there does not answer, more
        | variable    | value                    | script             | reason                                                                                                     |
        | CACHE_URL   | redis://:s3cret@$SILENT  | cache_example.py   | $SILENT did not answer within 0.2 s: it hangs, or a firewall swallows the traffic                          |
        | CACHE_URL   | rediss://:s3cret@$SILENT | cache_example.py   | $SILENT did not answer within 0.2 s: it hangs, or a firewall swallows the traffic; where it speaks no TLS, write redis:// |

      Examples: who is there is somebody else
        | variable    | value                  | script             | reason                                                                                   |
        | CACHE_URL   | redis://:wr0ng@$LOCKED | cache_example.py   | $LOCKED refuses the user or password: check the URL (special characters percent-encoded) |
        | CLUSTER_URL | redis://$CACHE         | cluster_example.py | $CACHE is a plain server, not a cluster node                                             |
        | BROKER_URL  | redis://$NODE          | send_task.py       | $NODE is a cluster node, and Celery does not run on a Redis Cluster: use one server      |

      @slow
      Examples: who is there is somebody else, more
        | variable    | value                  | script             | reason                                                                                   |
        | CLUSTER_URL | redis://:wr0ng@$LOCKED | cluster_example.py | $LOCKED refuses the user or password: check the URL (special characters percent-encoded) |
        | BROKER_URL  | redis://$LOCKED        | send_task.py       | $LOCKED refuses the user or password: check the URL (special characters percent-encoded) |
        | CACHE_URL   | redis://$CACHE/99      | cache_example.py   | $CACHE answers: DB index is out of range                                                 |
        | CACHE_URL   | redis://$NODE          | cache_example.py   | $NODE is a cluster node: name a plain server, or give it as CLUSTER_URL                  |

    @gate-005 @waits
    Scenario: without --timeout a server that hangs is given up after 5 seconds
      When somebody runs "BROKER_URL=redis://$PAUSED python src/send_task.py"
      Then it exits with 1
      And its standard error is the line "send_task.py: $PAUSED did not answer within 5 s: it hangs, or a firewall swallows the traffic"
      And the command took between 5 and 12 seconds

    @gate-006 @slow @waits
    Scenario Outline: src/<script> waits as long as it is told
      When somebody runs "<variable>=redis://$SILENT python src/<script> --timeout 8"
      Then it exits with 1
      And the command took between 8 and 20 seconds

      Examples:
        | variable    | script             |
        | CACHE_URL   | cache_example.py   |
        | CLUSTER_URL | cluster_example.py |
        | BROKER_URL  | send_task.py       |

    @gate-007
    Scenario Outline: a server that <fate> under src/<script>
      When somebody runs "<variable>=redis://$SERVER python src/<script> <options> --timeout 0.5", and $SERVER <fate> when it holds a key
      Then it exits with 1
      And it says
        """
        <script>: 127.0.0.1:
        """
      And it says
        """
         <reason>
        """
      And it does not say "Traceback"
      And the command took at most 10 seconds

      Examples:
        | variable   | script           | options    | fate  | reason                        |
        | BROKER_URL | send_task.py     |            | hangs | did not answer within 0.5 s   |

      @slow
      Examples: more
        | variable   | script           | options    | fate  | reason                        |
        | BROKER_URL | send_task.py     |            | ends  | refuses the connection        |
        | CACHE_URL  | cache_example.py | --wait 1.5 | hangs | did not answer within 0.5 s   |
        | CACHE_URL  | cache_example.py | --wait 1.5 | ends  | refuses the connection        |

  Rule: A server of its own that cannot start says why

    @gate-008
    Scenario Outline: <setting> python src/<script> <options>
      When somebody runs "<setting> python src/<script> <options>"
      Then it exits with 1
      And its standard output is empty
      And its standard error is the line "<script>: no embedded <kind> can be started: <reason>"

      Examples:
        | setting                  | script           | options                      | kind   | reason                                                                   |
        |                          | serve.py         | cache --port $PORT_OF_CACHE  | cache  | port $PORT_OF_CACHE is taken: choose another, or end what listens there  |
        | SERVER_BINARY=/bin/sh    | cache_example.py |                              | cache  | '/bin/sh' does not run, or is no Redis or Valkey server                  |

      @slow
      Examples: more
        | setting                  | script           | options                      | kind   | reason                                                                   |
        |                          | serve.py         | cache --port $PORT_OF_PAUSED | cache  | port $PORT_OF_PAUSED is taken: choose another, or end what listens there |
        | SERVER_BINARY=/no/server | send_task.py     |                              | broker | '/no/server' is not a program: name a redis-server or valkey-server      |

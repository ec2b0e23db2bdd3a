Feature: A run names the servers it judges, or says why it cannot use them
  A green run on other servers than its reader believes is worse than a red one. So every run begins with its stack,
  engines, options and seed. A stack that is not there is an error, never a skip and never another stack.

  Background:
    Given these addresses
      | NAME     | DEPLOYMENT                              |
      | CACHE    | a cache                                 |
      | LOCKED   | a server that wants a password          |
      | BROKER   | a broker without a worker               |
      | NODE     | a cluster node                          |
      | SILENT   | a port that accepts and never answers   |
      | NOTHING  | a port where nothing listens            |
      | CRASHING | a server program that ends at its start |

  Rule: The header names stack, engine, options and seed

    @gate-040 @slow
    Scenario: the header of a run on embedded servers names engine, options and seed
      When I run "pytest 'features/pure_cache/audit.feature::the cache has a memory limit' --require core --hypothesis-seed 7"
      Then the command exits with 0
      And the output contains
        """
        stack: embedded, $ENGINE
        options: --require=core
        hypothesis seed: 7
        collected 1 item
        verdict: accepted (1 scenario of
        """

    @gate-041 @slow
    Scenario: the header of a run on a deployment names its servers and the practices left out
      When I run "CACHE_URL=redis://$CACHE pytest features/pure_cache/audit.feature -k cache-007 --require core --hypothesis-seed 7 --processes 0"
      Then the command exits with 0
      And the output contains
        """
        stack: external, $ENGINE
        cache: $CACHE
        nodes: $ENGINE at $CACHE
        features/redis_cluster is left out: no --cluster-url is given
        features/celery_worker is left out: no --broker-url is given
        features/result_backend is left out: no --results-url is given
        features/gate is left out: the verdict speaks of the deployment alone
        options: --require=core
        hypothesis seed: 7
        verdict: partial (1 scenario of
        """

    @gate-042
    Scenario: no password of a URL is printed, even by a failure with all local variables
      When I run "pytest features/pure_cache/audit.feature -k cache-005 --processes 0 --tb=long --showlocals --report $TMPDIR/r --cache-url redis://:s3cret@$LOCKED; cat $TMPDIR/r/*"
      Then the output contains
        """
        cache: $LOCKED
        FAILED features/pure_cache/audit.feature::
        verdict: refused (1 scenario of
        """
      And the output does not contain "s3cret"

  Rule: A stack that is not available is an error with its reason

    @gate-045
    Scenario Outline: <SETTING> pytest <OPTIONS> is refused with its reason
      When I run "<SETTING> pytest features <OPTIONS>"
      Then the command exits with 4
      And the output is "ERROR: <REASON>"

      Examples: one of many
        | SETTING | OPTIONS                              | REASON                                                 |
        |         | --cache-url redis://:s3cret@$NOTHING | $NOTHING refuses the connection: nothing listens there |

      @slow
      Examples: more
        | SETTING                    | OPTIONS                                     | REASON                                                                                                                                                                             |
        | CLUSTER_URL=redis://$CACHE |                                             | --cluster-url: $CACHE is a plain server, not a cluster node                                                                                                                        |
        | SERVER_BINARY=/no/server   |                                             | '/no/server' is not a program: name a redis-server or valkey-server                                                                                                                |
        |                            | --stack=external                            | --stack=external needs --cache-url, --cluster-url, --broker-url or --results-url                                                                                                   |
        | STACK=elsewhere            |                                             | STACK is none of embedded, docker, external                                                                                                                                        |
        |                            | --stack=embedded --cache-url redis://$CACHE | --stack=embedded starts its own servers: leave the URLs out, or --stack                                                                                                            |
        |                            | --server-binary /bin/sh                     | '/bin/sh' does not run, or is no Redis or Valkey server                                                                                                                            |
        |                            | --require cores                             | --require: 'cores' is no tag; see pytest --markers                                                                                                                                 |
        |                            | --cache-url redis://h:s3cret                | --cache-url is not a Redis URL: write redis://[[user]:password@]host[:port][/db], rediss:// for TLS, special characters percent-encoded                                            |
        |                            | --cache-url redis://:wr0ng@$LOCKED          | $LOCKED refuses the user or password: check the URL (special characters percent-encoded)                                                                                           |
        |                            | --cache-url redis://:s3cret@$SILENT         | $SILENT did not answer within 5 s: it is paused or overloaded, or a firewall drops the traffic                                                                                     |
        |                            | --cache-url redis://$NODE                   | --cache-url: $NODE is a cluster node: name a plain server, or give it as --cluster-url                                                                                             |
        |                            | --cluster-url redis://$NODE/1               | --cluster-url names a database: redis-py's client of a cluster uses 0 alone; leave it out                                                                                          |
        |                            | --broker-url redis://$NODE                  | --broker-url: $NODE is a cluster node, and Celery does not run on a Redis Cluster: use one server                                                                                  |
        | IN_CONTAINER=1             | --cache-url redis://:s3cret@$NOTHING        | $NOTHING refuses the connection: nothing listens there; in a container this address is the container itself: name the server on a shared network, or use docker run --network host |

    @gate-046 @slow
    Scenario Outline: --stack=docker with <SETTING> says that no Docker engine answers
      When I run "<SETTING> $PYTHON -m pytest features --stack=docker"
      Then the command exits with 4
      And the output contains
        """
        ERROR: no Docker engine answers (
        """
      And the output contains
        """
        ; start it, or use --stack=embedded
        """

      Examples:
        | SETTING                                 |
        | DOCKER_HOST=unix:///nowhere/docker.sock |

      Examples: more
        | SETTING       |
        | PATH=/nowhere |

    @gate-047 @slow
    Scenario: a server that ends at its start shows the end of its log
      When I run "pytest features/pure_cache/data_path.feature -k cache-029 --processes 0 --server-binary $CRASHING"
      Then the command exits with 1
      And the output contains
        """
        ended at its start:
        no-such-directive
        verdict: error (1 scenario of
        """

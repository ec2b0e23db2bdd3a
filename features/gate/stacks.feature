Feature: A run says where it runs, or why it cannot
  A green run on other servers than its reader believes is worse than a red one. So every run begins with its stack,
  engines, options and seed, and a stack that cannot be had is an error, never a skip and never another stack.

  Background:
    Given these addresses
      | NAME     | OF                                     |
      | CACHE    | a cache                                |
      | LOCKED   | a server that wants a password         |
      | BROKER   | a broker without a worker              |
      | NODE     | a cluster node                         |
      | SILENT   | a port that accepts and never answers  |
      | NOTHING  | a port where nothing listens           |
      | CRASHING | a server program that ends at its start |

  Rule: The header names stack, engine, options and seed

    @gate-040
    Scenario: a run on embedded servers, one scenario in one process
      When somebody runs "pytest 'features/pure_cache/audit.feature::a memory limit is set' --require core --hypothesis-seed 7"
      Then it exits with 0
      And it says
        """
        stack: embedded, $ENGINE
        options: --require=core
        hypothesis seed: 7
        collected 1 item
        verdict: accepted (1 scenario of
        """

    @gate-041
    Scenario: a run on servers of somebody, who set only their URL
      When somebody runs "BROKER_URL=redis://$BROKER pytest features/celery_worker/processing.feature -k sum -n 1"
      Then it exits with 0
      And it says
        """
        stack: external, $ENGINE
        broker: $BROKER
        nodes: $ENGINE at $BROKER
        features/pure_cache is left out: no --cache-url is given
        features/redis_cluster is left out: no --cluster-url is given
        features/gate is left out: the verdict speaks of the deployment alone
        created: 1/1 worker
        verdict: partial (1 scenario of
        """

    @gate-042
    Scenario: a password in a URL is not said, not even by a failure with everything it knows
      When somebody runs "pytest 'features/pure_cache/audit.feature::a memory limit is set' --tb=long --showlocals --report $TMPDIR/r --cache-url redis://:s3cret@$LOCKED; cat $TMPDIR/r/*"
      Then it says
        """
        cache: $LOCKED
        FAILED features/pure_cache/audit.feature::a memory limit is set
        verdict: refused (1 scenario of
        """
      And it does not say "s3cret"

  Rule: What needs a role without URL is no part of the question, and is never required

    @gate-043
    Scenario Outline: <what>
      When somebody runs "pytest <arguments> -n 0 -rs --cache-url redis://$CACHE"
      Then it exits with <code>
      And it says
        """
        <said>
        verdict: <verdict>
        """

      Examples:
        | what                     | arguments                                                                                                        | code | said                                                        | verdict                 |
        | a practice of its own    | features/pure_cache/audit.feature features/celery_worker/processing.feature -k 'evicted or sum' --require core   | 0    | features/celery_worker is left out: no --broker-url is given | partial (1 scenario of |

      @slow
      Examples: more
        | what                     | arguments                                                                                                        | code | said                                                        | verdict                 |
        | scenarios of another one | features/tuning/cluster.feature -m 'not disruptive' --require tuning                                                               | 0    | external: no --cluster-url is given                         | error (0 scenarios of |

  Rule: A core scenario that a deployment lets nobody run is skipped with that reason, unless it is required

    @gate-044
    Scenario Outline: <options>
      When somebody runs "pytest features/redis_cluster/failover.feature -m core -n 0 -rs --cluster-url redis://$NODE <options>"
      Then it exits with <code>
      And it says
        """
        <said>
        verdict: <verdict>
        """

      Examples:
        | options        | code | said                                                                                     | verdict                          |
        | --require core | 1    | required (--require core), but external: it is disrupted only with --allow-disruption, by | refused (3 scenarios of |

      @slow
      Examples: more
        | options        | code | said                                                  | verdict                                                       |
        |                | 0    | external: it is disrupted only with --allow-disruption | error (3 scenarios of |

  Rule: A stack that cannot be had is an error with its reason

    @gate-045
    Scenario Outline: <settings> pytest <options>
      When somebody runs "<settings> pytest features <options>"
      Then it exits with 4
      And it says nothing but "ERROR: <reason>"

      Examples: a choice of what a run needs
        | settings                   | options                              | reason                                                            |
        |                            | --cache-url redis://:s3cret@$NOTHING | $NOTHING refuses the connection: nothing listens there            |

      @slow
      Examples: a choice of what a run needs, more
        | settings                   | options                              | reason                                                            |
        | CLUSTER_URL=redis://$CACHE |                                      | --cluster-url: $CACHE is a plain server, not a cluster node       |
        | SERVER_BINARY=/no/server   |                                      | '/no/server' is not a program: name a redis-server or valkey-server |

      @slow
      Examples: and the rest
        | settings        | options                                     | reason                                                                                                                                  |
        |                 | --stack=external                            | --stack=external needs --cache-url, --cluster-url or --broker-url                                                                       |
        | STACK=elsewhere |                                             | STACK is none of embedded, docker, external                                                                                             |
        |                 | --stack=embedded --cache-url redis://$CACHE | --stack=embedded starts its own servers: leave the URLs out, or --stack                                                                 |
        |                 | --server-binary /bin/sh                     | '/bin/sh' does not run, or is no Redis or Valkey server                                                                                 |
        |                 | --require cores                             | --require: 'cores' is no tag; see pytest --markers                                                                                      |
        |                 | --cache-url redis://h:s3cret                | --cache-url is not a Redis URL: write redis://[[user]:password@]host[:port][/db], rediss:// for TLS, special characters percent-encoded |
        |                 | --cache-url redis://:wr0ng@$LOCKED          | $LOCKED refuses the user or password: check the URL (special characters percent-encoded)                                                |
        |                 | --cache-url redis://:s3cret@$SILENT         | $SILENT did not answer within 5 s: it hangs, or a firewall swallows the traffic                                                         |
        |                 | --cache-url redis://$NODE                   | --cache-url: $NODE is a cluster node: name a plain server, or give it as --cluster-url                                                  |
        |                 | --broker-url redis://$NODE                  | --broker-url: $NODE is a cluster node, and Celery does not run on a Redis Cluster: use one server                                       |

    @gate-046
    Scenario Outline: docker with <settings>
      When somebody runs "<settings> -m pytest features --stack=docker"
      Then it exits with 4
      And it says
        """
        ERROR: no Docker engine answers (
        """
      And it says
        """
        ; start it, or use --stack=embedded
        """

      Examples:
        | settings                                           |
        | DOCKER_HOST=unix:///nowhere/docker.sock $PYTHON    |

      @slow
      Examples:
        | settings              |
        | PATH=/nowhere $PYTHON |

    @gate-047 @slow
    Scenario: a server that ends at its start shows the end of its log
      When somebody runs "pytest features/pure_cache/data_path.feature -k cache-029 --server-binary $CRASHING"
      Then it exits with 1
      And it says
        """
        ended at its start:
        no-such-directive
        verdict: error (1 scenario of
        """

  Rule: What is drawn by chance is drawn from the seed that the header names, in every process

    @gate-048
    Scenario: two processes shuffle the scenarios alike
      When somebody runs "pytest -p benchmarks.lib.shuffled features/pure_cache/audit.feature -n 2"
      Then it exits with 0

  Rule: Most scenarios wait, so they are spread over six processes

    @gate-049 @slow
    Scenario Outline: pytest <arguments>
      When somebody runs "pytest <arguments>"
      Then it exits with 0
      And it says
        """
        created: <processes>
        """

      Examples:
        | arguments                              | processes   |
        | features/pure_cache/audit.feature      | 6/6 workers |
        | features/pure_cache/audit.feature -n 2 | 2/2 workers |

  Rule: Slow scenarios run when they are asked for, and those that wait begin first

    @gate-050
    Scenario: what a run without options does
      When somebody runs "pytest features/gate/verdict.feature features/pure_cache/username.feature --collect-only -q"
      Then it exits with 0
      And it says
        """
        username cached for 10 seconds
        verdict.feature::<verdict>: <run>[accepted
        deselected
        """
      And it does not say "verdict.feature::a run that selects nothing"

    @gate-051
    Scenario: what a quick run does
      When somebody runs "pytest features/gate features/pure_cache --quick --collect-only -q"
      Then it exits with 0
      And it says
        """
        features/pure_cache/audit.feature::
        features/pure_cache/data_path.feature::a key in the cache lives as long as its ttl
        deselected
        """
      And it does not say "username cached for 10 seconds"
      And it does not say "features/gate/"

    @gate-052 @slow
    Scenario Outline: <arguments>
      When somebody runs "pytest <arguments> --collect-only -q"
      Then it exits with 0
      And it says
        """
        verdict.feature::a run that selects nothing
        """

      Examples:
        | arguments                                                    |
        | features/gate/verdict.feature -m slow                       |
        | 'features/gate/verdict.feature::a run that selects nothing' |

Feature: A script refuses a wrong call in one line before it contacts a server
  Users remember a tool by a traceback in its first minute. A typing error that starts a server, or that writes to the
  wrong one, costs more. So each script checks its options first, and shows no part of a URL it cannot read.

  Background:
    Given these addresses
      | NAME   | DEPLOYMENT      |
      | CACHE  | a cache         |
      | PAUSED | a paused server |

  Rule: A wrong option or setting is a usage error: the command exits with 2

    @gate-001
    Scenario Outline: <SCRIPT> <OPTIONS> is refused with a pointer to --help
      When I run "python src/<SCRIPT> <OPTIONS>"
      Then the command exits with 2
      And the standard output is empty
      And the error output is "<SCRIPT>: <REASON> (see --help)"

      Examples:
        | SCRIPT           | OPTIONS  | REASON                                                                            |
        | cache_example.py | --ttl -1 | argument --ttl: '-1' is not a number of seconds: give a positive one, at most 1e8 |

      @slow
      Examples: more
        | SCRIPT             | OPTIONS            | REASON                                                                              |
        | cache_example.py   | --tll 3            | unrecognized arguments: --tll 3                                                     |
        | serve.py           |                    | the following arguments are required: kind                                          |
        | cache_example.py   | --wait 1e9         | argument --wait: '1e9' is not a number of seconds: give a positive one, at most 1e8 |
        | cluster_example.py | --keys 0           | argument --keys: '0' is not a positive whole number                                 |
        | send_task.py       | four 8             | argument X: 'four' is not a number                                                  |
        | serve.py           | cache --port 70000 | argument --port: '70000' is not a port: name one from 1 to 65535                    |
        | serve.py           | cache --replicas 2 | --replicas is for a cluster, not for a cache                                        |

    @gate-002
    Scenario: cluster_example.py refuses a CLUSTER_PORT_1 above 65535
      When I run "CLUSTER_PORT_1=70000 python src/cluster_example.py"
      Then the command exits with 2
      And the error output is "cluster_example.py: CLUSTER_PORT_1: '70000' is not a port: name one from 1 to 65535"

    @gate-003
    Scenario Outline: <SCRIPT> refuses <VARIABLE>=<URL> and shows none of it
      A password may stand anywhere in a URL that cannot be read.

      When I run "<VARIABLE>=<URL> python src/<SCRIPT>"
      Then the command exits with 2
      And the standard output is empty
      And the error output is "<SCRIPT>: <VARIABLE> is <REASON>: write redis://[[user]:password@]host[:port][/db], rediss:// for TLS, special characters percent-encoded"

      Examples:
        | VARIABLE  | URL                   | SCRIPT           | REASON          |
        | CACHE_URL | redis://:s3/cret@host | cache_example.py | not a Redis URL |

      @slow
      Examples: more
        | VARIABLE    | URL                    | SCRIPT             | REASON                                        |
        | CACHE_URL   | unix:///run/redis.sock | cache_example.py   | a unix socket, and a host and port are needed |
        | CACHE_URL   | localhost              | cache_example.py   | not a Redis URL                               |
        | CACHE_URL   | redis://host:s3cret    | cache_example.py   | not a Redis URL                               |
        | CLUSTER_URL | redis://[::1           | cluster_example.py | not a Redis URL                               |
        | BROKER_URL  | amqp://u:s3cret@host   | send_task.py       | not a Redis URL                               |

  Rule: The gate refuses a wrong name of a credential provider before it connects

    @gate-115
    Scenario Outline: --credentials <NAME> is refused with its reason
      Such a name is code that runs: one that is misspelled must not become a run without a login.

      When I run "env -u LOGIN_FILE pytest features --quick --cache-url redis://$CACHE --credentials <NAME>"
      Then the command exits with 4
      And the output is "ERROR: --credentials <REASON>"

      Examples:
        | NAME                                  | REASON                                                                                                                |
        | redis_practices.credentials.LoginFile | names redis_practices.credentials.LoginFile, which reads the login from the file that LOGIN_FILE names: set it |

      @slow
      Examples: more
        | NAME                               | REASON                                                                                                                    |
        | no_such_module.Class               | names no_such_module.Class, and there is no module no_such_module: install it, or add its folder (not the current one) to PYTHONPATH |
        | redis_practices.credentials.Login5 | names redis_practices.credentials.Login5, which is not there: give module.Class                                           |
        | collections.Counter                | names collections.Counter, which makes no redis.CredentialProvider                                                        |

  Rule: An embedded server that cannot start says why

    @gate-008
    Scenario Outline: <SCRIPT> <OPTIONS> with <SETTING> cannot start an embedded <ROLE>
      When I run "<SETTING> python src/<SCRIPT> <OPTIONS>"
      Then the command exits with 1
      And the standard output is empty
      And the error output is "<SCRIPT>: no embedded <ROLE> can be started: <REASON>"

      Examples:
        | SETTING | SCRIPT   | OPTIONS                     | ROLE  | REASON                                                                  |
        |         | serve.py | cache --port $PORT_OF_CACHE | cache | port $PORT_OF_CACHE is taken: choose another, or end what listens there |

      @slow
      Examples: more
        | SETTING                  | SCRIPT           | OPTIONS                      | ROLE   | REASON                                                                   |
        |                          | serve.py         | cache --port $PORT_OF_PAUSED | cache  | port $PORT_OF_PAUSED is taken: choose another, or end what listens there |
        | SERVER_BINARY=/bin/sh    | cache_example.py |                              | cache  | '/bin/sh' does not run, or is no Redis or Valkey server                  |
        | SERVER_BINARY=/no/server | send_task.py     |                              | broker | '/no/server' is not a program: name a redis-server or valkey-server      |

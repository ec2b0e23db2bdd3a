Feature: Each script in src prints its result, and explains its options
  The scripts are what a reader runs first and copies from. A script that mixes messages into its result, or fails without
  an installed server, gets no second try. So each works without configuration, and its output can be piped.

  Background:
    Given these addresses
      | NAME    | DEPLOYMENT                   |
      | CACHE   | a cache                      |
      | NODE    | a cluster node               |
      | NOTHING | a port where nothing listens |

  Rule: The result goes to the standard output, and messages to the error output

    @gate-026 @slow @waits
    Scenario: cache_example.py caches a username for 10 seconds and reads it again after 12
      When I run "python src/cache_example.py"
      Then the command exits with 0
      And the standard output is
        """
        Cached username = qiross for 10 seconds.
        Retrieved username = qiross from cache.
        username does not exist or has expired.
        """
      And the error output is "no CACHE_URL and no local cache: started an embedded $ENGINE for this command"
      And the command took between 12 and 18 seconds

    @gate-027
    Scenario: cache_example.py takes another key, value, ttl and wait
      When I run "python src/cache_example.py --key city --value 'New York' --ttl 0.2 --wait 0.3"
      Then the command exits with 0
      And the standard output is
        """
        Cached city = New York for 0.2 seconds.
        Retrieved city = New York from cache.
        city does not exist or has expired.
        """

    @gate-028
    Scenario Outline: <COMMAND> sends a task and prints its result
      When I run "python src/<COMMAND>"
      Then the command exits with 0
      And the standard output is "Task result: <RESULT>"
      And the error output is "no BROKER_URL and no local broker: started an embedded $ENGINE for this command"

      @slow
      Examples:
        | COMMAND               | RESULT |
        | send_task.py          | 12     |
        | send_task.py -20 62.5 | 42.5   |

    @gate-029
    Scenario Outline: <SCRIPT> --help shows usage and examples
      When I run "python src/<SCRIPT> --help"
      Then the command exits with 0
      And the standard output contains
        """
        usage: <SCRIPT>
        examples:
        python src/<SCRIPT>
        """
      And the error output is empty

      Examples:
        | SCRIPT   |
        | serve.py |

      @slow
      Examples: more
        | SCRIPT             |
        | cache_example.py   |
        | cluster_example.py |
        | send_task.py       |

    @gate-034
    Scenario Outline: <SCRIPT> ends without a traceback when head closes the pipe
      When I run "<SETTING> python src/<SCRIPT> | head -1"
      Then the standard output is "<LINE>"
      And the error output is empty

      Examples:
        | SCRIPT                      | SETTING                  | LINE                                     |
        | cache_example.py --wait 0.3 | CACHE_URL=redis://$CACHE | Cached username = qiross for 10 seconds. |

      @slow
      Examples: more
        | SCRIPT             | SETTING                   | LINE                                |
        | cluster_example.py | CLUSTER_URL=redis://$NODE | Wrote 1000 keys and read them back. |

    @gate-035
    Scenario: on a terminal, cache_example.py counts down the seconds until its key expires
      When I run "python src/cache_example.py --ttl 0.1 --wait 1.1"
        | OPTION       | VALUE      |
        | error output | a terminal |
      Then the command exits with 0
      And the error output contains
        """
        waiting for username to expire: 2 s left
        waiting for username to expire: 1 s left
        """

  Rule: tuning_example.py measures the practices of tuning on your server, or refuses with an exit code
    The gain depends on the network, the machine and the data, so measure where the application runs.

    @gate-062
    Scenario Outline: tuning_example.py <OPTIONS> exits with <CODE>
      When I run "python src/tuning_example.py <OPTIONS>"
      Then the command exits with <CODE>
      And the output contains
        """
        <TEXT>
        """

      Examples:
        | OPTIONS                                      | CODE | TEXT                                     |
        | --url redis://$CACHE --only pipeline-of-none | 2    | no practice is called 'pipeline-of-none' |

      @slow
      Examples: more
        | OPTIONS                                                     | CODE | TEXT                                 |
        | --url redis://$CACHE --only "MGET of" --seconds 0.1 --json  | 0    | "results": [                         |
        | --only "queue of" --markdown                                | 0    | queue of                             |
        | --markdown --json                                           | 2    | not allowed with argument --markdown |
        | --url localhost                                             | 2    | --url is not a Redis URL             |
        | --url redis://$NOTHING --only MGET                          | 1    | refuses the connection               |
        | --url redis://$CACHE --only MSET --seconds 0.5 --plot /no/x | 1    | /no/x                                |

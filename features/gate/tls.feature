Feature: A deployment behind TLS is judged like any other
  Managed services speak nothing else. A gate that needs encryption turned off, or that trusts anybody, would judge
  another deployment than the one that applications use.

  Background:
    Given these addresses
      | NAME    | OF                                            |
      | TLS     | a broker behind TLS that wants a certificate  |
      | CLUSTER | a cluster behind TLS that wants a certificate |
      | CERTS   | the folder of their certificates              |

  Rule: Authority and client's certificate stand in the URL, under the names that redis-py has for them

    @gate-059
    Scenario: client and worker of ours show a certificate, and trust one authority
      When somebody runs "pytest features/celery_worker -k 'celery-082 or celery-026' -n 0 --broker-url rediss://$TLS/0?ssl_ca_certs=$CERTS/ca.pem\&ssl_certfile=$CERTS/client.pem\&ssl_keyfile=$CERTS/client.key"
      Then it exits with 0
      And it says
        """
        broker: $TLS
        verdict: partial (2 scenarios of
        """

    @gate-060
    Scenario: every node of a cluster is reached by what the URL of one says
      When somebody runs "pytest features/redis_cluster -k 'cluster-029 or cluster-030 or cluster-031 or cluster-064' -n 0 --cluster-url rediss://$CLUSTER?ssl_ca_certs=$CERTS/ca.pem\&ssl_certfile=$CERTS/client.pem\&ssl_keyfile=$CERTS/client.key"
      Then it exits with 0
      And it says
        """
        cluster: $CLUSTER
        verdict: partial (4 scenarios of
        """

    @gate-061
    Scenario Outline: rediss and the options <OPTIONS>
      When somebody runs "pytest features --broker-url rediss://:s3cret@$TLS/0?<OPTIONS>"
      Then it exits with 4
      And it says nothing but "ERROR: <REASON>"

      Examples:
        | OPTIONS                                                 | REASON                                                                                           |
        | db=0                                                    | $TLS shows a certificate that is not trusted: name its authority in the URL (?ssl_ca_certs=FILE) |
        | ssl_ca_certs=/no/ca.pem                                 | --broker-url names a file for ssl_ca_certs that is not there: /no/ca.pem                          |

      @slow
      Examples: more
        | OPTIONS                                                 | REASON                                                                                           |
        | ssl_ca_certs=$CERTS/ca.pem                              | $TLS closes the connection in place of an answer: write rediss:// if it wants TLS, or look at its log |
        | ssl_ca_certs=$CERTS/ca.pem\&ssl_certfile=/no/client.pem | --broker-url names a file for ssl_certfile that is not there: /no/client.pem                      |
        | ssl_ca_cert=$CERTS/ca.pem                               | --broker-url has an option that redis-py does not know: did you mean ssl_ca_certs?                |

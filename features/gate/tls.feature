Feature: The gate judges a deployment behind TLS like any other
  Managed services accept only TLS, often with client certificates (mutual TLS). A gate that needs TLS turned off, or that
  trusts every certificate, would judge another deployment than applications use.

  Background:
    Given these addresses
      | NAME    | DEPLOYMENT                                    |
      | TLS     | a broker behind TLS that wants a certificate  |
      | CLUSTER | a cluster behind TLS that wants a certificate |
      | CERTS   | the folder of their certificates              |

  Rule: The URL names certificate authority and client certificate as redis-py does

    @gate-059 @slow
    Scenario: client and worker show their certificate to a broker behind TLS, and trust one authority
      When I run "pytest features/celery_worker -k 'celery-082 or celery-026' --processes 0 --broker-url rediss://$TLS/0?ssl_ca_certs=$CERTS/ca.pem\&ssl_certfile=$CERTS/client.pem\&ssl_keyfile=$CERTS/client.key"
      Then the command exits with 0
      And the output contains
        """
        broker: $TLS
        verdict: partial (2 scenarios of
        """

    @gate-060 @slow
    Scenario: the URL of one node reaches every node of a cluster behind TLS
      When I run "pytest features/redis_cluster -k 'cluster-029 or cluster-030 or cluster-031 or cluster-064' --processes 0 --cluster-url rediss://$CLUSTER?ssl_ca_certs=$CERTS/ca.pem\&ssl_certfile=$CERTS/client.pem\&ssl_keyfile=$CERTS/client.key"
      Then the command exits with 0
      And the output contains
        """
        cluster: $CLUSTER
        verdict: partial (4 scenarios of
        """

    @gate-061 @slow
    Scenario Outline: rediss:// with <OPTIONS> is refused with its reason
      When I run "pytest features --broker-url rediss://:s3cret@$TLS/0?<OPTIONS>"
      Then the command exits with 4
      And the output is "ERROR: <REASON>"

      Examples:
        | OPTIONS | REASON                                                                                           |
        | db=0    | $TLS shows a certificate that is not trusted: name its authority in the URL (?ssl_ca_certs=FILE) |

      Examples: more
        | OPTIONS                                                 | REASON                                                                                               |
        | ssl_ca_certs=/no/ca.pem                                 | --broker-url names a file for ssl_ca_certs that does not exist: /no/ca.pem                           |
        | ssl_ca_certs=$CERTS/ca.pem                              | $TLS closes the connection instead of answering: write rediss:// if it wants TLS, or look at its log |
        | ssl_ca_certs=$CERTS/ca.pem\&ssl_certfile=/no/client.pem | --broker-url names a file for ssl_certfile that does not exist: /no/client.pem                       |
        | ssl_ca_cert=$CERTS/ca.pem                               | --broker-url has an option that redis-py does not know: did you mean ssl_ca_certs?                   |

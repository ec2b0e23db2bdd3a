Feature: A failure keeps what the servers showed
  A server of a test is gone when somebody reads why the test failed. Its log, its settings and its view of the cluster
  are often the whole explanation, so a failure takes them along; a server that hangs must not take the failure with it.

  Background:
    Given these sentences
      """
      import pytest
      from redis_practices.servers.server import CACHE, start_server
      from redis_practices.servers.cluster import start_cluster
      from redis_practices.servers.process_group import ProcessGroup

      pytest_plugins = ["fixtures.reporting.plugin"]

      @pytest.fixture
      def group():
          with ProcessGroup() as group:
              yield group

      @given("a cache", target_fixture="cache")
      def cache(group):
          return start_server(group, {**CACHE, "requirepass": "my-password", "maxmemory-policy": "allkeys-lfu"})

      @given("a cluster", target_fixture="cluster")
      def cluster(group):
          return start_cluster(group)

      @given("it hangs")
      def hang(cache):
          cache.pause()

      @then("it answers")
      def answer():
          raise AssertionError("no answer")

      @then("all is well")
      def well():
          pass
      """
    And the feature "pure_cache/sample.feature"
      """
      Feature: A sample
        Scenario: server
          Given a cache
          Then it answers
        Scenario: hanging
          Given a cache
          And it hangs
          Then it answers
        Scenario: cluster
          Given a cluster
          Then it answers
        Scenario: good
          Given a cache
          Then all is well
      """

  Rule: What failed tells the log, the settings and the slot map; what passed tells nothing

    Scenario Outline: the evidence of <scenario>
      Given a user typed "pytest --report results -n 1 -p xdist.plugin -k <scenario>"
      Then "results/report.json" keeps this evidence
        | TITLE   | TEXT   |
        | <title> | <text> |
      And no file in "results" holds "my-password"

      Examples:
        | scenario | title               | text                         |
        | server   | configuration (127  | maxmemory-policy allkeys-lfu |

      @slow
      Examples: and the rest
        | scenario | title               | text                         |
        | server   | log of 127          | Ready to accept connections  |
        | hanging  | log of 127          | Ready to accept connections  |
        | cluster  | slot map (127       | myself                       |
        | cluster  | log of 127          | Cluster state changed        |
        | good     | none                | none                         |

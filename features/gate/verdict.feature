Feature: A run ends with a verdict
  A report that is missing after a crash, left over from an older run, or green because nothing ran would let a broken
  deployment through. Who reads `error` must learn what broke, hours after the terminal is gone.

  Background:
    Given these sentences
      """
      import os, pytest, signal, time
      from fixtures.run.keys import StackError

      pytest_plugins = ["fixtures.reporting.plugin"]

      @given("what holds")
      def hold():
          pass

      @given("what does not")
      def fail():
          raise AssertionError("it does not")

      @given("what this stack cannot do")
      def skip():
          pytest.skip("one node only")

      @given("a stack that broke")
      def break_stack():
          raise StackError("the server did not start")

      @given(parsers.parse("somebody who sends {name} to {whom}"))
      def send(name, whom):
          os.kill(os.getpid() if whom == "this process" else os.getppid(), getattr(signal, name))
          time.sleep(20)
      """
    And the feature "pure_cache/sample.feature"
      """
      Feature: A sample
        Scenario: dies
          Given somebody who sends SIGKILL to this process
        @core
        Scenario: keeps
          Given what holds
        Scenario: breaks
          Given what does not
        @core
        Scenario: cannot
          Given what this stack cannot do
        Scenario: lacks
          Given what this stack cannot do
        Scenario: stack
          Given a stack that broke
        Scenario: stopped
          Given somebody who sends SIGINT to this process
        Scenario: ended
          Given somebody who sends SIGTERM to this process
        Scenario: parent
          Given somebody who sends SIGTERM to the parent process
      """

  Rule: Nothing but a whole run without a failure is accepted

    Scenario Outline: the verdict of a run
      Given an older "results/report.json" with the verdict "accepted"
      When a user types "pytest --report results -k '<chosen>' <options>"
      Then pytest exits with <code>
      And "results/report.json" has the verdict "<verdict>" and the scenarios: <listed>
      And "results/report.json" names the trouble: <trouble>

      Examples: what each verdict means
        | chosen          | options | code | verdict | listed        | trouble                          |
        | keeps or cannot | -q      | 0    | partial | cannot, keeps | none                             |
        | keeps or stack  | -q      | 1    | error   | keeps, stack  | ::stack: the server did not start |

      Examples: a run that did not come to its end keeps what it has
        | chosen           | options | code | verdict | listed | trouble                         |
        | keeps or stopped | -q      | 2    | error   | keeps  | interrupted                     |
        | keeps or ended   | -q      | 2    | error   | keeps  | stopped by SIGTERM              |
        | keeps or dies    | -q      | -9   | error   | none   | the run did not come to its end |

      Examples: a process of xdist that is lost is replaced, and the next one does the rest
        | chosen        | options              | code | verdict | listed      | trouble               |
        | keeps or dies | -p xdist.plugin -n 1 | 1    | error   | dies, keeps | crashed while running |

      Examples: a run that did not begin
        | chosen | options   | code | verdict | listed | trouble                                                       |
        | keeps  | --bogus   | 4    | error   | none   | pytest did not begin: unrecognized arguments: --bogus         |

      @slow
      Examples: and the rest
        | chosen            | options              | code | verdict  | listed         | trouble                                        |
        | keeps or lacks    | -q                   | 0    | accepted | keeps, lacks   | none                                           |
        | breaks or cannot  | -q                   | 1    | refused  | breaks, cannot | none                                           |
        | breaks or stack   | -q                   | 1    | refused  | breaks, stack  | ::stack: the server did not start              |
        | breaks or stopped | -q                   | 2    | refused  | breaks         | interrupted                                    |
        | lacks             | -q                   | 0    | error    | lacks          | no scenario ran                                |
        | nobody            | -q                   | 5    | error    | none           | no scenario ran                                |
        | parent            | -p xdist.plugin -n 1 | 2    | error    | none           | stopped by SIGTERM                             |
        | keeps             | features/missing     | 4    | error    | none           | pytest ended with exit code 4                  |

    @slow
    Scenario: a process that is lost after its last scenario is no success
      Given these sentences too
        """
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                os.kill(os.getpid(), signal.SIGKILL)
        """
      When a user types "pytest --report results -k keeps -p xdist.plugin -n 1"
      Then "results/report.json" has the verdict "error" and the scenarios: keeps

    Scenario: a feature that is refused is no success
      Given the feature "pure_cache/empty.feature"
        """
        Feature: Nothing in it
        """
      When a user types "pytest --report results -k keeps"
      Then pytest exits with 4
      And "results/report.json" has the verdict "error" and the scenarios: none

    Scenario: a module that cannot be collected is no success
      Given the text "1 / 0" in a file "features/test_broken.py"
      When a user types "pytest --report results -k keeps --continue-on-collection-errors"
      Then pytest exits with 1
      And "results/report.json" has the verdict "error" and the scenarios: keeps

  Rule: A folder that cannot be written stops the run before it begins

    Scenario: a file stands where the results should go
      Given a file named "results"
      When a user types "pytest --report results"
      Then pytest exits with 4
      And pytest says
        """
        ERROR: --report: cannot write (results is no folder); name a folder that can be made
        """

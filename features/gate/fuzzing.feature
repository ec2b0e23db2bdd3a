Feature: Whatever somebody types, it is used or refused in one line
  Options and URLs come from templates, secrets and copied lines. The one that is wrong in a way that nobody thought of
  ends in a traceback, a run that hangs, or a password in a log: so machines think of them.

  Rule: A URL is used, or refused with its reason and without its password
    One line, and no part of it is the password. A whole run ends with exit code 4 and the verdict "error".

    Scenario: any text as the URL of a deployment
      Then each of 300 texts that are nearly URLs is taken, or gets one line

    Scenario: any URL that is taken, where nothing answers
      Then each of 40 URLs of nobody gets one line within 5 seconds

  Rule: An option is used, or refused with its reason

    Scenario: any text as the value of any option
      Then each of 200 sets of options is taken, or gets one line

    @slow
    Scenario: what was made up is refused by a whole run as well
      Then 3 runs with URLs that were made up end in one line each

Feature: A measurement that is noise concludes nothing
  On a machine that others use, one run says "twice as fast" and the next "half". Whoever tunes by such numbers makes a
  system worse and believes the contrary, so a ratio comes with its spread, and a spread that is too wide with a refusal.

  Rule: The slices of both ways must agree about who is faster, and by how much

    @tuning-041
    Scenario: slices and their verdict
      Then slices that took so many milliseconds are judged like this
        | NAIVE          | TUNED          | VERDICT                |
        | 10 11 10 10 10 | 5 5 5 5 5      | pays                   |
        | 5 5 5 5 5      | 10 11 10 10 10 | costs                  |
        | 10 11 10 9 10  | 10 10 11 10 9  | no difference          |
        | 30 12 20 25 10 | 5 5 5 5 5      | too noisy: spread 65 % |
        | 5 5 5 10 10    | 5 5 10 10 10   | no difference          |
        | 13 12 13 9 13  | 10 14 10 10 10 | too noisy: spread 31 % |

    @tuning-042 @disruptive
    Scenario: a way against itself does not pay
      Given a server of its own
      And 100 values of 100 bytes on it
      Then these ways pay
        | NAIVE             | TUNED             | TIMES FASTER        | ROUNDS |
        | GET one at a time | GET one at a time | between 0.5 and 2   | 15     |

"""Cases in which the code or the gate did something wrong, each with the right value asserted."""

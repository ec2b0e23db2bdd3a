"""Give a provider whose password is right for the first connections of a process and wrong for later ones."""

from __future__ import annotations

from itertools import count

from redis_practices.credentials import Login, LoginFile

RIGHT, WRONG = 4, "wr0ng-s3cret"

_calls = count()


class WrongLogin(LoginFile):
    """Give a wrong password after `RIGHT` connections."""

    def get_credentials(self) -> Login:
        """Return the login."""
        user, password = super().get_credentials()
        return user, (password if next(_calls) < RIGHT else WRONG)

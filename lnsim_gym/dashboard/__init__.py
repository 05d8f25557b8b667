"""The page in the browser that shows episodes: live, compared, or recorded.

``Dashboard`` serves the page at the address of a bridge and answers what it asks; everything that moves reaches the
page as messages of the bridge. How payments work is no business of this room.
"""

from lnsim_gym.dashboard.desk import Dashboard

__all__ = ["Dashboard"]

"""``python -m lnsim_gym`` is ``lnsim``."""

from lnsim_gym.cli import main

if __name__ == "__main__":
    main()

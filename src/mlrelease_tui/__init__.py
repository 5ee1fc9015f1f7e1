"""mlrelease-tui: the cockpit for model releases. Importing the package costs nothing."""

__version__ = "0.1.0"

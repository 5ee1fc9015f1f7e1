"""The screens: each arranges widgets, listens to them, and asks the store, the reader and the desk. None awaits a connector.

services   what a screen is given · base   header, dock, footer, filter, commands · planning   from a key to an outcome
fleet, endpoint, rollouts …   one module and one style sheet each · help   the keys that are valid here
"""

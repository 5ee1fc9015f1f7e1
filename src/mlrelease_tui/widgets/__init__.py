"""Reusable widgets: domain values and lines in, messages out. None of them knows the store, a screen or a connector.

canvas   draws lines and redraws only what changed · diff_table   rows by key with cursor, marks, scrolling
sheet    lines to read and scroll · bars   header and footer · menu, prompt, plan_panel   docked at the bottom
keys     the catalogue of keys: data only · alone   whether a key came alone
"""

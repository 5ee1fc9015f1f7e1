"""What was done, by whom, to what, why, and how it ended: an append-only, hash-chained log of JSON lines.

log      appends durably, one chain per host and user · record    the shape of a line and its canonical bytes
read     streams records back · intents   actions that began and have no end yet
verify   finds what was edited, removed, moved or cut · export    JSON lines, CloudEvents, OCSF, CSV

Beneath them: identity (who and where we are), clock, uuid7, redact (values → safe plain JSON), folder (files that only we can
write), tail (where a segment really ends, and the next line goes) and syscalls (the few calls whose failure matters).
"""

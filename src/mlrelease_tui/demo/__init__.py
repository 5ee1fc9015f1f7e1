"""The embedded default: what `mlrelease demo` starts, trains, serves and sends. Every part is a real one."""

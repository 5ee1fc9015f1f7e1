"""The Router port and its drivers: what `local` and `docker` put in front of the variants of an endpoint."""

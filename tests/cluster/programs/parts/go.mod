module mlrelease.dev/tests/cluster/parts

go 1.26.0

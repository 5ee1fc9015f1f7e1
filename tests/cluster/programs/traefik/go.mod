module mlrelease.dev/tests/cluster/traefik

go 1.26.0

require github.com/traefik/traefik/v3 v3.7.13

require (
	github.com/google/go-github/v90 v90.0.0 // indirect
	github.com/google/go-querystring v1.2.0 // indirect
	github.com/gorilla/mux v1.8.1 // indirect
	github.com/hashicorp/go-version v1.9.0 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/rs/zerolog v1.34.0 // indirect
	github.com/unrolled/render v1.0.2 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

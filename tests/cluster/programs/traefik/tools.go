//go:build tools

// Package tools pins the module of which only the custom resource definitions are used.
package tools

import _ "github.com/traefik/traefik/v3/pkg/version"

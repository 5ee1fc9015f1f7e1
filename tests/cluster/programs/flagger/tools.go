//go:build tools

// Package tools pins the Flagger controller.
package tools

import _ "github.com/fluxcd/flagger/cmd/flagger"

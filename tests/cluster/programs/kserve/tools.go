//go:build tools

// Package tools pins the KServe controller.
package tools

import _ "github.com/kserve/kserve/cmd/manager"

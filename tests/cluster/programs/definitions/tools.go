//go:build tools

// Package tools pins modules of which only the custom resource definitions are used.
package tools

import (
	_ "istio.io/api/networking/v1"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)

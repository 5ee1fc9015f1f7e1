//go:build tools

// Package tools pins the program that makes this machine a node. Same versions as the control plane's, so that the compiler's work is shared.
package tools

import _ "k8s.io/kubernetes/cmd/kubelet"

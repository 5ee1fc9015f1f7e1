// Package parts has the programs of the real node's tests: what runs in its containers, and what asks them.
package parts

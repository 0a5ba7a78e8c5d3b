//go:build !race && !invariants

package plan

const checks = false

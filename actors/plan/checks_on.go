//go:build race || invariants

package plan

// checks turns on the invariants that cost more than they may in production.
const checks = true

//go:build !linux

package cpu

func hugePages([]byte) {}

// memory is unknown here: a modest machine is assumed.
func memory() (total, available int64) { return 8 << 30, 4 << 30 }

func processor() string { return "" }
